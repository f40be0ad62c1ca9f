// How licenses look on a map: the colour says what they are, lines and fillings the state.

import * as L from "../leaflet/leaflet-src.esm.js";
import { colour } from "../devices/map_base.js";

const COLOURS = { 1: "--map-circle", 2: "--map-country", 4: "--map-polygon" };
// Lines and fillings show the state without colour.
const STATES = {
  in_force: { weight: 3, dashArray: null, fillOpacity: 0.3 },
  approved: { weight: 2, dashArray: null, fillOpacity: 0.08 },
  disabled: { weight: 2, dashArray: "2 5", fillOpacity: 0.06 },
  not_yet: { weight: 2, dashArray: "12 5", fillOpacity: 0.14 },
  expired: { weight: 2, dashArray: "12 4 2 4", fillOpacity: 0 },
  unknown: { weight: 2, dashArray: "5 5", fillOpacity: 0.06 },
};

export function styleOf({ type, state }, isSelected = false) {
  const style = STATES[state] ?? STATES.unknown;
  const line = colour(COLOURS[type] ?? "--map-other");
  return { ...style, color: line, fillColor: line, weight: style.weight + (isSelected ? 3 : 0) };
}

/** A license's layers; none without a place. `outline`: polygons by country; `size`: pixels, of a circle's centre. */
export function layersOf({ geometry, properties }, outline, size) {
  const style = styleOf(properties);
  if (geometry === null) {
    return (outline.get(properties.country) ?? []).map((country) => L.geoJSON(country, { style }));
  }
  if (geometry.type !== "Point") return [L.geoJSON(geometry, { style })];
  const [longitude, latitude] = geometry.coordinates;
  const centre = L.circleMarker([latitude, longitude], { ...style, radius: size, dashArray: null, fillOpacity: 1 });
  if (!properties.radius) return [centre];
  return [L.circle([latitude, longitude], { ...style, radius: properties.radius }), centre];
}

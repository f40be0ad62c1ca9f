// What the maps of docks and of licenses share: the map over the world's outline or tiles, groups, and small things.

import * as L from "../leaflet/leaflet-src.esm.js";

export const CLOSEST = 15; // zoom at most, when a place is found

export async function fetchJson(address) {
  const response = await fetch(address, { credentials: "same-origin" });
  if (!response.ok) throw new Error(`${address}: ${response.status}`);
  return response.json();
}

// --- the map -----------------------------------------------------------------------------------------

/** A map in `canvas`; `texts` has `zoom_in`, `zoom_out`, `close` and `source`. It follows the page's theme. */
export function makeMap(canvas, { world, tiles, attribution, texts, crosses, ...options }) {
  const map = L.map(canvas, {
    maxBounds: [[-89.9, -400], [89.9, 400]],
    minZoom: 1,
    zoomSnap: 0.25,
    zoomControl: false,
    ...options,
  }).setView([20, 0], 2);
  L.control.zoom({ zoomInTitle: texts.zoom_in, zoomOutTitle: texts.zoom_out }).addTo(map);
  map.attributionControl.setPrefix(false);
  L.control.scale({ imperial: false }).addTo(map);
  map.on("popupopen", ({ popup }) => {
    popup.getElement().querySelector(".leaflet-popup-close-button")?.setAttribute("aria-label", texts.close);
  });
  map.createPane("background").style.zIndex = 200;
  if (tiles) {
    const source = document.createElement("span");
    source.textContent = attribution;
    L.tileLayer(tiles, { attribution: source.innerHTML, maxZoom: 19, referrerPolicy: "origin" }).addTo(map);
    return map;
  }
  const land = {
    pane: "background",
    renderer: L.svg({ pane: "background", padding: 0.5 }),
    interactive: false,
    style: landStyle,
  };
  map.attributionControl.addAttribution(texts.source);
  const background = L.featureGroup([L.geoJSON(world, land)]).addTo(map);
  // Shapes across the antimeridian continue into the next copy of the world.
  if (crosses) background.addLayer(L.geoJSON(world, { ...land, coordsToLatLng: turnedOnce }));
  followTheme(() => background.eachLayer((layer) => layer.setStyle(landStyle())));
  return map;
}

function landStyle() {
  return { color: colour("--map-border"), weight: 1, fillColor: colour("--map-land"), fillOpacity: 1 };
}

function turnedOnce([longitude, latitude]) {
  return L.latLng(latitude, longitude + 360);
}

export function followTheme(renew) {
  new MutationObserver(renew).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", renew);
}

/** The view as the server's `bbox` has it. */
export function boxOf(map) {
  const bounds = map.getBounds();
  const [south, north] = [Math.max(bounds.getSouth(), -90), Math.min(bounds.getNorth(), 90)];
  return [bounds.getWest(), south, bounds.getEast(), north].join(",");
}

export function boundsOf([west, south, east, north]) {
  return L.latLngBounds([[south, west], [north, east]]);
}

export function fit(map, bounds, right = 40) {
  const clear = { paddingTopLeft: [64, 40], paddingBottomRight: [right, 40] }; // of the zoom buttons
  if (bounds?.isValid()) map.fitBounds(bounds, { maxZoom: CLOSEST, animate: false, ...clear });
}

/** Polygons by the number of their country, as GeoJSON features. */
export function byCountry(world) {
  const found = new Map();
  for (const feature of world.features) {
    if (feature.id !== undefined) found.set(feature.id, [...(found.get(feature.id) ?? []), feature]);
  }
  return found;
}

/** The marker of a group of things: their number, larger the more they are. */
export function groupMarker({ geometry, properties }, words, className = "license-group") {
  const [longitude, latitude] = geometry.coordinates;
  const { count } = properties;
  const size = 22 + 4 * Math.min(Math.log10(count), 4);
  const icon = L.divIcon({ className, html: element("span", "", shortened(count)), iconSize: [size, size] });
  return L.marker([latitude, longitude], { icon, title: words, alt: words });
}

// Four letters at most: 999, 9.9k, 99k.
export function shortened(count) {
  return count < 1000 ? String(count) : `${Number((count / 1000).toPrecision(2))}k`;
}

// --- small things ------------------------------------------------------------------------------------

export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

export function pageOf(pattern, id) {
  return pattern.replace("/0/", `/${id}/`);
}

export function link(address, words) {
  const made = element("a", "", words);
  made.href = address;
  return made;
}

export function element(name, className, ...content) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...content);
  return made;
}

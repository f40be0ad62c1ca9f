// The map of the docks: what the server has of the list of devices for this view, each or in groups, as of the page's
// last refresh; with licenses as a layer.

import * as L from "../leaflet/leaflet-src.esm.js";
import { layersOf } from "../licenses/shapes.js";
import { boundsOf, boxOf, byCountry, element, fetchJson, fit, groupMarker, link, makeMap, pageOf } from "./map_base.js";

const root = document.getElementById("fleet-map");
const statusLine = root.querySelector("[data-status]");
const showLicenses = root.querySelector("[data-show-licenses]");

const QUIET = 150; // milliseconds after a movement of the map
const NEAR = 50; // metres: no zoom tells such devices apart
const NAMED = 40; // devices; with more, their names would hide the map
const LISTED = 50; // devices of a group
const NAME = 120; // pixels for a name, on the right of its mark
const LICENSE_SPACING = 60; // pixels from group to group of licenses
const POPUP = { minWidth: 200, autoPanPaddingTopLeft: [56, 8] }; // clear of the zoom buttons

let map;
let outline; // of countries, for licenses
let latest = 0; // number of the last request
let whole = null; // the box around all
const markers = new Map(); // by the feature's id, of a group also the zoom
const licenses = L.layerGroup();

start().catch(fail);

async function start() {
  const [found, world] = await Promise.all([fetchView("-180,-90,180,90", 2), fetchJson(root.dataset.outline)]);
  outline = byCountry(world);
  map = makeMap(root.querySelector("[data-canvas]"), {
    world,
    tiles: root.dataset.tiles,
    attribution: root.dataset.attribution,
    texts: {
      zoom_in: gettext("Closer"),
      zoom_out: gettext("Farther"),
      source: gettext("Outlines: Natural Earth, coarse"),
      close: gettext("Close"),
    },
    maxZoom: 19,
  });
  licenses.addTo(map);
  whole = found.box;
  if (whole) fit(map, boundsOf(whole), NAME);
  await follow();
  let timer;
  map.on("moveend", () => {
    clearTimeout(timer);
    timer = setTimeout(() => follow().catch(fail), QUIET);
  });
  document.addEventListener("refreshed", () => drawView().catch(fail));
  showLicenses.addEventListener("change", () => drawLicenses().catch(fail));
  root.querySelector("[data-fit]").addEventListener("click", () => whole && fit(map, boundsOf(whole), NAME));
}

function fail(error) {
  statusLine.textContent = gettext("The map could not be loaded. Load the page again.");
  statusLine.dataset.state = "failed";
  throw error;
}

function follow() {
  return Promise.all([drawView(), drawLicenses()]);
}

function addressOf(path, parameters) {
  const address = new URL(path, location.href);
  for (const [name, value] of Object.entries(parameters)) address.searchParams.set(name, value);
  return address;
}

function fetchView(bbox, zoom) {
  return fetchJson(addressOf(root.dataset.geojson, { bbox, zoom }));
}

// --- docks -------------------------------------------------------------------------------------------

async function drawView() {
  const number = ++latest;
  const zoom = map.getZoom();
  const found = await fetchView(boxOf(map), zoom);
  if (number !== latest) return;
  whole = found.box;
  const features = new Map(found.features.map((feature) => [keyOf(feature, zoom), feature]));
  for (const [key, marker] of markers) {
    if (!features.has(key)) {
      marker.remove();
      markers.delete(key);
    }
  }
  for (const [key, feature] of features) draw(key, feature);
  const each = found.features.filter((feature) => feature.properties.kind === "device");
  map.getContainer().classList.toggle("fleet-dense", each.length > NAMED);
  const count = found.total;
  statusLine.textContent = count
    ? interpolate(ngettext("%s device on the map", "%s devices on the map", count), [count])
    : gettext("No dock here has a place.");
  delete statusLine.dataset.state;
}

function keyOf({ id, properties }, zoom) {
  return properties.kind === "group" ? `${id} ${zoom}` : id;
}

// Markers stay where they can, with the focus and their popup.
function draw(key, feature) {
  const [longitude, latitude] = feature.geometry.coordinates;
  const text = JSON.stringify(feature);
  let marker = markers.get(key);
  if (marker?.text === text) return;
  if (marker) {
    marker.setLatLng([latitude, longitude]).setIcon(iconOf(feature));
  } else {
    marker = L.marker([latitude, longitude], { icon: iconOf(feature), riseOnHover: true, zIndexOffset: feature.properties.kind === "group" ? 1000 : 0 }).addTo(map);
    markers.set(key, marker);
    if (feature.properties.kind === "device") marker.bindPopup(() => popupOf(marker.feature.properties), POPUP);
    else marker.on("click keypress", (event) => openGroup(marker, event).catch(fail));
  }
  Object.assign(marker, { feature, text });
  marker.getElement().setAttribute("aria-label", wordsOf(feature.properties));
  if (marker.isPopupOpen()) marker.getPopup().update();
}

function iconOf({ properties }) {
  const { kind, state, count, is_aircraft } = properties;
  const words =
    kind === "group"
      ? element("span", "", String(count))
      : element("span", is_aircraft ? "fleet-name fleet-aircraft" : "fleet-name", nameOf(properties));
  const html = element("span", "", element("span", `fleet-mark fleet-${state}`), words);
  return L.divIcon({ className: `fleet-icon fleet-${kind}`, html, iconSize: [24, 24] });
}

function nameOf({ callsign, sn }) {
  return callsign || sn;
}

function wordsOf(properties) {
  if (properties.kind === "device") return `${nameOf(properties)}, ${properties.state_text}`;
  const { count, state_text } = properties;
  return interpolate(ngettext("%s device, the worst: %s", "%s devices, the worst: %s", count), [count, state_text]);
}

function popupOf(properties) {
  const { callsign, sn, page, state, state_text, presence_text, seen_text, organization, site, product } = properties;
  const name = callsign && callsign !== sn ? `${callsign} (${sn})` : sn;
  const owner = organization ?? gettext("unclaimed");
  const seen = seen_text && interpolate(gettext("last seen %s"), [seen_text]);
  const lines = [[owner, site], [product], [presence_text, seen]].map((words) => words.filter(Boolean).join(" · "));
  if (!properties.reported) lines.push(gettext("At its site: it has not reported where it is."));
  return element(
    "div",
    "fleet-popup",
    element("p", "", element("strong", "", link(page, name))),
    element("p", "fleet-state", element("span", `fleet-mark fleet-${state}`), state_text),
    ...lines.map((line) => element("p", "", line)),
    ...properties.needs.map(({ words, detail }) => {
      const line = element("p", "", element("span", "needs", words));
      line.append(detail);
      return line;
    }),
  );
}

async function openGroup(marker, { type, originalEvent }) {
  if (type === "keypress" && originalEvent.key !== "Enter") return;
  const { box, count } = marker.feature.properties;
  const bounds = boundsOf(box);
  if (bounds.getNorthEast().distanceTo(bounds.getSouthWest()) > NEAR && map.getZoom() < map.getMaxZoom()) {
    map.fitBounds(bounds, { padding: [60, 60], animate: false });
    return;
  }
  const { features } = await fetchJson(addressOf(root.dataset.geojson, { bbox: box.join(",") }));
  const items = features.slice(0, LISTED).map(({ properties }) =>
    element("li", "", element("span", `fleet-mark fleet-${properties.state}`), link(properties.page, nameOf(properties))),
  );
  const more = count > items.length ? [element("p", "", interpolate(gettext("and %s more"), [count - items.length]))] : [];
  marker.unbindPopup().bindPopup(element("div", "fleet-popup", element("ul", "", ...items), ...more), POPUP).openPopup();
  marker.off("remove").on("remove", () => marker.closePopup());
}

// --- licenses ----------------------------------------------------------------------------------------

async function drawLicenses() {
  if (!showLicenses.checked) {
    licenses.clearLayers();
    return;
  }
  const grouped = Math.max(4, Math.round(map.getContainer().clientWidth / LICENSE_SPACING));
  const { features } = await fetchJson(addressOf(root.dataset.licenses, { bbox: boxOf(map), grouped }));
  licenses.clearLayers();
  if (!showLicenses.checked) return;
  for (const feature of features) {
    if (feature.properties.kind === "license") drawLicense(feature);
    if (feature.properties.kind === "group") {
      const { count, box } = feature.properties;
      const words = interpolate(ngettext("%s license here", "%s licenses here", count), [count]);
      groupMarker(feature, words).on("click", () => fit(map, boundsOf(box))).addTo(licenses);
    }
  }
}

function drawLicense(feature) {
  const { name, label, description, state_text, callsign, sn, country } = feature.properties;
  if (feature.geometry === null && !country) return;
  for (const layer of layersOf(feature, outline, 4)) {
    const page = link(pageOf(root.dataset.licensePage, feature.id), name || label);
    const lines = [description, `${state_text} · ${callsign || sn}`].map((line) => element("span", "", line));
    layer.bindPopup(element("div", "", element("p", "", page, ...lines))).addTo(licenses);
  }
}

// The license map: the GeoJSON of a license list, over the world's outline or tiles, with the list beside it.

import { written } from "../devices/clock.js";
import {
  boundsOf as boundsOfBox,
  boxOf,
  byCountry,
  CLOSEST,
  element,
  fetchJson,
  fit as fitTo,
  followTheme,
  groupMarker,
  link,
  makeMap,
  pageOf,
} from "../devices/map_base.js";
import * as L from "../leaflet/leaflet-src.esm.js";
import { layersOf, styleOf } from "./shapes.js";

const root = document.getElementById("license-map");
const texts = JSON.parse(root.dataset.texts);
const statusLine = root.querySelector("[data-status]");
const list = root.querySelector("[data-list]");
const moreButton = root.querySelector("[data-more]");

const LABELLED = 40; // shapes or docks; with more, labels appear on hover only
const ON_CANVAS = 500; // shapes; with more, a canvas is quicker than SVG
const LISTED = 200; // licenses that the list shows at a time
const FAR = 9; // zoom; below it, the names of shapes would hide the map
const NAMED = 8; // licenses in a popup
const GROUP_WIDTH = 60; // pixels from group to group
const QUIET = 200; // milliseconds after a movement of the map
const PHONE = matchMedia("(max-width: 900px)");

let map;
let outline = null; // by country number: its polygons as GeoJSON features
let entries = []; // what the list shows: {licenses, properties, shape, item}
const shapes = new Map(); // by their looks: {layers, properties, entries}
const docks = new Map(); // by serial number: {properties, marker}
let selected = null;
let drawn; // the layer of all but the background
let whole = null; // of all licenses, if they are too many to be drawn at once: then each view is fetched anew
let placeless = 0; // licenses left out then
let latest = 0; // number of the last request
let hasPopup = false;

start();

async function start() {
  try {
    const address = addressOf({ grouped: columns(root) });
    const [licenses, world] = await Promise.all([fetchJson(address), fetchJson(root.dataset.outline)]);
    outline = byCountry(world);
    const groups = licenses.features.filter((feature) => feature.properties.kind === "group");
    if (groups.length) {
      whole = union(groups.map(groupBounds));
      placeless = licenses.total - groups.reduce((sum, group) => sum + group.properties.count, 0);
    }
    setUp(licenses, world);
    draw(licenses);
    fit(whole ?? local() ?? everything());
    if (whole) followView();
  } catch (error) {
    fail(error);
  }
}

function fail(error) {
  statusLine.textContent = texts.failed;
  statusLine.dataset.state = "failed";
  throw error;
}

function addressOf(parameters) {
  const address = new URL(root.dataset.geojson, location.href);
  for (const [name, value] of Object.entries(parameters)) address.searchParams.set(name, value);
  return address;
}

function columns(part) {
  return Math.max(4, Math.round(part.clientWidth / GROUP_WIDTH));
}

function followView() {
  let timer;
  const soon = () => {
    clearTimeout(timer);
    timer = setTimeout(() => fetchView().catch(fail), QUIET);
  };
  map.on("moveend", soon);
  map.on("popupopen", () => (hasPopup = true));
  map.on("popupclose", () => {
    hasPopup = false;
    soon();
  });
  soon();
}

async function fetchView() {
  if (hasPopup) return; // it would go with its shape
  const number = ++latest;
  // What is still too much at the closest is shown as far as it goes.
  const grouped = map.getZoom() < CLOSEST ? columns(map.getContainer()) : 0;
  const licenses = await fetchJson(addressOf({ bbox: boxOf(map), grouped }));
  if (number === latest) draw(licenses);
}

/** Callsign and serial number, which many docks give as their callsign. */
function fullName({ callsign, sn }) {
  return callsign && callsign !== sn ? `${callsign} (${sn})` : sn;
}

function tellCount({ features, total }) {
  const shown = features.filter((feature) => feature.properties.kind === "license").length;
  const isGrouped = features.some((feature) => feature.properties.kind === "group");
  const all = whole ? texts.here : texts.count;
  const words = isGrouped ? texts.groups : shown === 0 ? texts.empty : shown < total ? texts.cut : all;
  const left = placeless ? ` · ${fill(texts.placeless, { count: placeless })}` : "";
  statusLine.textContent = fill(words, { shown, total }) + left;
}

// --- once --------------------------------------------------------------------------------------------

function setUp(licenses, world) {
  const crosses = whole || licenses.features.some((feature) => feature.properties.crosses_antimeridian);
  map = makeMap(root.querySelector("[data-canvas]"), {
    world,
    crosses,
    texts,
    tiles: root.dataset.tiles,
    attribution: root.dataset.attribution,
    preferCanvas: licenses.total > ON_CANVAS,
  });
  drawn = L.layerGroup().addTo(map);
  map.on("zoomend", thinLabels);
  for (const swatch of root.querySelectorAll("[data-swatch-type]")) {
    swatch.append(drawing(swatch.dataset.swatchType, swatch.dataset.swatchState));
  }
  root.querySelector("[data-fit]").addEventListener("click", () => fit(whole ?? everything()));
  moreButton.addEventListener("click", showMore);
  followTheme(() => {
    for (const shape of shapes.values()) restyle(shape);
    for (const swatch of root.querySelectorAll("svg[data-type]")) paint(swatch);
  });
}

// --- what was fetched --------------------------------------------------------------------------------

function draw(licenses) {
  drawn.clearLayers();
  list.replaceChildren();
  shapes.clear();
  docks.clear();
  selected = null;
  entries = merge(licenses.features.filter((feature) => feature.properties.kind === "license"));
  for (const feature of licenses.features) {
    if (feature.properties.kind === "dock") drawDock(feature);
    if (feature.properties.kind === "group") drawGroup(feature);
  }
  entries.forEach(drawEntry);
  labelShapes();
  thinLabels();
  showMore();
  tellCount(licenses);
}

function drawGroup(group) {
  const words = fill(texts.here, { shown: group.properties.count });
  groupMarker(group, words).on("click", () => fit(groupBounds(group))).addTo(drawn);
}

function groupBounds({ properties }) {
  return boundsOfBox(properties.box);
}

// A license that is the same in both inventories is one entry.
function merge(rows) {
  const found = new Map();
  for (const row of rows) {
    const { sn, label, name, description, state, begin_time, end_time, geometry } = row.properties;
    const key = JSON.stringify([sn, label, name, description, state, begin_time, end_time, geometry]);
    const entry = found.get(key);
    if (entry) entry.licenses.push(row);
    else found.set(key, { licenses: [row], properties: row.properties, geometry: row.geometry, shape: null });
  }
  return [...found.values()];
}

// --- docks -------------------------------------------------------------------------------------------

function drawDock({ id, geometry, properties }) {
  const dock = { properties, marker: null, page: pageOf(root.dataset.dockPage, id.replace("dock-", "")) };
  docks.set(properties.sn, dock);
  if (geometry === null) return;
  const [longitude, latitude] = geometry.coordinates;
  const name = properties.callsign || properties.sn;
  const label = element("span", "dock-label", `${name} · ${properties.presence_text}`);
  const icon = element("span", "", element("span", "dock-mark"), label);
  dock.marker = L.marker([latitude, longitude], {
    icon: L.divIcon({ className: `dock-icon dock-${properties.presence}`, html: icon, iconSize: [0, 0] }),
    title: `${name} (${properties.sn}), ${properties.presence_text}`,
    alt: `${texts.dock} ${name}, ${properties.presence_text}`,
    riseOnHover: true,
  }).addTo(drawn);
  dock.marker.bindPopup(() => dockPopup(dock));
}

function dockPopup({ properties, page }) {
  const mine = entries.filter((entry) => entry.properties.sn === properties.sn);
  const name = fullName(properties);
  const head = element("p", "", link(page, name), element("span", "", `${properties.product} · ${properties.presence_text}`));
  return element("div", "", head, ...named(mine));
}

function thinLabels() {
  const canvas = map.getContainer();
  const isFar = map.getZoom() < FAR;
  canvas.classList.toggle("far", isFar);
  canvas.classList.toggle("dense", isFar && dockBounds().length > LABELLED);
}

// --- licenses on the map -----------------------------------------------------------------------------

function drawEntry(entry) {
  const { geometry, properties } = entry;
  const place = geometry ?? (properties.country ? properties.country : null);
  if (place === null) return;
  const key = JSON.stringify([place, properties.radius, properties.state, properties.height]);
  let shape = shapes.get(key);
  if (!shape) {
    shape = { layers: layersOf(entry, outline, entries.length > ON_CANVAS ? 1 : 4), properties, entries: [] };
    if (shape.layers.length === 0) return;
    shapes.set(key, shape);
    for (const layer of shape.layers) {
      layer.addTo(drawn);
      layer.on("click", () => select(shape.entries[0]));
      layer.bindPopup(() => element("div", "", ...named(shape.entries)));
    }
  }
  entry.shape = shape;
  shape.entries.push(entry);
}

function restyle(shape) {
  const { weight, color, fillColor } = styleOf(shape.properties, selected !== null && selected.shape === shape);
  for (const layer of shape.layers) layer.setStyle({ weight, color, fillColor });
}

function labelShapes() {
  for (const { layers, properties } of shapes.values()) {
    const { radius, height_text, country_text } = properties;
    const size = radius === null || radius === undefined ? "" : fill(texts.radius, { radius });
    const words = [country_text, size, height_text].filter(Boolean).join(", ") || properties.name;
    if (!words) continue;
    const permanent = shapes.size <= LABELLED;
    const place = properties.country ? { direction: "center" } : { direction: "bottom", className: "local-label" };
    layers[0].bindTooltip(textNode(words), { permanent, opacity: 0.9, ...place });
  }
}

// --- the list beside it ------------------------------------------------------------------------------

function showMore() {
  const shown = list.childElementCount;
  list.append(...entries.slice(shown, shown + LISTED).map(itemOf));
  moreButton.hidden = list.childElementCount >= entries.length;
}

function itemOf(entry) {
  const { properties, licenses } = entry;
  const where = licenses.map((row) => row.properties.inventory_text).join(", ");
  const dock = fullName(properties);
  const button = element(
    "button",
    "",
    drawing(properties.type, properties.state),
    element("strong", "", properties.name || properties.label),
    element("span", "", properties.description),
    element("span", `map-state map-state-${properties.state}`, `${properties.state_text} · `, ...windowOf(properties)),
    element("span", "quiet", `${dock} · ${where}`),
    ...ages(licenses),
    ...whyNowhere(entry),
  );
  button.type = "button";
  button.addEventListener("click", () => find(entry));
  const pages = licenses.map((row) =>
    element("span", "", link(pageOf(root.dataset.licensePage, row.id), `${texts.page} ${row.properties.label}`), " "),
  );
  entry.item = element("li", "map-entry", button, element("p", "", ...pages.slice(0, 1)));
  return entry.item;
}

const toTheMinute = (moment) => written(moment, { dateStyle: "short", timeStyle: "short" }); // "2025-01-31 08:00 UTC"

function windowOf({ begin_time, end_time }) {
  const day = (moment) => (moment ? toTheMinute(moment).replace(" 00:00", "") : texts.open);
  const [begin, end] = [day(begin_time), day(end_time)];
  const zone = end.slice(end.lastIndexOf(" ")); // once, where both have the same
  const values = { "{begin}": begin.endsWith(zone) ? begin.slice(0, -zone.length) : begin, "{end}": end };
  return texts.window.split(/(\{\w+\})/).map((part) => (part in values ? element("span", "moment", values[part]) : part));
}

function ages(licenses) {
  const lines = new Map(); // words -> class
  for (const { properties } of licenses) {
    const read = properties.as_of && { moment: toTheMinute(properties.as_of) };
    if (!read) lines.set(texts.never, "stale");
    else if (properties.stale) lines.set(fill(texts.stale, read), "stale");
    else lines.set(fill(texts.as_of, read), "quiet");
  }
  return [...lines].map(([words, kind]) => element("span", kind, words));
}

function whyNowhere({ properties, shape }) {
  if (properties.problem) return [element("span", "problem", properties.problem)];
  if (shape) return [];
  return [element("span", "quiet", properties.country ? texts.no_outline : texts.nowhere)];
}

function named(some) {
  const words = some.slice(0, NAMED).map(({ properties, licenses }) =>
    element(
      "p",
      "",
      link(pageOf(root.dataset.licensePage, licenses[0].id), properties.name || properties.label),
      element("span", "", properties.description),
      element("span", "", `${properties.state_text} · ${properties.callsign || properties.sn}`),
    ),
  );
  if (some.length > NAMED) words.push(element("p", "", fill(texts.and_more, { count: some.length - NAMED })));
  return words;
}

// --- list and map point at each other ------------------------------------------------------------------

// From the map to the list.
function select(entry) {
  const before = selected;
  selected = entry;
  before?.item?.removeAttribute("aria-current");
  if (before?.shape) restyle(before.shape);
  if (entry.shape) restyle(entry.shape);
  while (!entry.item) showMore();
  entry.item.setAttribute("aria-current", "true");
  // On a phone the list is below the map: moving there would take the map away.
  if (!PHONE.matches) entry.item.scrollIntoView({ block: "nearest" });
}

// From the list to the map; a license without a place is shown at its dock.
function find(entry) {
  select(entry);
  if (PHONE.matches) map.getContainer().scrollIntoView({ block: "nearest" });
  const { marker } = docks.get(entry.properties.sn) ?? {};
  if (entry.shape) {
    fit(boundsOf(entry.shape));
    const [layer] = entry.shape.layers;
    layer.openPopup(boundsOf(entry.shape).getCenter());
  } else if (marker) {
    fit(L.latLngBounds([marker.getLatLng()]));
    marker.openPopup();
  }
}

// --- where to look ---------------------------------------------------------------------------------

function fit(bounds) {
  fitTo(map, bounds);
}

// Without countries, which would make all else too small to see; null if nothing is left.
function local() {
  const near = [...shapes.values()].filter((shape) => !shape.properties.country).map(boundsOf);
  return union([...near, ...dockBounds()]);
}

function everything() {
  return union([...[...shapes.values()].map(boundsOf), ...dockBounds()]);
}

function dockBounds() {
  const placed = [...docks.values()].filter((dock) => dock.marker);
  return placed.map((dock) => L.latLngBounds([dock.marker.getLatLng()]));
}

function union(some) {
  const bounds = L.latLngBounds([]);
  for (const one of some) bounds.extend(one);
  return bounds.isValid() ? bounds : null;
}

function boundsOf({ layers, properties }) {
  if (properties.country) return mainland(layers);
  return union(layers.map((layer) => (layer.getBounds ? layer.getBounds() : L.latLngBounds([layer.getLatLng()]))));
}

// A country's largest part: with far islands it would often be the whole world.
function mainland(layers) {
  let largest = null;
  for (const group of layers) {
    for (const layer of group.getLayers()) {
      for (const part of layer.getLatLngs()) {
        const bounds = L.latLngBounds(part[0]);
        if (largest === null || extent(bounds) > extent(largest)) largest = bounds;
      }
    }
  }
  return largest;
}

function extent(bounds) {
  return (bounds.getEast() - bounds.getWest()) * (bounds.getNorth() - bounds.getSouth());
}

// --- small things ------------------------------------------------------------------------------------

// A license's look as a small picture: a circle, a polygon, a country, or a bar if it has no place.
function drawing(type, state) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const shape = { 1: "circle", 2: "path", 4: "polygon" }[type] ?? "rect";
  const form = document.createElementNS("http://www.w3.org/2000/svg", shape);
  const places = {
    circle: { cx: 14, cy: 10, r: 8 },
    polygon: { points: "3,17 14,2 26,17" },
    path: { d: "M3 5l6-3 5 4 7-3 4 6-3 5-7-1-5 5-5-4-3 0z" },
    rect: { x: 3, y: 6, width: 22, height: 8, rx: 2 },
  };
  for (const [name, value] of Object.entries(places[shape])) form.setAttribute(name, value);
  for (const [name, value] of Object.entries({ width: 28, height: 20, "aria-hidden": "true" })) svg.setAttribute(name, value);
  svg.dataset.type = type;
  svg.dataset.state = state;
  svg.append(form);
  paint(svg);
  return svg;
}

function paint(svg) {
  const { color, dashArray, fillOpacity } = styleOf({ type: svg.dataset.type, state: svg.dataset.state });
  const form = svg.firstElementChild;
  const values = { stroke: color, fill: color, "fill-opacity": fillOpacity, "stroke-width": 2 };
  for (const [name, value] of Object.entries(values)) form.setAttribute(name, value);
  if (dashArray) form.setAttribute("stroke-dasharray", dashArray.split(" ").map((part) => part / 2).join(" "));
}

function textNode(words) {
  return element("span", "", words);
}

function fill(words, values) {
  return words.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

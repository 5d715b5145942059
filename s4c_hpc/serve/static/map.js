// The map: parcels as tiles, the outline of the one that was chosen, a layer of the reader's own.

import { address, headers, isOurs } from "./service.js";

export const UNKNOWN = "#ecece6";
const NOTHING = { type: "FeatureCollection", features: [] };
const ink = matchMedia("(prefers-color-scheme: dark)").matches ? { ground: "#2b2c29", line: "#1a1a18", chosen: "#fff" } : { ground: "#f6f5ef", line: "#55554d", chosen: "#111" };

const map = new maplibregl.Map({
  container: "map",
  style: {
    version: 8,
    sources: { own: { type: "geojson", data: NOTHING }, chosen: { type: "geojson", data: NOTHING } },
    layers: [
      { id: "ground", type: "background", paint: { "background-color": ink.ground } },
      { id: "own", type: "line", source: "own", paint: { "line-color": "#8a8a80", "line-width": 1.5 } },
      { id: "chosen", type: "line", source: "chosen", paint: { "line-color": ink.chosen, "line-width": 3 } },
      { id: "place", type: "circle", source: "chosen", maxzoom: 13, filter: ["==", ["geometry-type"], "Point"], paint: { "circle-radius": 9, "circle-opacity": 0, "circle-stroke-width": 3, "circle-stroke-color": ink.chosen } },
    ],
  },
  attributionControl: false,
  dragRotate: false,
  touchPitch: false,
  fadeDuration: 0,
  renderWorldCopies: false,
  maxZoom: 18,
  locale: { "Map.Title": "Map of parcels. Arrows move it, + and - zoom, Enter opens the parcel in the middle" },
  transformRequest: (url) => (isOurs(url) ? { url, headers: headers() } : { url }),
});
map.touchZoomRotate.disableRotation();
map.keyboard.disableRotation();

class Whole {
  onAdd() {
    this.button = document.createElement("button");
    this.button.type = "button";
    this.button.title = "Show all parcels";
    this.button.setAttribute("aria-label", this.button.title);
    this.button.textContent = "\u2922";
    this.button.addEventListener("click", () => fit(this.bbox, 30));
    const made = document.createElement("div");
    made.className = "maplibregl-ctrl maplibregl-ctrl-group";
    made.append(this.button);
    return made;
  }
  onRemove() {}
}
const whole = new Whole();
map.addControl(new maplibregl.NavigationControl({ showCompass: false }), "top-left");
map.addControl(whole, "top-left");
map.addControl(new maplibregl.ScaleControl(), "bottom-right");

export const loaded = new Promise((done) => map.once("load", done));

// `told` holds what to do: opened (ids), hovered (feature or null, point), failed (error), idle.
export function listen(told) {
  const at = (point) => map.queryRenderedFeatures(point, { layers: map.getLayer("fill") ? ["fill"] : [] });
  const open = (point) => {
    const found = at(point);
    if (!found.length) return;
    // A square of several parcels is none of them: come nearer.
    if (found[0].properties.n) map.easeTo({ center: map.unproject(point), zoom: map.getZoom() + 2 });
    else told.opened([...new Set(found.filter((one) => !one.properties.n).map((one) => one.id))]);
  };
  map.on("click", (event) => open(event.point));
  map.getCanvas().addEventListener("keydown", (event) => {
    if (event.key === "Enter") open(map.project(map.getCenter()));
  });
  map.on("mousemove", (event) => {
    const [first] = event.originalEvent.buttons ? [] : at(event.point);
    map.getCanvas().style.cursor = first ? "pointer" : "";
    told.hovered(first ?? null, event.point);
  });
  map.on("mouseout", () => told.hovered(null));
  map.on("error", (event) => told.failed(event.error ?? new Error("the map cannot be drawn")));
  map.on("idle", told.idle);
}

export function fit(bbox, padding, maxZoom = 18) {
  if (bbox) map.fitBounds(bbox, { padding, maxZoom, animate: false });
}

export function draw(season, info, only, bbox) {
  whole.bbox = bbox;
  if (map.getLayer("fill")) map.removeLayer("fill");
  if (map.getSource("parcels")) map.removeSource("parcels");
  const tiles = [`${address(`${season}/tiles`)}/{z}/{x}/{y}${only ? `?filter=${encodeURIComponent(only)}` : ""}`];
  map.addSource("parcels", { type: "vector", tiles, maxzoom: 15, ...(bbox ? { bounds: bbox } : {}) });
  const of = { source: "parcels", "source-layer": info.layer };
  map.addLayer({ id: "fill", type: "fill", ...of, paint: { "fill-antialias": ["step", ["zoom"], false, 13, true], "fill-outline-color": ink.line } }, "chosen");
}

// Without kinds, nothing is known of any parcel.
export function colour(theme, hidden) {
  const code = ["coalesce", ["get", theme.name], -1];
  const pairs = theme.kinds.flatMap((kind) => [kind.code, kind.colour]);
  map.setPaintProperty("fill", "fill-color", pairs.length ? ["match", code, ...pairs, UNKNOWN] : UNKNOWN);
  map.setFilter("fill", hidden.size ? ["!", ["in", code, ["literal", [...hidden]]]] : null);
}

// The outline and, where it is too small to be seen, a ring around a point in it.
export function mark(outline, inside) {
  const features = outline ? [outline, { type: "Point", coordinates: inside }] : [];
  map.getSource("chosen").setData({ type: "FeatureCollection", features: features.map((geometry) => ({ type: "Feature", geometry, properties: {} })) });
}

export function zoomTo(outline) {
  const bounds = new maplibregl.LngLatBounds();
  for (const point of outline.coordinates.flat(outline.type === "Polygon" ? 1 : 2)) bounds.extend(point);
  fit(bounds, 80, 16);
}

export function showOwn(geojson) {
  map.getSource("own").setData(geojson);
}

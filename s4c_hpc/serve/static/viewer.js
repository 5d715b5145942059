// The map: seasons, themes, filters and the parcel that was chosen.

import { closePanel, openPanel } from "./panel.js";
import { Refused, address, askJson, headers, isOurs, useToken } from "./service.js";

const UNKNOWN = "#e2e2dc";
const byId = (id) => document.getElementById(id);
const shown = { season: "", info: null, theme: null, hidden: new Set(), condition: "", chosen: -1 };

const map = new maplibregl.Map({
  container: "map",
  style: { version: 8, sources: {}, layers: [{ id: "ground", type: "background", paint: { "background-color": "#f6f5ef" } }] },
  attributionControl: false,
  dragRotate: false,
  maxZoom: 18,
  transformRequest: (url) => (isOurs(url) ? { url, headers: headers() } : { url }),
});
map.addControl(new maplibregl.NavigationControl({ showCompass: false }), "top-left");
map.addControl(new maplibregl.ScaleControl(), "bottom-right");
map.on("error", (event) => tell(event.error?.message ?? "the map cannot be drawn"));
map.on("idle", () => {
  if (shown.info) document.body.dataset.state = "ready";
});

function tell(text) {
  byId("told").textContent = text;
}

function option(value, text) {
  const made = document.createElement("option");
  made.value = value;
  made.textContent = text;
  return made;
}

// The colour of each kind; a theme whose parcels are all unknown has none.
function colours() {
  const pairs = shown.theme.kinds.flatMap((kind) => [kind.code, kind.colour]);
  return pairs.length ? ["match", ["coalesce", ["get", shown.theme.name], -1], ...pairs, UNKNOWN] : UNKNOWN;
}

function paint() {
  const code = ["coalesce", ["get", shown.theme.name], -1];
  const rest = ["!", ["in", code, ["literal", [...shown.hidden]]]];
  map.setPaintProperty("fill", "fill-color", colours());
  for (const layer of ["fill", "line"]) map.setFilter(layer, rest);
}

function legend() {
  const place = byId("legend");
  const title = document.createElement("h2");
  title.textContent = shown.theme.title;
  const counted = shown.theme.kinds.reduce((sum, kind) => sum + kind.parcels, 0);
  const unknown = { code: -1, name: "nothing is known", colour: UNKNOWN, parcels: shown.info.parcels - counted };
  const kinds = [...shown.theme.kinds, ...(unknown.parcels > 0 ? [unknown] : [])];
  place.replaceChildren(title, ...kinds.map(entry));
  const note = document.createElement("p");
  note.textContent = "Seen from afar, small parcels share a square with the colour of the largest.";
  place.append(note);
}

function entry(kind) {
  const made = document.createElement("label");
  const box = document.createElement("input");
  box.type = "checkbox";
  box.checked = !shown.hidden.has(kind.code);
  box.addEventListener("change", () => {
    shown.hidden[box.checked ? "delete" : "add"](kind.code);
    paint();
  });
  const sign = document.createElement("i");
  sign.style.backgroundColor = kind.colour;
  made.append(box, sign, `${kind.name} (${kind.parcels.toLocaleString("en")})`);
  return made;
}

function draw() {
  document.body.dataset.state = "drawing";
  for (const layer of ["fill", "line", "chosen"]) if (map.getLayer(layer)) map.removeLayer(layer);
  if (map.getSource("parcels")) map.removeSource("parcels");
  const asked = shown.condition ? `?filter=${encodeURIComponent(shown.condition)}` : "";
  const tiles = [`${address(`${shown.season}/tiles`)}/{z}/{x}/{y}${asked}`];
  map.addSource("parcels", { type: "vector", tiles, maxzoom: 15, ...(shown.info.bbox ? { bounds: shown.info.bbox } : {}) });
  const of = { source: "parcels", "source-layer": shown.info.layer };
  map.addLayer({ id: "fill", type: "fill", ...of, paint: { "fill-color": colours(), "fill-antialias": false } });
  map.addLayer({ id: "line", type: "line", minzoom: 12, ...of, paint: { "line-color": "#55554d", "line-width": 0.7 } });
  map.addLayer({ id: "chosen", type: "line", ...of, filter: ["==", ["id"], shown.chosen], paint: { "line-color": "#111", "line-width": 3 } });
  paint();
}

function mark(parcel) {
  shown.chosen = parcel;
  if (map.getLayer("chosen")) map.setFilter("chosen", ["==", ["id"], parcel]);
}

function unchoose() {
  mark(-1);
  closePanel();
}

async function choose(parcel, flies) {
  mark(parcel);
  const box = await openPanel(shown.season, parcel, unchoose);
  if (flies && box) map.fitBounds(box, { padding: 80, maxZoom: 16, animate: false });
}

async function openSeason(path) {
  unchoose();
  tell("");
  shown.info = null;
  shown.season = path;
  shown.info = await askJson(`${path}/map`);
  shown.hidden.clear();
  shown.theme = shown.info.themes.find((one) => one.name === byId("theme").value) ?? shown.info.themes[0];
  if (!shown.theme) shown.theme = { name: "", title: "Parcels", kinds: [] };
  byId("theme").replaceChildren(...shown.info.themes.map((one) => option(one.name, one.title)));
  byId("theme").value = shown.theme.name;
  byId("condition").title = `Columns: ${shown.info.columns.join(", ")}`;
  if (shown.info.bbox) map.fitBounds(shown.info.bbox, { padding: 30, animate: false });
  draw();
  legend();
}

async function enter() {
  const { sites } = await askJson("sites");
  const seasons = [];
  for (const { site } of sites) {
    const about = await askJson(`sites/${encodeURIComponent(site)}`);
    for (const { season } of about.seasons) seasons.push(option(`sites/${encodeURIComponent(site)}/seasons/${season}`, `${site}, ${season.replace("_", " to ")}`));
  }
  if (!seasons.length) throw new Error("there is no site for this token");
  byId("season").replaceChildren(...seasons.reverse());
  await openSeason(byId("season").value);
}

async function start() {
  try {
    await enter();
  } catch (error) {
    if (!(error instanceof Refused)) return tell(error.message);
    document.body.dataset.state = "asking";
    byId("refused").textContent = "Authorization" in headers() ? "This token is not valid." : "";
    byId("door").showModal();
  }
}

byId("knock").addEventListener("submit", () => {
  useToken(byId("token").value.trim());
  byId("token").value = "";
  start();
});
byId("door").addEventListener("cancel", (event) => event.preventDefault());
byId("season").addEventListener("change", () => openSeason(byId("season").value).catch((error) => tell(error.message)));
byId("theme").addEventListener("change", () => {
  shown.theme = shown.info.themes.find((one) => one.name === byId("theme").value);
  shown.hidden.clear();
  paint();
  legend();
});
byId("find").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = byId("parcel").value.trim();
  if (!/^\d{1,10}$/.test(text)) return tell("a NewID is a whole number");
  tell("");
  choose(Number(text), true);
});
byId("filter").addEventListener("submit", (event) => {
  event.preventDefault();
  tell("");
  shown.condition = byId("condition").value.trim();
  draw();
});
map.on("click", "fill", (event) => choose(event.features[0].id, false));
map.on("mousemove", "fill", () => (map.getCanvas().style.cursor = "pointer"));
map.on("mouseleave", "fill", () => (map.getCanvas().style.cursor = ""));
map.once("load", start);

// What is shown: season, colours, condition and parcel. The address names them, so that it can be kept, sent and gone back to.

import { showLegend } from "./legend.js";
import * as map from "./map.js";
import { closePanel, openPanel } from "./panel.js";
import { Refused, askJson, headers, useToken } from "./service.js";

const byId = (id) => document.getElementById(id);
const shown = { season: "", info: null, theme: null, hidden: new Set(), only: "", parcel: null, bbox: null };
let asked = 0;

function tell(text, isWrong = false) {
  byId("told").textContent = text;
  byId("told").classList.toggle("wrong", isWrong);
  byId("again").hidden = true;
}

function state(name) {
  document.body.dataset.state = name;
}

// A token that is valid no longer is asked for again; what was shown is shown again then.
function failed(error) {
  if (error instanceof Refused || error.status === 401) {
    state("asking");
    byId("refused").textContent = "Authorization" in headers() ? "This token is not valid, or not any more." : "";
    if (!byId("door").open) byId("door").showModal();
    return;
  }
  state("failed");
  tell(error.url ? `Part of the map was not answered (${error.status || "the service is away"}).` : error.message, true);
  byId("again").hidden = error.status >= 400 && error.status < 429; // the same would be answered
}

// --- The address ---

function remembered() {
  return Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
}

function remember(isNew) {
  const parts = { season: shown.season.replace(/^sites\/|seasons\//g, ""), colour: shown.theme.name, only: shown.only, parcel: shown.parcel ?? "" };
  const text = new URLSearchParams(Object.entries(parts).filter(([, value]) => value !== ""));
  const hash = `#${text}`.replaceAll("%2F", "/");
  if (hash !== location.hash) history[isNew ? "pushState" : "replaceState"](null, "", hash);
  document.title = [shown.parcel === null ? "Parcels" : `Parcel ${shown.parcel}`, shown.info.site, shown.info.season].join(" · ");
}

// --- What may be changed ---

async function showSeason(season, only) {
  const mine = (asked += 1);
  state("drawing");
  tell("");
  // Also of what cannot be shown: it is there to be mended.
  byId("season").value = season;
  byId("condition").value = only;
  byId("condition").removeAttribute("aria-invalid");
  let info;
  try {
    info = await askJson(`${season}/map${only ? `?filter=${encodeURIComponent(only)}` : ""}`);
  } catch (error) {
    if (mine !== asked) return false;
    if (only && error.status === 400) byId("condition").setAttribute("aria-invalid", "true");
    throw error;
  }
  if (mine !== asked) return false;
  const isElsewhere = info.site !== shown.info?.site;
  if (season !== shown.season || !only) shown.bbox = only ? null : info.bbox;
  Object.assign(shown, { season, only, info });
  shown.hidden.clear();
  byId("theme").replaceChildren(...info.themes.map((one) => new Option(one.title, one.name)));
  byId("columns").textContent = info.columns.join(", ");
  if (isElsewhere || only) map.fit(info.bbox, 30, only ? 15 : 18);
  map.draw(season, info, only, shown.bbox);
  colourBy(shown.theme?.name);
  if (only) tell(info.parcels ? `${info.parcels.toLocaleString("en")} parcels` : "No parcel meets this condition.");
  else if (!info.parcels) tell("This season has no parcels.");
  return true;
}

function colourBy(name) {
  const { info, hidden } = shown;
  hidden.clear();
  shown.theme = info.themes.find((one) => one.name === name) ?? info.themes[0] ?? { name: "", title: "Parcels", kinds: [] };
  byId("theme").value = shown.theme.name;
  map.colour(shown.theme, hidden);
  showLegend(shown.theme, info.parcels, hidden, () => map.colour(shown.theme, hidden));
}

async function choose(parcel, { also = [], flies = false, isNew = true } = {}) {
  shown.parcel = parcel;
  remember(isNew);
  map.mark(null);
  const site = shown.season.split("/seasons/")[0];
  const words = await openPanel(shown.season, parcel, {
    also: also.filter((id) => id !== parcel),
    close: () => unchoose(true),
    failed,
    open: (id) => choose(id, { also }),
    seasons: [...byId("season").options]
      .filter((one) => one.value !== shown.season && one.value.startsWith(`${site}/`))
      .map((one) => ({ title: one.text, path: one.value, find: (point) => parcelAt(one.value, point) })),
  });
  if (!words || shown.parcel !== parcel) return;
  shown.inside = words.inside;
  map.mark(words.outline, words.inside);
  if (flies && words.outline) map.zoomTo(words.outline);
}

function unchoose(isNew) {
  Object.assign(shown, { parcel: null, inside: null });
  map.mark(null);
  closePanel();
  if (isNew) remember(true);
}

// The parcel of a season in which a point lies: numbers are those of one season, places are not.
async function parcelAt(season, point) {
  const { version } = await askJson(`${season}/map`);
  const [site, id] = season.split("/seasons/");
  const box = [...point.map((x) => x - 1e-7), ...point.map((x) => x + 1e-7)].join(",");
  const { features } = await askJson(`${site}/collections/parcels.${id}.${version}/items?bbox=${box}&limit=1`);
  return features[0]?.id ?? null;
}

async function changeSeason(season) {
  const { inside } = shown;
  unchoose(false);
  if (!(await showSeason(season, ""))) return;
  remember(true);
  if (!inside) return;
  const parcel = await parcelAt(season, inside);
  if (shown.season !== season || shown.parcel !== null) return; // something else was asked for meanwhile
  if (parcel !== null) await choose(parcel, { isNew: false });
  else tell("There is no parcel at this place in this season.");
}

// --- From the address to the page ---

async function visit() {
  try {
    const wanted = remembered();
    const seasons = [...byId("season").options].map((one) => one.value);
    const named = wanted.season && `sites/${wanted.season.replace("/", "/seasons/")}`;
    const season = seasons.includes(named) ? named : seasons[0];
    shown.theme = { name: wanted.colour ?? "" };
    if (season !== shown.season || (wanted.only ?? "") !== shown.only) {
      if (!(await showSeason(season, wanted.only ?? ""))) return;
    } else colourBy(wanted.colour);
    if (named && named !== season) tell("This address names a season that is not here, or not for this token.", true);
    if (!/^\d{1,10}$/.test(wanted.parcel ?? "")) unchoose(false);
    else if (Number(wanted.parcel) !== shown.parcel) await choose(Number(wanted.parcel), { flies: true, isNew: false });
    remember(false);
  } catch (error) {
    failed(error);
  }
}

async function enter() {
  tell("");
  try {
    const { sites } = await askJson("sites");
    const seasons = sites.flatMap(({ site, seasons }) => seasons.map(({ season }) => new Option(`${site}, ${season.replace("_", " to ")}`, `sites/${encodeURIComponent(site)}/seasons/${season}`)));
    if (!seasons.length) throw new Error("There is no site for this token.");
    byId("season").replaceChildren(...seasons.reverse());
    Object.assign(shown, { season: "", info: null, parcel: null });
    await map.loaded;
    await visit();
  } catch (error) {
    failed(error);
  }
}

// --- What readers do ---

function tip(feature, point) {
  const place = byId("tip");
  place.hidden = !feature;
  if (!feature) return;
  const kind = shown.theme.kinds.find((one) => one.code === feature.properties[shown.theme.name])?.name ?? "nothing is known";
  const n = feature.properties.n;
  place.textContent = n ? `${n.toLocaleString("en")} parcels, mostly ${kind}` : `Parcel ${feature.id}: ${kind}`;
  place.style.transform = `translate(${point.x + 14}px, ${point.y + 14}px)`;
}

map.listen({
  opened: (ids) => choose(ids[0], { also: ids }),
  hovered: tip,
  failed,
  idle: () => {
    if (shown.info && document.body.dataset.state === "drawing") state("ready");
  },
});
byId("knock").addEventListener("submit", () => {
  useToken(byId("token").value.trim());
  byId("token").value = "";
  enter();
});
byId("door").addEventListener("cancel", (event) => event.preventDefault());
byId("again").addEventListener("click", enter);
byId("season").addEventListener("change", () => changeSeason(byId("season").value).catch(failed));
byId("theme").addEventListener("change", () => {
  colourBy(byId("theme").value);
  remember(false);
});
byId("find").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = byId("parcel").value.trim();
  if (!/^\d{1,10}$/.test(text)) return tell("A NewID is a whole number.", true);
  if (!shown.info) return;
  tell("");
  choose(Number(text), { flies: true });
});
byId("filter").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    if (await showSeason(byId("season").value, byId("condition").value.trim())) remember(true);
  } catch (error) {
    failed(error);
  }
});
byId("own").addEventListener("change", async () => {
  try {
    const geojson = JSON.parse(await byId("own").files[0].text());
    if (!/^(Feature|FeatureCollection|GeometryCollection|(Multi)?(Point|LineString|Polygon))$/.test(geojson.type)) throw new Error();
    map.showOwn(geojson);
    tell("");
  } catch {
    tell("This file is not GeoJSON.", true);
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || byId("door").open) return;
  if (byId("help").open) byId("help").open = false;
  else if (shown.parcel !== null) unchoose(true);
});
addEventListener("popstate", visit);
if (matchMedia("(max-width: 800px)").matches) byId("legend").open = false;
enter();

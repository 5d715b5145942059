// The panel of one parcel: its time line, decisions in words, and what they stand on. All text is set as text.

import { named } from "./legend.js";
import { ask, askJson, save } from "./service.js";

const panel = document.getElementById("panel");
const WINDOW = "A thing that happened between two days happened after the last look before it and by the first look after it; on the days between, nobody saw the field.";
let pictures = [];
let before = null;
let asked = 0;

function element(name, text = "", ...children) {
  const made = document.createElement(name);
  made.textContent = text;
  made.append(...children);
  return made;
}

function quiet(text) {
  const made = element("p", text);
  made.className = "quiet";
  return made;
}

function button(text, onClick) {
  const made = element("button", text);
  made.type = "button";
  made.addEventListener("click", () => onClick(made));
  return made;
}

// Names written from right to left, or that pretend to be, turn nothing around but themselves.
function apart(name, text) {
  const parts = text.split(" · ").flatMap((one, i) => [i ? " · " : "", element("bdi", one)]);
  return element(name, "", ...parts);
}

function list(lines) {
  return element("ul", "", ...lines.map((line) => element("li", line)));
}

function decision(one) {
  const made = element("article", "", element("h3", one.verdict));
  if (one.reason) made.append(element("p", `Reason: ${one.reason}`));
  if (one.doubts) made.append(element("p", `Doubts: ${one.doubts}`));
  const limits = one.thresholds.length ? [`Thresholds: ${one.thresholds.join("; ")}`] : [];
  const details = element("details", "", element("summary", "Evidence"), list([...one.seen, ...limits, `From the set ${one.origin}`]));
  details.open = true;
  made.append(details);
  return made;
}

function themes(words) {
  const made = element("dl");
  made.className = "themes";
  for (const one of words) made.append(element("dt", one.theme), named("dd", { name: one.kind, colour: one.colour }));
  return made;
}

async function picture(base, words) {
  if (!words.links.some((one) => one.rel === "alternate")) return [];
  const image = element("img");
  image.src = URL.createObjectURL(await (await ask(`${base}/picture?titled=false&words=false&dark=true`)).blob());
  pictures.push(image.src);
  image.alt = `Time line of parcel ${words.parcel}; what it shows is said below`;
  await image.decode();
  const made = element("div", "", image);
  made.className = "picture";
  made.tabIndex = 0; // it scrolls on narrow screens
  made.role = "region";
  made.ariaLabel = "Time line";
  return [made];
}

export function closePanel() {
  asked += 1;
  panel.hidden = true;
  panel.dataset.parcel = "";
  panel.replaceChildren();
  pictures.forEach((one) => URL.revokeObjectURL(one));
  pictures = [];
  before?.focus();
  before = null;
}

// Shows a parcel and gives what is said of it, or null if something else was asked for meanwhile.
// `other` holds: close, open (a parcel that lies here as well), also (their ids), seasons ({title, find}), failed.
export async function openPanel(season, parcel, other) {
  const from = before ?? document.activeElement;
  before = null;
  closePanel();
  before = from;
  const mine = asked;
  const base = `${season}/parcels/${parcel}`;
  const close = button("Close", other.close);
  panel.append(close, element("p", `Parcel ${parcel} ...`));
  panel.hidden = false;
  try {
    const words = await askJson(`${base}/timeline`);
    const image = await picture(base, words);
    if (mine !== asked) return null;
    const saving = (text, path, name) => button(text, () => save(path, name).catch(other.failed));
    const tools = element("div", "", close, saving("Values (CSV)", `${base}/series?format=csv`, `parcel-${parcel}.csv`));
    tools.className = "tools";
    if (image.length) tools.append(saving("Picture (SVG)", `${base}/picture`, `parcel-${parcel}.svg`));
    if (navigator.clipboard) tools.append(button("Copy address", (it) => navigator.clipboard.writeText(location.href).then(() => (it.textContent = "Copied"), other.failed)));
    tools.append(button("Print", () => print()));
    const title = apart("h2", words.title);
    title.tabIndex = -1;
    const parts = [tools, title, apart("p", words.subtitle)];
    if (other.also.length) parts.push(element("p", "Also here: ", ...other.also.map((id) => button(`Parcel ${id}`, () => other.open(id)))));
    parts.push(themes(words.themes), ...image);
    if (words.declared.length) parts.push(element("h3", "Declared"), list(words.declared));
    parts.push(...words.decisions.map(decision));
    if (words.decisions.length) parts.push(quiet(WINDOW));
    if (words.missing.length) parts.push(element("h3", "Not known, and why"), list(words.missing));
    if (words.inside && other.seasons.length) parts.push(element("h3", "Same place in another season"), ...other.seasons.map((one) => beside(one, words.inside, other.failed)));
    panel.replaceChildren(...parts);
    panel.dataset.parcel = parcel;
    title.focus({ preventScroll: true });
    return words;
  } catch (error) {
    if (mine !== asked) return null;
    panel.replaceChildren(close, element("p", error.message));
    other.failed(error);
    return null;
  }
}

// A button that puts the time line of another season below this one.
function beside(one, inside, failed) {
  const made = element("section", "", button(one.title, async (it) => {
    try {
      const parcel = await one.find(inside);
      if (parcel === null) return made.replaceChildren(element("p", `${one.title}: there is no parcel at this place.`));
      const base = `${one.path}/parcels/${parcel}`;
      const words = await askJson(`${base}/timeline`);
      made.replaceChildren(apart("h3", `${words.title} · ${words.subtitle}`), themes(words.themes), ...(await picture(base, words)), list([...words.declared, ...words.decisions.map((d) => d.verdict)]));
    } catch (error) {
      failed(error);
    }
  }));
  return made;
}

// The panel of one parcel: its time line, decisions in words, and what they stand on. All text is set as text.

import { askJson, askPicture } from "./service.js";

const panel = document.getElementById("panel");
let picture = "";
let asked = 0;

function element(name, text = "", ...children) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  made.append(...children);
  return made;
}

function list(lines) {
  return element("ul", "", ...lines.map((line) => element("li", line)));
}

function decision(one) {
  const made = element("article", "", element("h3", one.verdict));
  if (one.reason) made.append(element("p", `Reason: ${one.reason}`));
  if (one.doubts) made.append(element("p", `Doubts: ${one.doubts}`));
  const limits = one.thresholds.length ? [`Thresholds: ${one.thresholds.join("; ")}`] : [];
  const lines = [...one.seen, ...limits, `From the set ${one.origin}`];
  const details = element("details", "", element("summary", "Evidence"), list(lines));
  details.open = true;
  made.append(details);
  return made;
}

export function closePanel() {
  asked += 1;
  panel.hidden = true;
  panel.dataset.parcel = "";
  panel.replaceChildren();
  if (picture) URL.revokeObjectURL(picture);
  picture = "";
}

// Shows a parcel and gives its box; a click that comes before the answer counts instead.
export async function openPanel(season, parcel, onClose) {
  closePanel();
  const mine = asked;
  const close = element("button", "Close");
  close.addEventListener("click", onClose);
  panel.append(close, element("p", `Parcel ${parcel} ...`));
  panel.hidden = false;
  try {
    const base = `${season}/parcels/${parcel}`;
    const [words, url] = await Promise.all([askJson(`${base}/timeline`), askPicture(`${base}/picture?titled=false`)]);
    if (mine !== asked) {
      URL.revokeObjectURL(url);
      return null;
    }
    picture = url;
    const image = element("img");
    image.alt = `Time line of parcel ${parcel}`;
    image.src = url;
    await image.decode();
    const parts = [close, element("h2", words.title), element("p", words.subtitle), image];
    if (words.declared.length) parts.push(element("h3", "Declared"), list(words.declared));
    parts.push(...words.decisions.map(decision));
    if (words.missing.length) parts.push(element("h3", "Not there"), list(words.missing));
    panel.replaceChildren(...parts);
    panel.dataset.parcel = parcel;
    return words.bbox;
  } catch (error) {
    if (mine === asked) panel.replaceChildren(close, element("p", error.message));
    return null;
  }
}

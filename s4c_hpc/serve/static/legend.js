// What colours mean, how many parcels have them, and which of them are shown. All text is set as text.

import { UNKNOWN } from "./map.js";

const place = document.getElementById("kinds");
const several = "Seen from afar, a square stands for several parcels, with the colour that covers most of them.";

export function named(tag, kind) {
  const made = document.createElement(tag);
  const swatch = document.createElement("i");
  swatch.className = "swatch";
  swatch.style.backgroundColor = kind.colour;
  const name = document.createElement("span");
  name.className = "name";
  name.dir = "auto";
  name.textContent = name.title = kind.name;
  made.append(swatch, name);
  return made;
}

export function showLegend(theme, parcels, hidden, onChange) {
  document.getElementById("legend-title").textContent = theme.title;
  const known = theme.kinds.reduce((sum, kind) => sum + kind.parcels, 0);
  const kinds = [...theme.kinds, { code: -1, name: "nothing is known", colour: UNKNOWN, parcels: parcels - known }];
  const note = document.createElement("p");
  note.textContent = several;
  place.replaceChildren(...kinds.filter((kind) => kind.parcels).map(entry), note);

  function entry(kind) {
    const made = named("label", kind);
    const box = document.createElement("input");
    box.type = "checkbox";
    box.checked = !hidden.has(kind.code);
    box.addEventListener("change", () => {
      hidden[box.checked ? "delete" : "add"](kind.code);
      onChange();
    });
    made.prepend(box);
    made.append(`(${kind.parcels.toLocaleString("en")})`);
    return made;
  }
}

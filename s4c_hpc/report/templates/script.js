"use strict";
(() => {
  const box = document.querySelector(".search");
  const input = document.getElementById("find");
  if (!box || !input) return;
  const cards = [...document.querySelectorAll(".parcel-card")];
  const found = document.getElementById("found");
  box.hidden = false;
  const filter = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let n = 0;
    for (const card of cards) {
      card.hidden = !words.every((word) => card.dataset.find.includes(word));
      n += card.hidden ? 0 : 1;
    }
    found.textContent = words.length ? `${n} of ${cards.length}` : "";
  };
  input.addEventListener("input", filter);
  // A link from the map must find its card even if the search had hidden it.
  window.addEventListener("hashchange", () => {
    const target = document.getElementById(location.hash.slice(1));
    if (target && target.hidden) {
      input.value = "";
      filter();
      target.scrollIntoView();
    }
  });
})();

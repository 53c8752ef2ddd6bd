"use strict";
// Filters findings and images, and enlarges images. The page is readable without it.
(() => {
  const root = document.documentElement;
  const form = document.getElementById("filters");
  const names = ["split", "class", "severity", "q"];
  root.classList.add("js");

  const textOf = new WeakMap();
  function text(element) {
    if (!textOf.has(element)) {
      const titles = [...element.querySelectorAll("[title]")].map((inner) => inner.title);
      textOf.set(element, [element.dataset.find || "", element.textContent, ...titles].join(" ").toLowerCase());
    }
    return textOf.get(element);
  }

  function state() {
    return Object.fromEntries(names.map((name) => [name, form.elements[name].value.trim()]));
  }

  // Items without a split match every split; items without a class match no class filter.
  function fits(item, wanted, words) {
    const { split, classes } = item.dataset;
    if (wanted.split && split && !split.split(" ").includes(wanted.split)) return false;
    if (wanted.class && !(classes || "").split(" ").includes(wanted.class)) return false;
    return words.every((word) => text(item).includes(word));
  }

  function show(element, visible) {
    element.hidden = !visible;
    return visible;
  }

  function filterFindings(wanted, words) {
    let count = 0;
    for (const finding of document.querySelectorAll(".finding")) {
      const head = finding.querySelector("summary").textContent.toLowerCase() + " " + finding.dataset.kind;
      // A search word may match the finding's title or the place.
      const rest = words.filter((word) => !head.includes(word));
      const items = [...finding.querySelectorAll("[data-item]")];
      const any = items.filter((item) => show(item, fits(item, wanted, rest))).length > 0;
      const severe = !wanted.severity || finding.dataset.severity === wanted.severity;
      const kept = "keep" in finding.dataset && !rest.length;
      count += show(finding, severe && (any || kept));
    }
    return count;
  }

  function filterItems(kind, wanted, words) {
    const items = [...document.querySelectorAll(`[data-item="${kind}"]`)];
    return items.filter((item) => show(item, fits(item, wanted, words))).length;
  }

  function filterGroups(wanted, words) {
    let count = 0;
    for (const group of document.querySelectorAll("[data-group]")) {
      const head = group.querySelector("h3").textContent.toLowerCase();
      const rest = words.filter((word) => !head.includes(word));
      const items = [...group.querySelectorAll("[data-item]")];
      const shown = items.filter((item) => show(item, fits(item, wanted, rest))).length;
      show(group, shown > 0);
      count += shown;
    }
    return count;
  }

  function apply() {
    const wanted = state();
    const words = wanted.q.toLowerCase().split(/\s+/).filter(Boolean);
    const counts = {
      finding: filterFindings(wanted, words),
      sample: filterItems("sample", wanted, words),
      crop: filterGroups(wanted, words),
    };
    for (const section of document.querySelectorAll("[data-section]")) {
      const note = section.querySelector(".none-match");
      const kind = section.dataset.section;
      const all = section.querySelectorAll(kind === "finding" ? ".finding" : "[data-item]").length;
      note.hidden = !all || counts[kind] > 0;
    }
    const active = names.some((name) => wanted[name]);
    const listed = Object.entries(counts).map(([kind, n]) => `${n} ${kind}${n === 1 ? "" : "s"}`);
    document.getElementById("shown").textContent = active ? listed.join(", ") : "";
    root.dataset.shown = JSON.stringify(counts);
    return wanted;
  }

  // The filters are part of the address, so that a view can be bookmarked or shared.
  function remember(wanted) {
    const kept = new URLSearchParams(Object.entries(wanted).filter(([, value]) => value));
    history.replaceState(null, "", "#" + kept);
  }

  function recall() {
    const hash = location.hash.slice(1);
    if (!hash.includes("=")) return;
    const kept = new URLSearchParams(hash);
    for (const name of names) form.elements[name].value = kept.get(name) || "";
  }

  form.addEventListener("input", () => remember(apply()));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => remember(apply())));
  window.addEventListener("hashchange", () => { recall(); apply(); });

  const dialog = document.getElementById("enlarged");
  const zoomable = [...document.querySelectorAll("img.zoom")];
  let at = 0;
  function enlarge(image) {
    at = zoomable.indexOf(image);
    const large = dialog.querySelector("img");
    large.src = image.src;
    large.alt = image.alt;
    dialog.querySelector("p").textContent = image.alt;
    if (!dialog.open) dialog.showModal();
  }
  function turn(step) {
    const seen = zoomable.filter((image) => image.offsetParent !== null || image === zoomable[at]);
    const next = seen[seen.indexOf(zoomable[at]) + step];
    if (next) enlarge(next);
  }
  for (const image of zoomable) {
    image.tabIndex = 0;
    image.setAttribute("role", "button");
    image.setAttribute("aria-label", `Enlarge: ${image.alt}`);
    image.addEventListener("click", () => enlarge(image));
    image.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      enlarge(image);
    });
  }
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowRight") turn(1);
    if (event.key === "ArrowLeft") turn(-1);
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

  recall();
  apply();
  // For tests: the number of images, and how many of them are broken.
  window.addEventListener("load", () => {
    const broken = zoomable.filter((image) => !image.complete || image.naturalWidth === 0);
    root.dataset.pictures = zoomable.length;
    root.dataset.broken = broken.length;
    root.dataset.loaded = performance.getEntriesByType("resource").length;
  });
})();

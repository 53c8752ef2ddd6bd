/** The bar at the top, the banner below it, and what concerns the page as a whole. */

import { failed, isSaved, moveTo, save, unsaved } from "../saving.js";
import { app, currentDoc, onPaint, toast } from "../state.js";

const find = (selector) => document.querySelector(selector);

const WORDS = { todo: "To do", proposed: "Proposed", done: "Done", unsure: "Unsure" };
/** How many of the images finished last the pace is taken from. */
const PACE_OF = 20;

export const stateName = (state) => WORDS[state];

function paintBar() {
  const entry = app.entries.get(app.current);
  const place = app.images.indexOf(entry) + 1;
  find("#place").textContent = entry ? `${place} of ${app.images.length} · ${entry.name}` : "";
  find("#state").textContent = entry ? stateName(entry.state) + (entry.split ? ` · ${entry.split}` : "") : "";
  find("#state").dataset.state = entry?.state ?? "";
  const done = app.images.filter(({ state }) => state === "done").length;
  Object.assign(find("#progress"), { value: done, max: app.images.length || 1 });
  find("#pace").textContent = `${done} of ${app.images.length} done${pace()}`;
  const doc = currentDoc();
  const saved = doc && !failed().length && (isSaved(doc) && !doc.isSaving ? "Saved" : "Saving");
  find("#saved").textContent = saved || (doc ? "Not saved" : "");
}

function pace() {
  const times = app.finished.slice(-PACE_OF);
  if (!times.length) return "";
  const seconds = times.reduce((sum, each) => sum + each, 0) / times.length;
  const left = app.images.filter(({ state, error }) => !error && (state === "todo" || state === "proposed")).length;
  const minutes = Math.ceil((left * seconds) / 60);
  return ` · ${seconds.toFixed(seconds < 10 ? 1 : 0)} s an image · ${minutes} min left`;
}

// --- banner -------------------------------------------------------------------------------------

const banner = find("#banner");

/** Edits of closed windows that were not saved, until they are saved or discarded. */
let offer = null;

/** Offer edits that an earlier window could not save. */
export function offerEdits(edits, { take, discard }) {
  const names = edits.slice(0, 3).map(({ name }) => name).join(", ") + (edits.length > 3 ? ", ..." : "");
  const text = `Edits of ${edits.length === 1 ? "an image" : `${edits.length} images`} were not saved when the page or the server ended: ${names}.`;
  const close = (action) => () => {
    offer = null;
    action();
    paintBanner();
  };
  offer = { text, buttons: [["Save them", close(take)], ["Discard", close(discard)]] };
  paintBanner();
}

function paintBanner() {
  const notice = problem() ?? offer;
  const key = notice ? notice.text : "";
  banner.hidden = !notice;
  if (banner.dataset.text === key) return;
  banner.dataset.text = key;
  banner.replaceChildren(key, ...(notice?.buttons ?? []).map(([text, action]) => button(text, action)));
  if (notice?.isElsewhere) banner.append(addressForm());
}

function problem() {
  const docs = failed();
  if (docs.length) {
    const count = docs.length === 1 ? docs[0].name : `${docs.length} images`;
    return {
      text: `Not saved: ${count}. ${docs[0].problem} The edits are kept in this browser; trying again.`,
      buttons: [["Try now", () => failed().forEach(save)]],
      isElsewhere: !app.isConnected,
    };
  }
  if (app.isConnected) return null;
  return { text: "The server does not answer. Start detfinetune label again; edits are kept in this browser.", isElsewhere: true };
}

function button(text, action) {
  const element = document.createElement("button");
  element.textContent = text;
  element.addEventListener("click", action);
  return element;
}

/** Where the server runs at another port now, the browser keeps what belongs to this one apart. */
function addressForm() {
  const form = document.createElement("form");
  const input = document.createElement("input");
  Object.assign(input, { type: "url", required: true, placeholder: "Its new address, if it has one" });
  input.ariaLabel = input.placeholder;
  form.append(input, button("Go there with the edits"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    isLeaving = true;
    moveTo(input.value);
  });
  return form;
}

let isLeaving = false;

/** Ask before a window closes that has edits nowhere but in this browser. */
export function guardClosing() {
  window.addEventListener("beforeunload", (event) => {
    if (!isLeaving && unsaved().some((doc) => doc.problem || doc.conflict)) event.preventDefault();
  });
}

// --- theme and focus ----------------------------------------------------------------------------

const THEME = "detfinetune theme";
const THEMES = { "": "As the system", dark: "Dark", light: "Light" };

export function startTheme() {
  document.documentElement.dataset.theme = localStorage.getItem(THEME) ?? "";
}

export function switchTheme() {
  const { dataset } = document.documentElement;
  const names = Object.keys(THEMES);
  dataset.theme = names[(names.indexOf(dataset.theme) + 1) % names.length];
  localStorage.setItem(THEME, dataset.theme);
  toast(`Colours: ${THEMES[dataset.theme]}`);
}

/** Move the focus to the next area of the page. */
export function focusArea() {
  const areas = ["#stage", "nav", "aside"].map(find);
  const place = areas.findIndex((area) => area.contains(document.activeElement));
  const area = areas[(place + 1) % areas.length];
  const controls = [...area.querySelectorAll("select, input, button")];
  (area.matches("section") ? area : controls.find((control) => control.checkVisibility())).focus();
}

onPaint("bar", paintBar);
onPaint("banner", paintBanner);

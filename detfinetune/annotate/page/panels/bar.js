/** The bar at the top and the banner, of which there is one at most. */

import { find, make, makeButton, toast } from "../dom.js";
import { failed, isSaved, moveTo, save, unsaved } from "../saving.js";
import { app, currentDoc, isOpen, onPaint, stateName } from "../state.js";

/** How many of the images finished last the pace is taken from. */
const PACE_OF = 20;

function paintBar() {
  const count = app.images.length;
  const entry = app.entries.get(app.current);
  const done = app.images.filter(({ state }) => state === "done").length;
  if (entry) {
    find("#place").textContent = `${app.images.indexOf(entry) + 1} of ${count} · ${entry.name}`;
    find("#state").textContent = [stateName(entry.state), entry.split].filter(Boolean).join(" · ");
    find("#state").dataset.state = entry.state;
  }
  Object.assign(find("#progress"), { max: count || 1, value: done });
  find("#pace").textContent = `${done} of ${count} done${pace()}`;
  find("#saved").textContent = savedState(currentDoc());
}

/** Documents that somebody has to do something for. */
const waiting = () => unsaved().filter((doc) => doc.problem || doc.conflict);

function savedState(doc) {
  if (waiting().length) return "Not saved";
  if (!doc) return "";
  return isSaved(doc) && !doc.isSaving ? "Saved" : "Saving";
}

function pace() {
  const times = app.finished.slice(-PACE_OF);
  if (!times.length) return "";
  const seconds = times.reduce((sum, each) => sum + each, 0) / times.length;
  const minutes = Math.ceil((app.images.filter(isOpen).length * seconds) / 60);
  return ` · ${seconds.toFixed(seconds < 10 ? 1 : 0)} s an image · ${minutes} min left`;
}

// --- banner -------------------------------------------------------------------------------------

/** Edits of closed windows that were not saved: {text, buttons}, until something is chosen. */
let offer = null;

const listed = (names) => names.slice(0, 3).join(", ") + (names.length > 3 ? ", ..." : "");

/** Offer edits that an earlier window could not save. */
export function offerEdits(edits, take, discard) {
  const close = (action) => () => {
    offer = null;
    edits.forEach(action);
    paintBanner();
  };
  const names = listed(edits.map(({ name }) => name));
  offer = {
    text: `Edits from before the page or the server ended were not saved: ${names}.`,
    buttons: [makeButton("Save them", close(take)), makeButton("Discard", close(discard))],
  };
  paintBanner();
}

function paintBanner() {
  const { text, buttons } = problem() ?? offer ?? { text: "" };
  const banner = find("#banner");
  banner.hidden = !text;
  if (banner.dataset.text === text) return;
  banner.dataset.text = text;
  banner.replaceChildren(text, ...(buttons ?? []));
}

function problem() {
  const docs = failed();
  const buttons = app.isConnected ? [] : [addressForm()];
  if (docs.length) {
    const names = listed(docs.map(({ name }) => name));
    const text = `Not saved: ${names}. ${docs[0].problem} The edits are kept; trying again.`;
    return { text, buttons: [makeButton("Try now", () => failed().forEach(save)), ...buttons] };
  }
  const text = "The server does not answer. Start detfinetune label again; edits are kept here.";
  return app.isConnected ? null : { text, buttons };
}

let isLeaving = false;

/** Where the server runs at another port now, the browser keeps what belongs to this one apart. */
function addressForm() {
  const hint = "Its new address, if it has one";
  const input = make("input", { type: "url", required: true, placeholder: hint, ariaLabel: hint });
  const onsubmit = (event) => {
    event.preventDefault();
    isLeaving = true;
    moveTo(input.value);
  };
  return make("form", { onsubmit }, input, make("button", {}, "Go there with the edits"));
}

/** Ask before a window closes that has edits nowhere but in this browser. */
export function guardClosing() {
  window.addEventListener("beforeunload", (event) => {
    if (waiting().length && !isLeaving) event.preventDefault();
  });
}

// --- theme and focus ----------------------------------------------------------------------------

const THEME = "detfinetune theme";
const THEMES = { "": "as the system", dark: "dark", light: "light" };

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
  const target = area === areas[0] ? area : controls.find((control) => control.checkVisibility());
  target.focus();
}

onPaint("bar", paintBar);
onPaint("banner", paintBanner);

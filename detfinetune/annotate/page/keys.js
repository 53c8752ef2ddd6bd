/** All keys: this table binds them, names them on buttons and fills the help. */

import {
  accept, acceptAll, chooseClass, copyPrevious, escape, finish, focusClassField, nudge, reject,
  removePathPoint, setThreshold, showAll, stretch, switchTool, toggleHidden, walk, zoom,
} from "./actions.js";
import { find, make } from "./dom.js";
import { redo, undo } from "./edits.js";
import { show, showNeighbour } from "./images.js";
import { focusArea, switchTheme } from "./panels/bar.js";
import { renameCurrentClass } from "./panels/class_list.js";
import { showFigures } from "./panels/figures.js";
import { giveVerdict } from "./panels/review.js";
import { showTraining } from "./panels/training.js";
import { app } from "./state.js";

const ARROWS = { ArrowLeft: [-1, 0], ArrowUp: [0, -1], ArrowRight: [1, 0], ArrowDown: [0, 1] };
const DIGITS = ["1", "2", "3", "4", "5", "6", "7", "8", "9"];

const arrows = (prefix) => Object.keys(ARROWS).map((arrow) => prefix + arrow);

/** Keys that go on while they are held; no other, lest a heavy finger finishes ten images. */
const REPEATED = /Arrow|Tab|Page|Backspace|^[-+[\],.]$|Z$/;

/** Let an action have the direction of an arrow key, times a number of pixels. */
const along = (action, pixels) => (event) => {
  const [x, y] = ARROWS[event.key];
  action(x * pixels, y * pixels, event.repeat);
};

/** Groups of [keys, what they do, action(event), what letting go does]. */
const GROUPS = {
  Images: [
    [["Enter"], "Done: go on to the next image. Closes an open polygon", () => finish("done")],
    [["Shift+Enter"], "Unsure: the same, but left out of training", () => finish("unsure")],
    [["PageDown", "."], "Next image", () => showNeighbour(1)],
    [["PageUp", ","], "Previous image", () => showNeighbour(-1)],
    [["C"], "Copy the shapes of the previous image", copyPrevious],
  ],
  Proposals: [
    [["Space"], "Accept the selected proposal and go to the next", accept],
    [["X", "Delete"], "Reject the proposal, or delete the shape", reject],
    [["Shift+A"], "Accept all proposals above the slider", acceptAll],
    [["["], "Show more proposals", () => setThreshold(app.threshold - 0.05)],
    [["]"], "Show fewer proposals", () => setThreshold(app.threshold + 0.05)],
  ],
  Classes: [
    [DIGITS, "Class of the selected shape and of the next", (event, name) => chooseClass(name - 1)],
    [["T"], "Type a class: Enter takes or adds it, Shift+Enter always adds", focusClassField],
    [["F2"], "Rename the current class", renameCurrentClass],
  ],
  Shapes: [
    [["Tab"], "Next shape, zoomed", () => walk(1)],
    [["Shift+Tab"], "Previous shape", () => walk(-1)],
    [arrows(""), "Move the shape by 1 pixel", along(nudge, 1)],
    [arrows("Shift+"), "Move it by 10 pixels", along(nudge, 10)],
    [[...arrows("Ctrl+"), ...arrows("Alt+")], "Move its right or lower side", along(stretch, 1)],
    [[...arrows("Ctrl+Shift+"), ...arrows("Alt+Shift+")], "By 10 pixels", along(stretch, 10)],
    [["P"], "Switch between boxes and polygons", switchTool],
    [["Backspace"], "Take back the last point of an open polygon", removePathPoint],
    [["Escape"], "Give up what was begun, let go of the shape, go back to the picture", escape],
    [["Z", "Ctrl+Z"], "Undo any edit, also of the images before", () => undo(show)],
    [["Shift+Z", "Ctrl+Shift+Z"], "Redo", () => redo(show)],
  ],
  View: [
    [["H"], "Hide the shapes, or show them", toggleHidden],
    [["F"], "Show the whole picture", showAll],
    [["+"], "Zoom in", () => zoom(1.25)],
    [["-"], "Zoom out", () => zoom(0.8)],
    [["G"], "Hold it and drag: move the picture", () => setPanning(true), () => setPanning(false)],
    [["D"], "Dark, light or as the system", switchTheme],
    [["F6"], "Go between the picture, the images and the classes", focusArea],
    [["?"], "These keys", () => find("#help").showModal()],
  ],
  Training: [
    [["M"], "Train a detector and let it propose for the next images", showTraining],
    [["I"], "Figures by round", showFigures],
  ],
  Review: [
    [["L"], "The label is right", () => giveVerdict("label")],
    [["R"], "The prediction is right: it replaces the label", () => giveVerdict("prediction")],
    [["E"], "Neither: edit it by hand", () => giveVerdict("edit")],
  ],
};

const MOUSE = [
  ["drag", "Draw a box of the current class; on a corner or side, resize. Shift: always draw"],
  ["click", "Select the shape, again: the one behind it. Dragging a selected shape moves it"],
  ["wheel", "Zoom at the pointer"],
  ["middle button", "Move the picture"],
  ["polygon", "Each click adds a point, one on the first closes. Points can be dragged"],
  ["right click", "Remove a point of a polygon"],
];

const bindings = new Map(
  Object.values(GROUPS).flat().flatMap(([keys, help, down, up]) =>
    keys.map((key) => [key, { help, down, up }]),
  ),
);

const SIGNS = {
  ArrowLeft: "←", ArrowUp: "↑", ArrowRight: "→", ArrowDown: "↓", PageUp: "Page up",
  PageDown: "Page down",
};

const shown = (key) => key.replace(/[^+]{2,}$/, (name) => SIGNS[name] ?? name);

function setPanning(isPanning) {
  app.isPanning = isPanning;
  find("#stage").style.cursor = isPanning ? "grab" : "crosshair";
}

/** @returns {string[]} names of a pressed key, by its sign and, for other layouts, by its place */
function namesOf(event) {
  const { key, code } = event;
  const name = key === " " ? "Space" : key.length === 1 ? key.toUpperCase() : key;
  const isForeign = key.length === 1 && key > "~";
  const [, letter, digit] = /^(?:Key([A-Z])|(?:Digit|Numpad)([1-9]))$/.exec(code) ?? [];
  const names = [name, isForeign ? letter : undefined, digit].filter(Boolean);
  return names.map((each) => modifiersOf(event, each) + each);
}

function modifiersOf(event, name) {
  const isSign = event.getModifierState("AltGraph");
  const control = !isSign && (event.ctrlKey || event.metaKey) ? "Ctrl+" : "";
  const alt = !isSign && event.altKey ? "Alt+" : "";
  return control + alt + (event.shiftKey && /[A-Z]/.test(name) ? "Shift+" : "");
}

/** Whether a control of the page uses a key itself. */
function isForControl(event) {
  const { target } = event;
  if (find("dialog[open]")) return true;
  if (target.matches("input, select")) return !["Escape", "F6"].includes(event.key);
  const isPanel = target.closest("nav, aside, header, #review, #banner");
  return isPanel && ["Tab", "Enter", " "].includes(event.key);
}

function onKey(event, side) {
  if (event.isComposing || isForControl(event)) return;
  const name = namesOf(event).find((each) => bindings.has(each));
  const action = bindings.get(name)?.[side];
  if (!action) return;
  event.preventDefault();
  if (!event.repeat || REPEATED.test(name)) action(event, name);
}

export function listenToKeys() {
  document.addEventListener("keydown", (event) => onKey(event, "down"));
  document.addEventListener("keyup", (event) => onKey(event, "up"));
  window.addEventListener("blur", () => setPanning(false));
  for (const button of document.querySelectorAll("button[data-key]")) {
    const { help, down } = bindings.get(button.dataset.key);
    button.title = `${help} (${shown(button.dataset.key)})`;
    if (button.className === "sign") button.ariaLabel = help;
    button.addEventListener("click", down);
  }
  fillHelp();
}

function fillHelp() {
  const groups = Object.entries(GROUPS).map(([title, rows]) =>
    group(title, rows.map(([keys, help]) => [keys.flatMap(keyElements), help])),
  );
  const mouse = group("Mouse", MOUSE.map(([name, help]) => [[name], help]));
  find("#help-groups").replaceChildren(...groups, mouse);
}

/** @returns {(string | HTMLElement)[]} a key, after its modifiers unless the key before has them */
function keyElements(key, place, keys) {
  const modifiersAt = (each = "") => /^(\w+\+)*/.exec(each)[0];
  const modifiers = modifiersAt(key);
  const element = make("kbd", { dataset: { key } }, shown(key.slice(modifiers.length)));
  return modifiers === modifiersAt(keys[place - 1]) ? [element] : [modifiers, element];
}

function group(title, rows) {
  const parts = rows.flatMap(([keys, help]) => [make("dt", {}, ...keys), make("dd", {}, help)]);
  return make("section", {}, make("h2", {}, title), make("dl", {}, ...parts));
}

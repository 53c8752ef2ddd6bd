/** The classes at the right: choosing, finding, adding and renaming them. */

import { chooseClass, chooseName, focusClassField } from "../actions.js";
import { find, make } from "../dom.js";
import { renameClass } from "../edits.js";
import { classColor } from "../picture/colors.js";
import { app, className, onPaint, repaint } from "../state.js";
import { RowList } from "./list.js";

const HEIGHT = 28;

const field = find("#class-field");
const list = new RowList(find("#classes"), HEIGHT, makeRow, fillRow);

/** Place of the row that Enter takes. */
let marked = 0;
/** Id of the class that is renamed. */
let renamed = null;

function makeRow() {
  const row = make("button", {}, make("i"), make("span"), make("span"), make("kbd"));
  row.onclick = () => take(row.item);
  row.ondblclick = () => startRenaming(row.item.id);
  return row;
}

/** Fill a row with a class, or with one that can be added and has no id yet. */
function fillRow(row, { id, name }, index) {
  const [swatch, text, count, key] = row.children;
  const isNew = id === undefined;
  row.item = { id, name };
  row.title = isNew ? "" : `${name}. Double click or F2: rename`;
  swatch.style.background = isNew ? "none" : classColor(id);
  text.textContent = isNew ? `Add “${name}”` : name;
  count.textContent = app.entries.get(app.current)?.classes?.[id] ?? "";
  key.textContent = id < 9 ? id + 1 : "";
  row.ariaCurrent = id === app.classId;
  row.classList.toggle("marked", index === marked && field.value !== "" && renamed === null);
}

/** @returns {{id?: number, name: string}[]} what matches the typed text, or would be added */
function matches() {
  const typed = renamed === null ? field.value.trim() : "";
  if (!typed) return app.classes;
  const wanted = typed.toLowerCase();
  const place = ({ name }) => name.toLowerCase().indexOf(wanted);
  const order = (each) => Math.sign(place(each)) + (each.name.length > typed.length);
  const found = app.classes.filter((each) => place(each) >= 0).sort((a, b) => order(a) - order(b));
  return app.classes.some(({ name }) => name === typed) ? found : [...found, { name: typed }];
}

function take({ id, name }) {
  if (id === undefined) chooseName(name);
  else chooseClass(id);
  leave();
}

function leave() {
  field.value = "";
  find("#stage").focus();
}

function startRenaming(id) {
  if (!app.classes[id]) return;
  focusClassField();
  renamed = id;
  field.value = className(id);
  field.select();
  repaint("classes");
}

export const renameCurrentClass = () => startRenaming(app.classId);

function mark(place) {
  const count = matches().length || 1;
  marked = (place + count) % count;
  list.reveal(marked);
  repaint("classes");
}

function onFieldKey(event) {
  const name = field.value.trim();
  if (event.key === "ArrowDown") mark(marked + 1);
  else if (event.key === "ArrowUp") mark(marked - 1);
  else if (event.key === "Escape") leave();
  else if (event.key !== "Enter") return;
  else if (renamed !== null) {
    renameClass(renamed, name);
    leave();
  } else if (name) take(event.shiftKey ? { name } : matches()[marked]);
  else leave();
  event.preventDefault();
  event.stopPropagation();
}

function paintClasses() {
  const current = app.classes.length ? className(app.classId) : "none yet";
  find("#class-label").textContent =
    renamed === null ? `Class: ${current}` : `Rename “${className(renamed)}”`;
  list.set(matches());
}

export function listenToClasses() {
  field.onkeydown = onFieldKey;
  field.oninput = () => mark(0);
  field.onfocus = () => mark(0);
  field.onblur = () => {
    renamed = null;
    repaint("classes");
  };
}

onPaint("classes", paintClasses);

/** The classes at the right: choosing, finding, adding and renaming them. */

import { chooseClass, chooseName, focusClassField } from "../actions.js";
import { stage } from "../picture/canvas.js";
import { classColor } from "../picture/colors.js";
import { renameClass } from "../edits.js";
import { RowList } from "./list.js";
import { app, className, currentDoc, onPaint, repaint } from "../state.js";

const HEIGHT = 28;

const field = document.querySelector("#class-field");
const label = document.querySelector("#class-label");
const list = new RowList(document.querySelector("#classes"), HEIGHT, makeRow, fillRow);

/** Place of the marked row while a class is typed. */
let marked = 0;
/** Id of the class that is renamed. */
let renamed = null;

function makeRow() {
  const row = document.createElement("button");
  const swatch = document.createElement("i");
  row.append(swatch, document.createElement("span"), document.createElement("span"), document.createElement("kbd"));
  row.addEventListener("click", () => take(row.item));
  row.addEventListener("dblclick", () => row.item.id !== undefined && startRenaming(row.item.id));
  return row;
}

function fillRow(row, item, index) {
  const { id } = item;
  const [swatch, name, count, key] = row.children;
  const isNew = id === undefined;
  row.item = item;
  row.title = isNew ? "" : `${item.name}. Double click or F2: rename`;
  swatch.style.background = isNew ? "none" : classColor(id);
  name.textContent = isNew ? `Add “${item.name}”` : item.name;
  count.textContent = app.entries.get(app.current)?.classes?.[id] ?? "";
  key.textContent = id < 9 ? id + 1 : "";
  row.ariaCurrent = id === app.classId;
  row.classList.toggle("marked", document.activeElement === field && renamed === null && index === marked);
}

/** @returns {{id?: number, name: string}[]} classes that match what is typed, and what it would add */
function matches() {
  const typed = renamed === null ? field.value.trim() : "";
  if (!typed) return app.classes;
  const wanted = typed.toLowerCase();
  const rank = ({ name }) => {
    const lower = name.toLowerCase();
    return lower === wanted ? 0 : lower.startsWith(wanted) ? 1 : lower.includes(wanted) ? 2 : 3;
  };
  const found = app.classes.filter((each) => rank(each) < 3).sort((a, b) => rank(a) - rank(b));
  return app.classes.some(({ name }) => name === typed) ? found : [...found, { name: typed }];
}

function take(item) {
  if (item.id === undefined) chooseName(item.name);
  else chooseClass(item.id);
  leave();
}

function leave() {
  field.value = "";
  renamed = null;
  stage.focus();
  repaint("classes");
}

function startRenaming(id) {
  renamed = id;
  field.value = className(id);
  focusClassField();
  field.select();
  repaint("classes");
}

export const renameCurrentClass = () => app.classes.length && startRenaming(app.classId);

function onFieldKey(event) {
  const name = field.value.trim();
  const items = matches();
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step) {
    marked = (marked + step + items.length) % items.length;
    list.reveal(marked);
    repaint("classes");
  } else if (event.key === "Enter" && renamed !== null) {
    renameClass(renamed, name);
    leave();
  } else if (event.key === "Enter" && name) take(event.shiftKey ? { name } : items[marked]);
  else if (event.key === "Enter" || event.key === "Escape") leave();
  else return;
  event.preventDefault();
  event.stopPropagation();
}

function paintClasses() {
  label.textContent = renamed === null ? `Class: ${app.classes.length ? className(app.classId) : "none yet"}` : `Rename “${className(renamed)}”`;
  list.set(matches());
}

export function listenToClasses() {
  field.addEventListener("keydown", onFieldKey);
  field.addEventListener("input", () => {
    marked = 0;
    repaint("classes");
  });
  field.addEventListener("focus", () => {
    marked = 0;
    repaint("classes");
  });
  field.addEventListener("blur", () => {
    renamed = null;
    repaint("classes");
  });
}

onPaint("classes", paintClasses);

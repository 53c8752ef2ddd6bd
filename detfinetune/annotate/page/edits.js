/** Documents: loading, editing, and undoing any edit of any image. */

import { request } from "./api.js";
import { toast } from "./dom.js";
import { isSame, isSaved, touched } from "./saving.js";
import { app, repaintContent } from "./state.js";

/** Edits in order: {id, before, after} of an image, or {rename: {id, before, after}} of a class. */
const past = [];
const undone = [];

const loading = new Map();

/** @returns {Promise<import("./state.js").Doc>} an image's document, as it is edited here */
export function loadDocument(id) {
  const known = app.documents.get(id);
  if (known) return Promise.resolve(known);
  if (!loading.has(id)) loading.set(id, fetchDocument(id).finally(() => loading.delete(id)));
  return loading.get(id);
}

async function fetchDocument(id) {
  const doc = {
    ...(await fetchStored(id)), sent: [], conflict: null, problem: "",
    effort: { seconds: 0, inputs: 0 }, spent: 0, timer: null, isSaving: false,
  };
  app.documents.set(id, doc);
  return doc;
}

async function fetchStored(id) {
  const { state, shapes, ...rest } = await request(`/api/images/${id}`);
  const content = { state, shapes };
  return { ...rest, content, saved: content };
}

/** Take what is stored of a document that was changed elsewhere, unless it is edited meanwhile. */
export async function reloadDocument(doc) {
  if (doc.id !== app.current) {
    app.documents.delete(doc.id);
    return forgetEdits(doc.id);
  }
  const { content } = doc;
  const stored = await fetchStored(doc.id);
  if (doc.content !== content || doc.isSaving) return;
  Object.assign(doc, stored);
  forgetEdits(doc.id);
  summarize(doc);
  toast("Changed in another window or by a model.");
}

function forgetEdits(id) {
  for (const list of [past, undone]) {
    list.splice(0, list.length, ...list.filter((edit) => edit.id !== id));
  }
}

/**
 * Change a document.
 *
 * @param {import("./state.js").Doc} doc
 * @param {object} changes of its content
 * @param {boolean} [isRepeat] whether to undo it together with the edit before
 */
export function edit(doc, changes, isRepeat = false) {
  const before = doc.content;
  const after = { ...before, ...changes };
  const last = past.at(-1);
  if (isRepeat && last?.after === before) last.after = after;
  else past.push({ id: doc.id, before, after });
  undone.length = 0;
  setContent(doc, after);
}

/** Replace one shape of a document; `accepted`, because somebody has looked at it. */
export function editShape(doc, shape, isRepeat) {
  const changed = { ...shape, accepted: true };
  const shapes = doc.content.shapes.map((other) => (other.id === shape.id ? changed : other));
  edit(doc, { shapes }, isRepeat);
}

function setContent(doc, content) {
  doc.content = content;
  summarize(doc);
  touched(doc);
  repaintContent();
}

/** Bring the list of images up to a document. */
export function summarize(doc) {
  const { state, shapes } = doc.content;
  const classes = {};
  for (const shape of shapes) classes[shape.class] = (classes[shape.class] ?? 0) + 1;
  const unreviewed = shapes.filter((shape) => !shape.accepted).length;
  Object.assign(app.entries.get(doc.id), { state, shapes: shapes.length, classes, unreviewed });
}

/**
 * Take back the last edit of any image, or do it again.
 *
 * @param {(id: string) => void} show goes to an image
 */
export const undo = (show) => step(past, undone, "before", "Nothing to undo.", show);
export const redo = (show) => step(undone, past, "after", "Nothing to redo.", show);

function step(from, to, side, nothing, show) {
  const last = from.pop();
  if (!last) return toast(nothing);
  to.push(last);
  if (last.rename) return rename(last.rename.id, last.rename[side]);
  if (last.id !== app.current) show(last.id);
  setContent(app.documents.get(last.id), last[side]);
}

// --- conflicts ----------------------------------------------------------------------------------

/** Settle a conflict with a content; the other versions come back by undoing. */
export function settle(doc, content) {
  const stored = { state: doc.conflict.state, shapes: doc.conflict.shapes };
  const mine = doc.content;
  Object.assign(doc, { revision: doc.conflict.revision, saved: stored, conflict: null });
  forgetEdits(doc.id);
  const after = isSame(content, stored) ? stored : content;
  past.push({ id: doc.id, before: after === mine ? stored : mine, after });
  setContent(doc, after);
}

/** @returns {object} the stored version, and the shapes that are only in this window's */
export function bothOf({ content, conflict }) {
  const mine = new Map(content.shapes.map((shape) => [shape.id, shape]));
  const shapes = conflict.shapes.map((shape) => mine.get(shape.id) ?? shape);
  const stored = new Set(shapes.map((shape) => shape.id));
  const others = content.shapes.filter((shape) => !stored.has(shape.id));
  return { ...content, shapes: [...shapes, ...others] };
}

/** Take over an edit that an earlier window could not save. */
export async function restore({ id, revision, content }) {
  const doc = await loadDocument(id);
  if (isSame(doc.content, content)) return;
  // With the revision that it was made from: what others saved since is a conflict.
  if (isSaved(doc)) doc.revision = revision;
  edit(doc, content);
}

// --- classes ------------------------------------------------------------------------------------

/** Load the class list again. */
export const loadClasses = async () => takeClasses(await request("/api/classes"));

export function takeClasses({ classes, revision }) {
  Object.assign(app, { classes, classRevision: revision });
  repaintContent();
}

/** @returns {Promise<number>} the id of a class, which is added if it is new */
export async function addClass(name) {
  const answer = await request("/api/classes", { method: "POST", body: { name } });
  takeClasses(answer);
  return answer.id;
}

/** Rename a class, as an edit that can be undone. */
export async function renameClass(id, name) {
  const before = app.classes[id].name;
  if (!(await rename(id, name))) return;
  past.push({ rename: { id, before, after: name } });
  undone.length = 0;
}

async function rename(id, name) {
  const options = { method: "PUT", revision: app.classRevision, body: { name } };
  try {
    takeClasses(await request(`/api/classes/${id}`, options));
    return true;
  } catch (error) {
    const isConflict = error.status === 412;
    if (isConflict) takeClasses(error.content.stored);
    toast(isConflict ? "The classes were changed elsewhere. Rename it again." : error.message);
    return false;
  }
}

/**
 * Saves documents soon after each edit, and keeps a copy in the browser until that has succeeded.
 *
 * The copy outlives a crash of the server or of the browser: `findLeftovers` finds those of windows
 * that are closed.
 */

import { WRITER, request } from "./api.js";
import { app, repaint } from "./state.js";

const DELAY = 400;
const RETRY = 3000;

export const isSaved = (doc) => doc.content === doc.saved;

/** Keep a copy of an edited document, and save it soon. */
export function touched(doc) {
  keepCopy(doc);
  doc.timer ??= setTimeout(() => save(doc), DELAY);
}

/** Save a document now; what is edited meanwhile follows. */
export async function save(doc) {
  clearTimeout(doc.timer);
  doc.timer = null;
  if (doc.isSaving) return;
  doc.isSaving = true;
  repaint("bar");
  while (!isSaved(doc) && !doc.conflict && (await put(doc)));
  doc.isSaving = false;
  keepCopy(doc);
  repaint("bar", "banner");
}

/** @returns {Promise<boolean>} whether to go on */
async function put(doc) {
  const { content, effort } = doc;
  doc.effort = { seconds: 0, inputs: 0 };
  try {
    const stored = await request(`/api/images/${doc.id}`, {
      method: "PUT",
      revision: doc.revision,
      body: { ...content, effort },
    });
    Object.assign(doc, { revision: stored.revision, saved: content, sent: [], problem: "" });
    return true;
  } catch (error) {
    doc.effort.seconds += effort.seconds;
    doc.effort.inputs += effort.inputs;
    if (error.status === 412) return onConflict(doc, error.content.stored);
    // The server may have stored it before it ended.
    if (!error.status) doc.sent.push(content);
    doc.problem = error.message;
    return false;
  }
}

function onConflict(doc, stored) {
  doc.problem = "";
  const own = doc.sent.find((content) => isSame(content, stored));
  if (own) {
    Object.assign(doc, { revision: stored.revision, saved: own, sent: [] });
    return true;
  }
  doc.conflict = stored;
  repaint("conflict");
  return false;
}

const FIELDS = ["id", "class", "box", "polygons", "origin", "score", "accepted", "crowd", "mask"];

const comparable = ({ state, shapes }) =>
  JSON.stringify([state, shapes.map((shape) => FIELDS.map((field) => shape[field]))]);

/** Whether two versions of a document have the same state and shapes. */
export const isSame = (a, b) => comparable(a) === comparable(b);

export const unsaved = () => [...app.documents.values()].filter((doc) => !isSaved(doc));

/** Documents that could not be saved. */
export const failed = () => unsaved().filter((doc) => doc.problem);

export const saveAll = () => unsaved().forEach(save);

/** Try again what failed, and send what is left when the window closes. */
export function startSaving() {
  // Held as long as the window lives: other windows leave its copies alone.
  navigator.locks.request(WRITER, () => new Promise(() => {}));
  setInterval(() => failed().forEach(save), RETRY);
  window.addEventListener("pagehide", () => {
    for (const { id, revision, content, effort, problem } of unsaved()) {
      // What failed is offered when the page is opened again.
      if (problem) continue;
      const body = { ...content, effort };
      const options = { method: "PUT", revision, body, keepalive: true };
      request(`/api/images/${id}`, options).catch(() => {});
    }
  });
}

// --- copies in the browser ----------------------------------------------------------------------

const prefix = () => `detfinetune unsaved ${encodeURIComponent(app.project.root)} `;

function keepCopy(doc) {
  const key = `${prefix()}${WRITER} ${doc.id}`;
  if (isSaved(doc)) return localStorage.removeItem(key);
  const { id, name, revision, content } = doc;
  try {
    localStorage.setItem(key, JSON.stringify({ id, name, revision, content }));
  } catch {
    // The browser's own space is full: the edit stays in memory.
  }
}

const copies = () => Object.keys(localStorage).filter((key) => key.startsWith(prefix()));

/** @returns {Promise<{key: string, id: string, name: string, revision: number, content: object}[]>}
 *   edits of closed windows that were not saved */
export async function findLeftovers() {
  const { held } = await navigator.locks.query();
  const alive = new Set(held.map((lock) => lock.name));
  return copies()
    .filter((key) => !alive.has(key.slice(prefix().length).split(" ")[0]))
    .map((key) => ({ key, ...JSON.parse(localStorage.getItem(key)) }))
    .filter(({ id }) => app.entries.has(id));
}

const HANDED = "#unsaved=";

/** Go to a server at another address, with the edits that could not be saved here. */
export function moveTo(address) {
  const edits = copies().map((key) => [key, localStorage.getItem(key)]);
  location.assign(`${address}${HANDED}${encodeURIComponent(JSON.stringify(edits))}`);
}

/** Keep the edits that another address has handed over. */
export function receiveEdits() {
  if (!location.hash.startsWith(HANDED)) return;
  const edits = JSON.parse(decodeURIComponent(location.hash.slice(HANDED.length)));
  for (const [key, copy] of edits) {
    // Not those of a living window of this address.
    localStorage.setItem(key.replace(/ [^ ]+ ([^ ]+)$/, ` moved-${WRITER} $1`), copy);
  }
  history.replaceState(null, "", "/");
}

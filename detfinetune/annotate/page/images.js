/** Which image is shown, and which comes next. */

import { request } from "./api.js";
import { find, toast } from "./dom.js";
import { loadDocument, reloadDocument, summarize } from "./edits.js";
import { showBitmap, stage } from "./picture/canvas.js";
import { loadPicture } from "./picture/pictures.js";
import { fit } from "./picture/view.js";
import { isSaved, saveAll } from "./saving.js";
import { app, currentDoc, isOpen, repaint, repaintContent } from "./state.js";

/** What of `app` belongs to the image that is shown. */
const NOTHING = {
  selected: null, hovered: null, gesture: null, preview: null, path: null, draft: null,
};

/** Load the list of images; edits that are not saved yet stay. */
export async function loadImages() {
  const { images } = await request("/api/images");
  app.images = images;
  app.entries = new Map(images.map((entry) => [entry.id, entry]));
  for (const doc of app.documents.values()) {
    const isNewer = app.entries.get(doc.id).revision > doc.revision;
    if (isNewer && isSaved(doc) && !doc.isSaving) await reloadDocument(doc);
    else summarize(doc);
  }
  repaintContent();
}

/** The images that the filter leaves; the one that is shown stays among them. */
export function filteredImages() {
  const { state, class: id } = app.filter;
  const isWanted = (entry) => (!state || entry.state === state) && (!id || entry.classes?.[id]);
  return app.images.filter((entry) => isWanted(entry) || entry.id === app.current);
}

/** Go to an image. */
export async function show(id) {
  saveAll();
  Object.assign(app, { current: id, ...NOTHING });
  if (app.reviewed?.image !== id) app.reviewed = null;
  history.replaceState(null, "", `#${id}`);
  const entry = app.entries.get(id);
  delete stage.dataset.image;
  showBitmap(null);
  say(entry.error && `${entry.name}: ${entry.error}`);
  repaintContent();
  repaint("picture", "review");
  try {
    const loaded = loadDocument(id);
    const picture = entry.width ? loadPicture(entry).catch((error) => say(error.message)) : null;
    const doc = await loaded;
    if (app.current !== id) return;
    fit(doc.width ? doc : { width: 1, height: 1 });
    repaintContent();
    const bitmap = await picture;
    if (app.current !== id) return;
    showBitmap(bitmap);
    repaint("picture");
    loadAhead();
  } catch (error) {
    if (app.current === id) say(error.message);
  }

  function say(text) {
    if (app.current !== id) return;
    find("#message").hidden = !text;
    find("#message").textContent = text ?? "";
  }
}

/** Load the images that are likely to be shown next. */
function loadAhead() {
  for (const entry of [nextOpen(), neighbour(1), neighbour(-1)]) {
    if (!entry?.width) continue;
    loadDocument(entry.id).catch(() => {});
    loadPicture(entry).catch(() => {});
  }
}

/** @returns {object | undefined} the image after (1) or before (-1) the one that is shown */
function neighbour(step) {
  const images = filteredImages();
  return images[images.findIndex((entry) => entry.id === app.current) + step];
}

/**
 * The images that a detector has chosen, which have proposals, come before the others.
 *
 * @returns {object | undefined} the next image that is not reviewed, from the top after the end
 */
export function nextOpen() {
  const images = filteredImages();
  const place = images.findIndex((entry) => entry.id === app.current);
  const open = [...images.slice(place + 1), ...images.slice(0, place)].filter(isOpen);
  return open.find(({ state }) => state === "proposed") ?? open[0];
}

export function showNeighbour(step) {
  const entry = neighbour(step);
  if (entry) show(entry.id);
  else toast(step > 0 ? "This is the last image." : "This is the first image.");
}

/** @returns {object | undefined} the image before the one that is shown, whatever the filter */
export const previousImage = () =>
  app.images[app.images.findIndex((entry) => entry.id === app.current) - 1];

export const isUsable = () => Boolean(currentDoc()?.width);

/** Starts the labelling page. */

import { switchTool } from "./actions.js";
import { WRITER, follow, request } from "./api.js";
import { find, toast } from "./dom.js";
import { loadClasses, loadDocument, restore, takeClasses } from "./edits.js";
import { measureEffort } from "./effort.js";
import { loadImages, nextOpen, show } from "./images.js";
import { listenToKeys } from "./keys.js";
import { guardClosing, offerEdits, startTheme } from "./panels/bar.js";
import { listenToClasses } from "./panels/class_list.js";
import { listenToConflicts } from "./panels/conflict.js";
import { listenToImages } from "./panels/image_list.js";
import { loadQueue, nextPlace } from "./panels/review.js";
import { listenToShapes } from "./panels/shape_list.js";
import { listenToJobs, loadJobs, takeJob } from "./panels/training.js";
import { resizeCanvases, stage } from "./picture/canvas.js";
import { listenToPointer } from "./picture/pointer.js";
import { fit, view } from "./picture/view.js";
import { failed, findLeftovers, isSame, receiveEdits, save, startSaving } from "./saving.js";
import { app, currentDoc, repaint } from "./state.js";

/** How long changes by others are collected before the list is loaded again. */
const CALM = 500;

let reloading = null;

function onEvent({ event, writer, job }) {
  if (writer === WRITER) return;
  if (event === "job") takeJob(job);
  if (event === "review") loadQueue();
  if (event === "classes") loadClasses();
  if (event === "save") reloading ??= setTimeout(reload, CALM);
}

async function reload() {
  reloading = null;
  await loadImages().catch((error) => toast(error.message));
}

async function onOpen() {
  const wasLost = !app.isConnected;
  app.isConnected = true;
  repaint("banner");
  if (!wasLost) return;
  failed().forEach(save);
  await Promise.all([loadClasses(), loadJobs(), reload()]).catch((error) => toast(error.message));
  // Shows what could not be loaded meanwhile.
  if (app.current && !stage.dataset.image) show(app.current);
}

function onLost() {
  app.isConnected = false;
  repaint("banner");
}

function onResize() {
  resizeCanvases();
  const doc = currentDoc();
  if (doc?.width && view.isFitted) fit(doc);
  repaint("picture", "shapes");
}

/** Give the focus back to the picture after a click on a button or a menu. */
function keepFocus() {
  document.addEventListener("click", (event) => {
    const isClick = event.detail && event.target.closest("button");
    if (isClick && !find("dialog[open]")) stage.focus();
  });
  for (const control of document.querySelectorAll("select, input[type=range]")) {
    control.addEventListener("change", () => stage.focus());
  }
}

async function offerLeftovers() {
  const forget = ({ key }) => localStorage.removeItem(key);
  const edits = [];
  for (const each of await findLeftovers()) {
    if (isSame((await loadDocument(each.id)).content, each.content)) forget(each);
    else edits.push(each);
  }
  const take = (each) =>
    restore(each).then(() => forget(each), (error) => toast(error.message));
  if (edits.length) offerEdits(edits, take, forget);
}

async function start() {
  startTheme();
  app.threshold = Number(localStorage.getItem("detfinetune threshold") ?? app.threshold);
  for (const listen of [
    measureEffort, listenToKeys, listenToPointer, listenToImages, listenToClasses, listenToShapes,
    listenToConflicts, listenToJobs, keepFocus, guardClosing,
  ]) listen();
  find("#tool-box").onclick = () => app.tool === "box" || switchTool();
  find("#tool-polygon").onclick = () => app.tool === "polygon" || switchTool();
  new ResizeObserver(onResize).observe(stage);
  follow({ event: onEvent, open: onOpen, lost: onLost });

  app.project = await request("/api/project");
  takeClasses(app.project.classes);
  find("#folder").textContent = app.project.root.split(/[\\/]/).at(-1);
  find("#folder").title = app.project.root;
  document.title = `${find("#folder").textContent} – labelling`;
  receiveEdits();
  startSaving();
  const wanted = location.hash.slice(1);
  await loadImages();
  if (app.project.queue) {
    await loadQueue();
    nextPlace();
  } else {
    const first = app.entries.get(wanted) ?? nextOpen() ?? app.images[0];
    show(first.id);
  }
  await Promise.all([loadJobs(), offerLeftovers()]);
  stage.focus();
}

start().catch((error) => {
  find("#banner").textContent = error.message;
  find("#banner").hidden = false;
});

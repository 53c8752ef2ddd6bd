/** Trains a detector and lets it propose, as jobs of the server that outlive the page. */

import { plural } from "../actions.js";
import { request } from "../api.js";
import { find, make, toast } from "../dom.js";
import { nextOpen, show } from "../images.js";
import { app, onPaint, repaint } from "../state.js";

/** Labelled images from which on a first training is worth while. */
const ENOUGH = 20;
const VALIDATIONS = 6;
const PAST = 6;

const KINDS = { train: "Training", propose: "Proposing" };

const dialog = find("#training");
const log = find("#job-log");

/** What the log shows: the job's id, and the byte to go on from. */
let logged = { id: null, next: 0 };

const isRunning = (job) => job?.state === "running" || job?.state === "stopping";
const apText = (value) => value.toFixed(1);
const latest = () => app.jobs.at(-1);

export async function loadJobs() {
  takeJobs(await request("/api/jobs"));
}

function takeJobs({ jobs }) {
  app.jobs = jobs;
  repaint("jobs");
}

/** Take note of a job that has changed. */
export function takeJob(job) {
  const before = app.jobs.find(({ id }) => id === job.id);
  app.jobs = [...app.jobs.filter(({ id }) => id !== job.id), job].sort((a, b) => a.id - b.id);
  if (!isRunning(job) && (!before || isRunning(before)) && !dialog.open) {
    toast(`${KINDS[job.kind]} has ${job.state === "stopped" ? "stopped" : job.state}: M shows more.`);
  }
  repaint("jobs");
}

export function showTraining() {
  loadJobs().catch((error) => toast(error.message));
  dialog.showModal();
}

/** Ask for a job, or for its end, and say why if the server refuses. */
async function ask(path, options) {
  try {
    takeJobs(await request(path, options));
    find("#refusal").textContent = "";
  } catch (error) {
    find("#refusal").textContent = error.message;
  }
}

const start = (body) => ask("/api/jobs", { method: "POST", body });

/** @returns {number | undefined} what is typed into a field */
function numberIn(selector) {
  const field = find(selector);
  return field.reportValidity() ? field.valueAsNumber || undefined : NaN;
}

function train() {
  const [minutes, images] = [numberIn("#minutes"), numberIn("#count")];
  if (Number.isNaN(minutes) || Number.isNaN(images)) return;
  start({ kind: "train", minutes, images: find("#then").checked ? images : undefined });
}

function propose() {
  const images = numberIn("#count");
  if (images) start({ kind: "propose", images });
}

/** Go to the first image with proposals, among those alone. */
function correct() {
  dialog.close();
  find("#filter-state").value = app.filter.state = "proposed";
  repaint("images");
  const first = nextOpen();
  if (first) show(first.id);
}

// --- painting -----------------------------------------------------------------------------------

function paintJobs() {
  const job = latest();
  const runs = isRunning(job);
  const share = job?.progress.steps ? job.progress.step / job.progress.steps : undefined;
  const percent = runs && share !== undefined ? ` ${Math.floor(100 * share)} %` : "";
  find("#train-button").textContent = runs ? `${KINDS[job.kind]}${percent}` : "Train";
  find("#advice").textContent = advice(job);
  find("#start-train").disabled = runs;
  find("#start-propose").disabled = runs || !app.jobs.some(hasNewDetector);
  for (const id of ["start-train", "start-propose", "correct"]) {
    find(`#${id}`).classList.toggle("main", id === nextStep(job));
  }
  find("#start-propose").textContent = `Propose next ${find("#count").value || "?"}`;
  find("#job").hidden = !job;
  if (!job) return;
  find("#job-title").textContent = `${KINDS[job.kind]}: ${job.state}`;
  find("#job-title").title = job.run;
  const bar = find("#job-progress");
  bar.hidden = !runs;
  if (share === undefined) bar.removeAttribute("value");
  else bar.value = share;
  find("#job-text").textContent = runs ? progressText(job) : "";
  find("#job-ap").textContent = resultText(job);
  find("#job-error").textContent = job.error ?? "";
  find("#stop").hidden = !runs;
  find("#stop").disabled = job.state === "stopping";
  find("#resume").hidden = !job.resumable;
  find("#correct").hidden = !waiting();
  paintPast();
  if (!log.hidden) followLog();
}

const waiting = () => app.images.filter(({ state }) => state === "proposed").length;

const hasNewDetector = (job) => job?.kind === "train" && job.state === "finished";

/** @returns {string} the id of the button that is most likely wanted */
function nextStep(job) {
  if (hasNewDetector(job)) return "start-propose";
  return job?.kind === "propose" && waiting() ? "correct" : "start-train";
}

function advice(job) {
  const done = app.images.filter(({ state }) => state === "done").length;
  if (isRunning(job)) return "Close this and go on labelling; it runs without the page.";
  if (job?.state === "failed") return "It went wrong for the reason below. Mend that, then go on.";
  if (job?.resumable) return "Resume the training, or start a new one.";
  if (hasNewDetector(job)) return "Let it propose boxes for the next images: correcting is quicker.";
  if (waiting()) return `${plural(waiting(), "image")} with proposals: correct them, then train again.`;
  const count = `${plural(done, "image")} done`;
  const isTooEarly = job?.kind === "propose" && job.state === "finished" && !job.progress.step;
  if (isTooEarly) return `${count}: no proposal would save work yet. Label more, then train again.`;
  if (job) return `${count}: train again on what you have labelled since.`;
  return done < ENOUGH ? `${count}: label about ${ENOUGH}, then train.` : `${count}: train now.`;
}

function progressText({ state, progress }) {
  if (state === "stopping") return "Stopping; a training saves a checkpoint first.";
  const seconds = progress.eta_seconds;
  return progress.text + (seconds === null ? "" : ` · ${duration(seconds)} left`);
}

function duration(seconds) {
  if (seconds < 90) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${(minutes / 60).toFixed(1)} h`;
}

/** How good the detector is: AP from 0 to 100. */
function resultText({ ap, results }) {
  const { val, test } = results;
  if (val === undefined && test === undefined) {
    const found = ap.slice(-VALIDATIONS).map(([step, value]) => `${apText(value)} (step ${step})`);
    return found.length ? `AP on val so far: ${found.join(", ")}` : "";
  }
  const isSetAside = app.images.some(({ split }) => split === "test");
  return [
    val !== undefined && `AP ${apText(val)} on val`,
    test !== undefined && `${apText(test)} on test${isSetAside ? ", set aside from the start" : ""}`,
  ].filter(Boolean).join(", ");
}

function paintPast() {
  const rows = app.jobs.slice(0, -1).slice(-PAST).reverse().map((job) => {
    const name = job.run.split(/[\\/]/).at(-1);
    const time = new Date(1000 * job.started).toLocaleString([], {
      month: "short", day: "numeric", hour: "2-digit", minute: "2-digit",
    });
    const cells = [time, KINDS[job.kind], job.state, name, resultText(job)];
    return make("tr", { title: job.error ?? job.run }, ...cells.map((each) => make("td", {}, each)));
  });
  find("#past").replaceChildren(...rows);
}

// --- log ----------------------------------------------------------------------------------------

function toggleLog() {
  log.hidden = !log.hidden;
  find("#show-log").ariaExpanded = !log.hidden;
  if (!log.hidden) followLog();
}

let isFollowing = false;

/** Show what the job has said since. */
async function followLog() {
  const { id } = latest();
  if (isFollowing) return;
  isFollowing = true;
  if (logged.id !== id) {
    log.textContent = "";
    logged = { id, next: 0 };
  }
  try {
    const { text, next } = await request(`/api/jobs/${id}/log?from=${logged.next}`);
    const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    log.append(text);
    if (isAtEnd) log.scrollTop = log.scrollHeight;
    logged.next = next;
  } catch (error) {
    find("#refusal").textContent = error.message;
  }
  isFollowing = false;
}

export function listenToJobs() {
  onPaint("jobs", paintJobs);
  find("#start-train").onclick = train;
  find("#start-propose").onclick = propose;
  find("#count").oninput = () => repaint("jobs");
  find("#stop").onclick = () => ask("/api/jobs/current", { method: "DELETE" });
  find("#resume").onclick = () => start({ kind: "train", resume: latest().id });
  find("#correct").onclick = correct;
  find("#show-log").onclick = toggleLog;
}

/** What the page knows, and what of it has to be painted again. */

/**
 * @typedef {object} Shape
 * @property {string} id
 * @property {number} class
 * @property {number[]} box x1, y1, x2, y2 in pixels of the image
 * @property {number[][]} polygons each x, y, x, y, ...; none for a box
 * @property {"human" | "model" | "copy"} origin
 * @property {number | null} score
 * @property {boolean} accepted
 *
 * @typedef {{state: string, shapes: readonly Shape[]}} Content replaced, never changed in place
 *
 * @typedef {object} Doc an image's document
 * @property {string} id
 * @property {string} name
 * @property {number} width
 * @property {number} height
 * @property {number} revision that `saved` has on the server
 * @property {Content} content as it is shown
 * @property {Content} saved as it is stored
 * @property {Content[]} sent what was sent without an answer, and may have been stored
 * @property {Content & {revision: number} | null} conflict another version that is stored
 * @property {string} problem why it is not saved
 * @property {{seconds: number, inputs: number}} effort since the last save
 * @property {number} spent active seconds in this window
 */

export const app = {
  project: null,
  classes: [],
  classRevision: 0,
  /** Entries of the list of images, in order. */
  images: [],
  /** The same by id. */
  entries: new Map(),
  /** @type {Map<string, Doc>} */
  documents: new Map(),
  filter: { state: "", class: "" },

  /** Id of the image that is shown. */
  current: null,
  /** Id of the selected shape. */
  selected: null,
  /** Whether it was chosen by a click or Tab, so that it can be dragged. */
  isHeld: false,
  /** Id of the shape under the pointer. */
  hovered: null,
  /** What the pressed pointer does: {start, move(point), end(), isMoved, isClick}. */
  gesture: null,
  /** The shape as the gesture changes it. */
  preview: null,
  /** Points of the polygon that is being drawn: [[x, y], ...]. */
  path: null,
  /** A shape that waits for the first class. */
  draft: null,

  tool: "box",
  classId: 0,
  isHidden: false,
  isPanning: false,
  /** Proposals with a lower score are not shown. */
  threshold: 0.3,
  isConnected: true,
  /** Active seconds of each image that was finished in this window. */
  finished: [],
  /** Places to review, and the one that is shown. */
  queue: [],
  reviewed: null,
  /** Trainings and proposals, the newest last. */
  jobs: [],
};

/** @returns {Doc | undefined} the document of the image that is shown */
export const currentDoc = () => app.documents.get(app.current);

/** @returns {Shape | undefined} the selected shape */
export const selectedShape = () =>
  currentDoc()?.content.shapes.find((shape) => shape.id === app.selected);

/** Whether a shape is accepted, or a proposal above the slider. */
export const isShown = (shape) => shape.accepted || (shape.score ?? 1) >= app.threshold;

/** @returns {Shape[]} the shapes that can be seen and chosen, in order */
export const shownShapes = () =>
  app.isHidden ? [] : (currentDoc()?.content.shapes ?? []).filter(isShown);

/** Proposals above the slider that nobody has looked at. */
export const openProposals = () =>
  (currentDoc()?.content.shapes ?? []).filter((shape) => !shape.accepted && isShown(shape));

const WORDS = { todo: "To do", proposed: "Proposed", done: "Done", unsure: "Unsure" };

export const stateName = (state) => WORDS[state];

/** Whether an image of the list has still to be reviewed. */
export const isOpen = ({ state, error }) => !error && (state === "todo" || state === "proposed");

export const className = (id) => app.classes[id]?.name ?? `class ${id}`;

/** @returns {Shape} an accepted shape with an id of its own */
export const newShape = (values) => ({
  polygons: [], origin: "human", score: null, accepted: true, crowd: false, ...values,
  id: crypto.randomUUID().slice(0, 13),
});

/** Select a shape, or none. */
export function select(id, isHeld = true) {
  app.selected = id;
  app.isHeld = isHeld && id !== null;
  repaint("shapes", "shapeList");
}

const painters = new Map();
const stale = new Set();
let frame = 0;

/** Say how a part of the page is painted. */
export const onPaint = (part, paint) => painters.set(part, paint);

/** Paint parts of the page before the browser shows its next frame. */
export function repaint(...parts) {
  for (const part of parts) stale.add(part);
  frame ||= requestAnimationFrame(() => {
    const due = [...stale];
    stale.clear();
    frame = 0;
    for (const part of due) painters.get(part)();
  });
}

/** Paint all that shows the documents. */
export const repaintContent = () => repaint("shapes", "shapeList", "classes", "images", "bar");

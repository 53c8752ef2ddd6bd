"""What correcting proposals costs in rounds of labelling and training, with a simulated annotator.

    python benchmarks/annotator.py satellite
    python benchmarks/annotator.py chess --data-root DIR --rounds 3

The images of train and val are copied without their labels. The annotator draws the first 20, as
the page shows them; then, in each round, `detfinetune train` trains on what is labelled and
`detfinetune propose` proposes for 30 more, which are corrected by the labels that were hidden:

- a proposal that overlaps an object of its class with an IoU of 0.75 or more is accepted
- with an IoU from 0.5, or of another class, it is adjusted (cost 2)
- any other is deleted (1), and what is left is drawn (3)

These are the costs of `propose/edit_cost.py`, where another class is a deletion and a drawing.
Inputs are those of the page: a key to accept or delete a proposal, and one to go to the first; two
drags for the corners of an adjusted box; a drag for a new one; a key where the class changes, or
its whole name after the ninth class; Enter. AP is measured on val, which grows with the labels, and
on the data's own test images, which are never labelled or proposed for.

Run the same command again after an interruption: it goes on. Writes annotator.json, .md and .png
into the output folder after each round.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from labels_needed import COLOURS, command, read_json, same_settings
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pycocotools import mask as mask_api

from detfinetune.annotate.figures import round_figures
from detfinetune.annotate.start import open_store
from detfinetune.annotate.store import LabelImage, LabelStore
from detfinetune.config.schema import DataConfig
from detfinetune.labels.formats.json.label_store import Shape
from detfinetune.labels.read import read_dataset
from detfinetune.propose.edit_cost import ACCEPTED_IOU, ADD, ADJUST, ADJUSTED_IOU, DELETE

_KEYS_OF_CLASSES = 9


@dataclass(frozen=True, eq=False)
class Truth:
    """The objects of an image."""

    xywh: NDArray[np.float64]
    """x1, y1, width, height in pixels; (n, 4)."""

    class_ids: NDArray[np.integer]
    """(n,)."""


@dataclass(frozen=True)
class Correction:
    """An image after the annotator has finished it."""

    shapes: tuple[Shape, ...]
    cost: int
    """In units of deleting a box."""

    inputs: int
    """Clicks, drags and keys."""


@dataclass(frozen=True)
class Row:
    """What a round cost, and the detector that was trained after it."""

    round: int
    images: int
    objects: int
    by_hand: int
    """Cost of drawing all of its objects."""

    cost: int
    """Cost of correcting the proposals."""

    inputs: int
    labelled: int
    """Images labelled in this and all earlier rounds."""

    ap_val: float | None
    ap_test: float | None

    @property
    def saved(self) -> float:
        """Share of the cost by hand that the proposals saved, %."""
        return 100 * (1 - self.cost / self.by_hand) if self.by_hand else 0.0


def main() -> None:
    """Label, train, propose and correct; write the results after each round."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment", nargs="?", default="satellite")
    parser.add_argument("--data-root", type=Path, help="folder of the data set")
    parser.add_argument("--rounds", type=int, default=2, help="of proposals")
    parser.add_argument("--first", type=int, default=20, help="images drawn by hand")
    parser.add_argument("--images", type=int, default=30, help="images of each round")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=float, help="of each training")
    budget.add_argument("--steps", type=int, help="of each training")
    parser.add_argument("--output", type=Path, help="default: runs/annotator/<experiment>")
    parser.add_argument("--overrides", nargs="*", default=[], help="more key=value pairs of train")
    arguments = parser.parse_args()
    if arguments.data_root is not None and not arguments.data_root.is_dir():
        print(f"{arguments.data_root}: there is no such folder; nothing is measured.")
        return
    output = arguments.output or Path("runs/annotator") / arguments.experiment
    changeable = {"rounds", "output"}
    settings = [str(value) for key, value in vars(arguments).items() if key not in changeable]
    if not same_settings(output / "settings.json", settings):
        parser.error(f"{output} was begun with other settings; give another --output")
    full, photos = output / "truth", output / "photos"
    if not full.exists():
        root = [f"data.root={arguments.data_root}"] if arguments.data_root else []
        command("convert", f"data={arguments.experiment}", *root, f"output={full}")
    truth, classes = hide_labels(full, photos)
    # The data's own test images are the blind ones, so that none are set aside.
    store = open_store(DataConfig(root=photos, classes=list(classes), test_fraction=0))
    finish(store, truth, list(store.images.values())[: arguments.first])
    rows: list[Row] = []
    for number in range(arguments.rounds + 1):
        if number:
            detector = output / f"run-{number - 1}"
            propose_and_correct(store, truth, detector, number, arguments.images)
        run = output / f"run-{number}"
        train(run, photos, arguments)
        evaluation = run / "evaluation" / "truth"
        if not (evaluation / "metrics.json").exists():
            command(
                "evaluate", f"run={run}", f"data.root={full}", "split=test", f"output={evaluation}"
            )
        rows = table_rows(store, truth, output)
        write_results(rows, output, arguments.experiment)
        print(f"\n{markdown(rows)}\n", flush=True)
    print(f"Written to {output}: annotator.json, .md, .png")


def hide_labels(full: Path, photos: Path) -> tuple[dict[str, Truth], tuple[str, ...]]:
    """Copy images without labels; return their objects by name, and the class names.

    Args:
        full: folder of a conversion to COCO JSON; its test images are left out.
        photos: folder to copy into; images that are there are left alone.
    """
    dataset = read_dataset(DataConfig(root=full))
    photos.mkdir(parents=True, exist_ok=True)
    truth = {}
    for split, table in dataset.tables.items():
        if split == "test":
            continue
        for number, source in enumerate(table.names):
            name = f"{split}_{source.replace('/', '_')}"
            if not (photos / name).exists():
                shutil.copyfile(table.image_root / source, photos / name)
            own = slice(table.starts[number], table.starts[number + 1])
            solid = ~table.crowd[own]
            truth[name] = Truth(table.boxes[own][solid], table.categories[own][solid])
    return truth, dataset.classes


def train(run: Path, photos: Path, arguments: argparse.Namespace) -> None:
    """Train on what is labelled, or what an interruption left of it."""
    if (run / "results.json").exists():
        return
    if run.exists():
        command("train", f"resume={run}")
        return
    budget = [f"solver.minutes={arguments.minutes}"] if arguments.minutes else []
    budget += [f"solver.max_iter={arguments.steps}"] if arguments.steps else []
    command(
        "train", f"+experiment={arguments.experiment}", "data=custom",
        f"data.name={arguments.experiment}", f"data.root={photos}", "data.test_fraction=0",
        f"output_dir={run}", *budget, *arguments.overrides,
    )  # fmt: skip


# --- the annotator --------------------------------------------------------------------------------


def propose_and_correct(
    store: LabelStore,
    truth: dict[str, Truth],
    run: Path,
    number: int,
    images: int,
) -> None:
    """Finish the images of a round: those with proposals, and others where there are too few."""
    last = round_figures(store.events())[-1]
    left = images - (last.images if last.round == number else 0)
    if last.round > number or left <= 0:
        return
    command("propose", f"data.root={store.root}", f"run={run}", f"images={left}")
    states = {image.name: (image, summary.state) for image, summary in store.summaries()}
    proposed = [image for image, state in states.values() if state == "proposed"]
    todo = [image for image, state in states.values() if state == "todo"]
    finish(store, truth, [*proposed, *todo][:left])


def finish(store: LabelStore, truth: dict[str, Truth], images: Sequence[LabelImage]) -> None:
    """Correct images that are not done."""
    classes = store.classes().classes
    for image in images:
        document = store.document(image)
        if document.state == "done":
            continue
        correction = correct(document.shapes, truth[image.name], classes)
        edited = document.model_copy(update={"state": "done", "shapes": correction.shapes})
        store.save(image, edited, writer="annotator", inputs=correction.inputs)


def correct(proposed: Sequence[Shape], truth: Truth, classes: Sequence[str]) -> Correction:
    """Return what an annotator makes of proposals, by falling score.

    Args:
        proposed: of the image.
        truth: its objects.
        classes: names by class id.
    """
    ranked = sorted(proposed, key=lambda shape: -(shape.score or 0))
    ious = overlaps(ranked, truth)
    labels: dict[int, int] = {}
    # Objects of the same class first: one of another is adjusted only where nothing fits better.
    same = np.array([[shape.class_id == kind for kind in truth.class_ids] for shape in ranked])
    for allowed in (same.reshape(ious.shape), np.ones_like(ious, dtype=bool)):
        for at in range(len(ranked)):
            free = np.where(allowed[at], ious[at], 0)
            free[list(labels.values())] = 0
            if at not in labels and free.size and free.max() >= ADJUSTED_IOU:
                labels[at] = int(free.argmax())
    shapes = []
    cost, inputs = 0, 1 + bool(ranked)
    for at, shape in enumerate(ranked):
        inputs += 1
        label = labels.get(at)
        if label is None:
            cost += DELETE
            continue
        changes: dict[str, object] = {"accepted": True}
        if ious[at, label] < ACCEPTED_IOU:
            changes["box"] = corners(truth, label)
            inputs += 2
        if shape.class_id != truth.class_ids[label]:
            changes["class_id"] = int(truth.class_ids[label])
            inputs += class_keys(truth.class_ids[label], classes)
        cost += ADJUST * (len(changes) > 1)
        shapes.append(shape.model_copy(update=changes))
    drawn = sorted(set(range(len(truth.xywh))) - set(labels.values()))
    shapes += [
        Shape(id=f"h{label}", class_id=int(truth.class_ids[label]), box=corners(truth, label))
        for label in drawn
    ]
    cost += ADD * len(drawn)
    inputs += len(drawn)
    inputs += sum(class_keys(kind, classes) for kind in np.unique(truth.class_ids[drawn]))
    return Correction(tuple(shapes), cost, inputs)


def overlaps(shapes: Sequence[Shape], truth: Truth) -> NDArray[np.float64]:
    """Return the IoU of each shape with each object; (shapes, objects)."""
    if not shapes or not len(truth.xywh):
        return np.zeros((len(shapes), len(truth.xywh)))
    boxes = np.array([shape.box for shape in shapes])
    boxes[:, 2:] -= boxes[:, :2]
    flags = np.zeros(len(truth.xywh), dtype=np.uint8)
    return np.asarray(mask_api.iou(boxes, truth.xywh.astype(np.float64), flags))


def corners(truth: Truth, label: int) -> tuple[float, float, float, float]:
    """Return x1, y1, x2, y2 of an object."""
    x, y, width, height = truth.xywh[label].tolist()
    return x, y, x + width, y + height


def class_keys(class_id: int, classes: Sequence[str]) -> int:
    """Return how many keys choose a class: a digit, or T, its name and Enter."""
    return 1 if class_id < _KEYS_OF_CLASSES else len(classes[class_id]) + 2


# --- table and picture ----------------------------------------------------------------------------


def table_rows(store: LabelStore, truth: dict[str, Truth], output: Path) -> list[Row]:
    """Return what each round cost, from the store alone."""
    classes = store.classes().classes
    names: list[list[str]] = [[]]
    for event in store.events():
        if event["event"] == "round":
            names.append([])
        elif event["event"] == "save" and event["state"] == "done":
            names[-1].append(event["image"])
    documents = {image.name: store.document(image) for image in store.images.values()}
    figures = round_figures(store.events())
    rows: list[Row] = []
    for number, own in enumerate(names):
        proposals = [documents[name].proposal for name in own]
        costs = [
            correct(proposal.shapes if proposal else (), truth[name], classes).cost
            for name, proposal in zip(own, proposals, strict=True)
        ]
        objects = sum(len(truth[name].xywh) for name in own)
        run = output / f"run-{number}"
        rows.append(
            Row(
                number, len(own), objects, ADD * objects, sum(costs), figures[number].inputs,
                sum(len(part) for part in names[: number + 1]),
                ap_of(run / "evaluation" / "val"), ap_of(run / "evaluation" / "truth"),
            )
        )  # fmt: skip
    return rows


def ap_of(evaluation: Path) -> float | None:
    """Return the AP of an evaluation; None where there is none."""
    path = evaluation / "metrics.json"
    if not path.exists():
        return None
    ap = read_json(path)["bbox"]["AP"]
    return None if ap is None else float(ap)


def write_results(rows: Sequence[Row], output: Path, name: str) -> None:
    """Write annotator.json, .md and .png."""
    content = [{**asdict(row), "saved": round(row.saved, 1)} for row in rows]
    (output / "annotator.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (output / "annotator.md").write_text(markdown(rows) + "\n", encoding="utf-8")
    draw(rows, name).savefig(output / "annotator.png", dpi=160)


def markdown(rows: Sequence[Row]) -> str:
    """Return a table, a round a line."""
    lines = [
        "| round | images | objects | cost by hand | with proposals | saved | inputs an object "
        "| AP val after it | AP test |",
        "| --- " * 9 + "|",
    ]
    for row in rows:
        aps = ["" if ap is None else f"{ap:.1f}" for ap in (row.ap_val, row.ap_test)]
        inputs = row.inputs / row.objects if row.objects else 0
        lines.append(
            f"| {row.round} | {row.images} | {row.objects} | {row.by_hand} | {row.cost} "
            f"| {row.saved:.0f} % | {inputs:.2f} | {' | '.join(aps)} |"
        )
    return "\n".join(lines)


def draw(rows: Sequence[Row], name: str) -> Figure:
    """Return the picture: the cost of each round beside drawing it, and AP by labelled images."""
    figure = Figure(figsize=(8.4, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    places = [row.round for row in rows]
    left.bar(places, [row.by_hand for row in rows], color="#dddddd", label="all drawn by hand")
    left.bar(places, [row.cost for row in rows], width=0.5, color=COLOURS[0], label="as simulated")
    for row in rows:
        saved = f"\N{MINUS SIGN}{row.saved:.0f} %" if row.cost < row.by_hand else ""
        left.annotate(
            saved, (row.round, row.cost),
            xytext=(0, 3), textcoords="offset points", ha="center", fontweight="bold",
        )  # fmt: skip
    left.set_xticks(places)
    left.margins(y=0.2)  # For the legend.
    left.set_xlabel("round (0: by hand)")
    left.set_title("cost of labelling", loc="left", fontweight="bold")
    left.legend(frameon=False)
    labelled = [row.labelled for row in rows]
    for colour, title, values in (
        (COLOURS[1], "AP on test", [row.ap_test for row in rows]),
        (COLOURS[2], "AP on val", [row.ap_val for row in rows]),
    ):
        aps = [float("nan") if value is None else value for value in values]
        right.plot(labelled, aps, color=colour, marker="o", label=title)
    right.set_xticks(labelled)
    right.set_ylim(0, 100)
    right.set_xlabel("labelled images")
    right.set_title(f"{name}: detector after each round", loc="left", fontweight="bold")
    right.legend(frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    main()

"""Test AP against the number of labelled images, for each of several models.

    python benchmarks/labels_needed.py bccd --data-root DIR --models efficientnet_lite0_fpn
    python benchmarks/labels_needed.py chess --data-root DIR --models auto florence2

Trains each model on 16, 48 and all training images of the same data with `detfinetune train`; val
and test stay as they are. A seed puts the training images in an order, of which a subset is the
beginning: the smaller ones are parts of the larger ones, and all models get the same. Images that
are left out are in no split, so nothing is trained or scored on them. Run the same command again
after an interruption: finished runs are kept, and one that was interrupted is resumed.

Writes labels_needed.csv, .md, .png and .svg into the output folder, after each run anew.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers can tell apart, the darker ones first.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
METRICS = Path("evaluation/test/metrics.json")
LABEL_ROOM = 0.055
"""Least distance of two labels at the ends of lines, as a share of the axis."""


@dataclass(frozen=True)
class Result:
    """What one run reached on test."""

    model: str
    images: int
    """Labelled images that it was trained on."""

    seed: int
    AP: float
    AP50: float


def main() -> None:
    """Train what is not yet there; write table and picture after each run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment")
    parser.add_argument("--data-root", type=Path, help="folder of the data set")
    parser.add_argument("--models", nargs="+", required=True, help="files of configs/model")
    parser.add_argument("--sizes", nargs="+", default=["16", "48", "all"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", type=Path, help="default: runs/labels_needed/<experiment>")
    parser.add_argument("--overrides", nargs="*", default=[], help="more key=value pairs")
    arguments = parser.parse_args()
    output = arguments.output or Path("runs/labels_needed") / arguments.experiment
    settings = [arguments.experiment, str(arguments.data_root), arguments.overrides]
    if not same_settings(output / "settings.json", settings):
        parser.error(f"{output} has runs of other data or overrides; give another --output")
    full = output / "data" / "all"
    if not full.exists():
        root = [f"data.root={arguments.data_root}"] if arguments.data_root else []
        command("convert", f"data={arguments.experiment}", *root, f"output={full}")
    available = len(read_json(full / "train.json")["images"])
    sizes = sorted({min(int(s), available) if s != "all" else available for s in arguments.sizes})
    # The cheap runs of all models come first, so that an early picture compares them.
    runs = {
        (model, images, seed): output / "runs" / f"{model}-{images}-{seed}"
        for images in sizes
        for seed in arguments.seeds
        for model in arguments.models
    }
    for number, ((model, images, seed), run) in enumerate(runs.items(), start=1):
        print(f"\n[{number}/{len(runs)}] {model}, {images} images, seed {seed}", flush=True)
        data = write_subset(full, output / "data" / f"{images}-{seed}", images, seed)
        if not (run / METRICS).exists():
            train(arguments, run, data, model, seed)
        done = {key: folder for key, folder in runs.items() if (folder / METRICS).exists()}
        results = [result_of(folder, *key) for key, folder in done.items()]
        write_results(results, output, arguments.experiment)
    print(f"\n{markdown(results)}\n\nWritten to {output}: labels_needed.csv, .md, .png, .svg")


def command(*words: str) -> None:
    """Run a command of detfinetune; stop with it if it fails."""
    subprocess.run([sys.executable, "-m", "detfinetune", *words], check=True)


def read_json(path: Path) -> Any:
    """Return the content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def same_settings(path: Path, settings: list[Any]) -> bool:
    """Keep the settings of an output folder; return whether they are those it was begun with."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings), encoding="utf-8")
    return bool(read_json(path) == settings)


def write_subset(full: Path, folder: Path, images: int, seed: int) -> Path:
    """Write a converted data set of which train has only so many images; return its folder.

    Args:
        full: folder of a conversion to COCO JSON.
        folder: to write; one that is there is left alone.
        images: to keep in train.
        seed: of the order, whose first images are kept.
    """
    if (folder / "dataset.json").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    train, manifest = read_json(full / "train.json"), read_json(full / "dataset.json")
    order = sorted(train["images"], key=lambda image: image["file_name"])
    random.Random(seed).shuffle(order)
    kept = {image["id"] for image in order[:images]}
    train["images"] = [i for i in train["images"] if i["id"] in kept]
    train["annotations"] = [a for a in train["annotations"] if a["image_id"] in kept]
    counts = {"num_images": len(kept), "num_annotations": len(train["annotations"])}
    manifest["splits"]["train"] |= counts
    for split in set(manifest["splits"]) - {"train"}:
        (folder / f"{split}.json").write_bytes((full / f"{split}.json").read_bytes())
    # The manifest is last: with it the folder is whole.
    for name, content in (("train.json", train), ("dataset.json", manifest)):
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder


def train(arguments: argparse.Namespace, run: Path, data: Path, model: str, seed: int) -> None:
    """Train a model on a subset, or what an interruption left of it."""
    if run.exists():
        command("train", f"resume={run}")
    else:
        command(
            "train", f"+experiment={arguments.experiment}", f"model={model}", "data=custom",
            f"data.name={arguments.experiment}", f"data.root={data}", f"seed={seed}",
            f"output_dir={run}", *arguments.overrides,
        )  # fmt: skip


def result_of(run: Path, model: str, images: int, seed: int) -> Result:
    """Return the result of a finished run."""
    by_task = read_json(run / METRICS)
    figures = by_task["segm" if "segm" in by_task else "bbox"]
    return Result(model, images, seed, figures["AP"], figures["AP50"])


# --- table and picture ----------------------------------------------------------------------------


def write_results(results: Sequence[Result], output: Path, name: str) -> None:
    """Write labels_needed.csv, .md, .png and .svg."""
    with (output / "labels_needed.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, [field.name for field in fields(Result)])
        writer.writeheader()
        writer.writerows(asdict(result) for result in results)
    (output / "labels_needed.md").write_text(markdown(results) + "\n", encoding="utf-8")
    figure = draw(results, name)
    figure.savefig(output / "labels_needed.png", dpi=160)
    # Text stays text, and the same results give the same bytes.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "labels_needed"}):
        figure.savefig(output / "labels_needed.svg", metadata={"Date": None})


def by_images(results: Iterable[Result], model: str) -> dict[int, list[float]]:
    """Return the AP of a model's seeds by the number of images, in rising order."""
    found: dict[int, list[float]] = {}
    for result in sorted(results, key=lambda result: result.images):
        if result.model == model:
            found.setdefault(result.images, []).append(result.AP)
    return found


def models_of(results: Iterable[Result]) -> list[str]:
    """Return the models, each once, in order."""
    return list(dict.fromkeys(result.model for result in results))


def markdown(results: Sequence[Result]) -> str:
    """Return a table of each model's median AP, with least and most of several seeds."""
    lines = [
        "| model | labelled images | AP on test | spread | runs |",
        "| --- | --- | --- | --- | --- |",
    ]
    for model in models_of(results):
        for images, values in by_images(results, model).items():
            spread = f"{min(values):.1f} to {max(values):.1f}" if len(values) > 1 else "one seed"
            median = statistics.median(values)
            lines.append(f"| {model} | {images} | {median:.1f} | {spread} | {len(values)} |")
    return "\n".join(lines)


def draw(results: Sequence[Result], name: str) -> Figure:
    """Return the picture: a line a model through the medians, a point a run."""
    figure = Figure(figsize=(7.2, 4.5), layout="constrained")
    axes = figure.subplots()
    ends: list[tuple[float, float, str, str]] = []
    for number, model in enumerate(models_of(results)):
        colour = COLOURS[number % len(COLOURS)]
        found = by_images(results, model)
        sizes = list(found)
        medians = [statistics.median(values) for values in found.values()]
        if any(len(values) > 1 for values in found.values()):
            low, high = zip(*((min(v), max(v)) for v in found.values()), strict=True)
            axes.fill_between(sizes, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(sizes, medians, color=colour, linewidth=2)
        own = [result for result in results if result.model == model]
        axes.scatter(
            [result.images for result in own], [result.AP for result in own],
            s=30, color=colour, edgecolor="white", zorder=3,
        )  # fmt: skip
        ends.append((sizes[-1], medians[-1], model, colour))
    dress(axes, results, name)
    label_ends(axes, ends)
    return figure


def dress(axes: Axes, results: Sequence[Result], name: str) -> None:
    """Set scales, ticks and titles."""
    sizes = sorted({result.images for result in results})
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, labels=[str(size) for size in sizes])
    axes.set_xticks([], minor=True)
    axes.set_xlim(sizes[0] / 1.15, sizes[-1] * 1.15)
    axes.set_ylim(0, min(100.0, 10 * (max(result.AP for result in results) // 10 + 1)))
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("labelled training images (log scale)")
    axes.set_ylabel("AP on the test images")
    seeds = len({result.seed for result in results})
    shown = (
        "one seed" if seeds == 1 else f"line: median, band: least to most of up to {seeds} seeds"
    )
    axes.set_title(f"{name}: AP by labelled images", loc="left", fontweight="bold", pad=20)
    axes.text(0, 1.02, f"one point a run; {shown}", transform=axes.transAxes, color="#555555")


def label_ends(axes: Axes, ends: list[tuple[float, float, str, str]]) -> None:
    """Write each model's name and AP beside its line's end, lower where two would overlap."""
    gap = LABEL_ROOM * axes.get_ylim()[1]
    place = float("inf")
    for x, y, model, colour in sorted(ends, key=lambda end: -end[1]):
        place = min(y, place - gap)
        axes.annotate(
            f"{model}  {y:.1f}", (x, place), xytext=(8, 0), textcoords="offset points",
            color=colour, va="center", fontweight="bold", annotation_clip=False,
        )  # fmt: skip


if __name__ == "__main__":
    main()

"""AP on val by minutes of training on a CPU, beside stock Detectron2 and torchvision's reference.

    python benchmarks/stock.py bccd --data-root DIR --minutes 15 --seeds 0 1 2
    python benchmarks/stock.py --steps-only

Every system gets the same images and splits (a conversion to COCO JSON), the same ImageNet weights
of the same backbone with the same layers frozen, the image size and limit of detections that our
recipe chooses, and the same evaluation. Minutes are those of training steps with the loading of
their data; evaluations, checkpoints and logs are not counted, for anyone.

- ours: `detfinetune train` with the data and the budget, evaluated when it chooses to.
- stock_...: Detectron2's own trainer, loader, flip and kernels. `tutorial` has the settings of its
  tutorial on custom data (rate 0.00025, two images a step), `zoo` the rate of its model zoo scaled
  to our batch, with decays at 6/9 and 8/9 of the budget and a warm-up of a tenth at most. `same`
  builds our architecture and anchors, else it is Detectron2's own (FPN 256, box head 1024).
- torchvision: its reference recipe, with decays at 16/26 and 22/26 of the budget.

Each run is a process of its own. Run the same command again after an interruption: finished runs
are kept. Writes stock.csv, .md, .png and .svg into the output folder, after each run anew.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise, product
from pathlib import Path

from labels_needed import COLOURS, label_ends
from matplotlib import rc_context
from matplotlib.figure import Figure
from systems import Point

from detfinetune._detectron2 import ignore_known_warnings
from detfinetune.console import table

# Keys that these data sets need beside their folder.
DATA_KEYS = {"deeppcb": ["data.columns=x1,y1,x2,y2,class"]}
STOCK = {
    "stock_tutorial": {"same": False, "tutorial": True},
    "stock_zoo": {"same": False, "tutorial": False},
    "stock_same_tutorial": {"same": True, "tutorial": True},
    "stock_same_zoo": {"same": True, "tutorial": False},
}
SYSTEMS = ("ours", *STOCK, "torchvision")
FIELDS = ("system", "seed", "seconds", "step", "AP", "AP50")

Curves = dict[str, dict[int, list[Point]]]
"""Evaluations in order, by system and seed."""


def main() -> None:
    """Train what is not yet there; write table and picture after each run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", default="bccd", help="bccd, airport, deeppcb or another")
    parser.add_argument("--data-root", type=Path, help="folder of the data set")
    parser.add_argument("--minutes", type=float, default=15.0, help="of training")
    parser.add_argument("--evaluations", type=int, default=4, help="of all but ours")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--systems", nargs="+", default=SYSTEMS, choices=SYSTEMS)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--output", type=Path, help="default: runs/stock/<data>-<minutes>")
    parser.add_argument("--steps-only", action="store_true", help="only the time of steps")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    if arguments.steps_only:
        print(f"{arguments.threads} threads\n{steps_table()}")
        return
    if arguments.data_root is None:
        parser.error("give the folder of the data set with --data-root")
    name = f"{arguments.data}-{arguments.minutes:g}"
    output = arguments.output or Path("runs/stock") / name
    if arguments.alone:
        system, seed = arguments.systems[0], arguments.seeds[0]
        points = train_one(system, output, seed, 60 * arguments.minutes, arguments.evaluations)
        append(output / "stock.csv", system, seed, points)
        return
    if not (output / "data").exists():
        convert(arguments.data, arguments.data_root, output / "data")
    for seed, system in product(arguments.seeds, arguments.systems):
        if seed in read_curves(output).get(system, {}):
            continue
        print(f"\n{system}, seed {seed}", flush=True)
        one = ["--systems", system, "--seeds", str(seed), "--alone"]
        subprocess.run([sys.executable, *sys.argv, *one], check=True)
        write_results(read_curves(output), output, arguments.data, arguments.minutes)
    print(f"\n{(output / 'stock.md').read_text(encoding='utf-8')}\nWritten to {output}")


def convert(name: str, root: Path, folder: Path) -> None:
    """Convert the labels to COCO JSON; val is held out where the data has none."""
    command = [sys.executable, "-m", "detfinetune", "convert", f"data.root={root}",
               f"data.name={name}", f"output={folder}", "contact_sheet=0"]  # fmt: skip
    subprocess.run([*command, *DATA_KEYS.get(name, [])], check=True)


def train_one(
    system: str, output: Path, seed: int, seconds: float, evaluations: int
) -> list[Point]:
    """Train a system in this process, into which torch is not imported yet."""
    data = output / "data"
    if system == "ours":
        from systems.ours import train_ours

        return train_ours(data, seed, seconds, output / "runs" / f"ours-{seed}")
    ignore_known_warnings()
    from systems.timed import load_data, train_on_budget

    loaded = load_data(data)
    print(loaded.text, flush=True)
    if system == "torchvision":
        from systems.torchvision_reference import torchvision_system

        trained = torchvision_system(loaded, seed)
    else:
        from systems.stock_detectron2 import stock_system

        trained = stock_system(loaded, seed, **STOCK[system])
    return train_on_budget(trained, loaded, seconds, evaluations)


def steps_table() -> str:
    """Return the seconds of a step of both sides, at equal architecture and precision."""
    ignore_known_warnings()
    from systems.steps import HEADERS, Case, take_turns

    models = {"EfficientNet-Lite0-FPN": "efficientnet_lite0_fpn",
              "R50-FPN": "COCO-Detection/faster_rcnn_R_50_FPN_3x"}  # fmt: skip
    cases = [
        Case(name, model, precision, batch=4, size=(320, 416))
        for name, model in models.items()
        for precision in ("fp32", "bf16")
    ]
    return table(list(take_turns(cases, "cpu", steps=10, rounds=3)), HEADERS, digits=3)


# --- file, table and picture ----------------------------------------------------------------------


def append(path: Path, system: str, seed: int, points: Sequence[Point]) -> None:
    """Write the evaluations of a finished run."""
    new = not path.exists()
    with path.open("a", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerows([FIELDS] if new else [])
        writer.writerows([system, seed, *point] for point in points)


def read_curves(output: Path) -> Curves:
    """Return the runs that have finished."""
    curves: Curves = {}
    path = output / "stock.csv"
    if path.exists():
        with path.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                point = Point(float(row["seconds"]), int(row["step"]), float(row["AP"]),
                              float(row["AP50"]))  # fmt: skip
                curves.setdefault(row["system"], {}).setdefault(int(row["seed"]), []).append(point)
    return curves


def mean_curve(seeds: dict[int, list[Point]]) -> list[tuple[float, float, float, float]]:
    """Return minutes and mean, least and most AP of each evaluation."""
    return [
        (statistics.mean(point.seconds for point in points) / 60,
         statistics.mean(point.AP for point in points),
         min(point.AP for point in points), max(point.AP for point in points))
        for points in zip(*seeds.values(), strict=False)
    ]  # fmt: skip


def minutes_to(curve: Sequence[tuple[float, ...]], wanted: float) -> float | None:
    """Return when a curve first reaches an AP, on straight lines between evaluations."""
    points = [(0.0, 0.0), *(point[:2] for point in curve)]
    for (start, before), (end, after) in pairwise(points):
        if after >= wanted:
            return start + (end - start) * max(0.0, wanted - before) / max(after - before, 1e-9)
    return None


def markdown(curves: Curves, minutes: float) -> str:
    """Return the table: AP by time, and when each reaches the best final AP of another system."""
    means = {system: mean_curve(seeds) for system, seeds in curves.items()}
    best = max((curve[-1][1] for system, curve in means.items() if system != "ours"), default=0.0)
    parts = [minutes * part / 4 for part in (1, 2, 3, 4)]
    heads = [*(f"AP, {part:.3g} min" for part in parts), "spread", "AP50", "seeds", "s/step",
             f"minutes to AP {best:.1f}"]  # fmt: skip
    lines = [f"| system | {' | '.join(heads)} |", "| --- " * (len(heads) + 1) + "|"]
    for system, curve in means.items():
        runs = list(curves[system].values())
        nearest = [min(curve, key=lambda point: abs(point[0] - part))[1] for part in parts]
        reached = minutes_to(curve, best)
        cells = [
            *(f"{ap:.1f}" for ap in nearest),
            f"{curve[-1][2]:.1f} to {curve[-1][3]:.1f}",
            f"{statistics.mean(run[-1].AP50 for run in runs):.1f}",
            str(len(runs)),
            f"{statistics.mean(run[-1].seconds / run[-1].step for run in runs):.2f}",
            "not reached" if reached is None else f"{reached:.1f}",
        ]
        lines.append(f"| {system} | {' | '.join(cells)} |")
    return "\n".join(lines)


def write_results(curves: Curves, output: Path, name: str, minutes: float) -> None:
    """Write stock.md, .png and .svg."""
    (output / "stock.md").write_text(markdown(curves, minutes) + "\n", encoding="utf-8")
    figure = draw(curves, name)
    figure.savefig(output / "stock.png", dpi=160)
    # Text stays text, and the same results give the same bytes.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "stock"}):
        figure.savefig(output / "stock.svg", metadata={"Date": None})


def draw(curves: Curves, name: str) -> Figure:
    """Return the picture: a line a system through the means, a band from least to most."""
    figure = Figure(figsize=(7.2, 4.5), layout="constrained")
    axes = figure.subplots()
    ends = []
    for number, system in enumerate(system for system in SYSTEMS if system in curves):
        colour = COLOURS[number]
        curve = mean_curve(curves[system])
        x, mean, low, high = zip(*[(0.0, 0.0, 0.0, 0.0), *curve], strict=True)
        axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(x, mean, color=colour, linewidth=2, marker="o", markersize=4, clip_on=False)
        ends.append((x[-1], mean[-1], system, colour))
    axes.set_xlim(0, max(end[0] for end in ends))
    axes.set_ylim(0, 10 * (max(end[1] for end in ends) // 10 + 1))
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("minutes of training")
    axes.set_ylabel("AP on the val images")
    seeds = max(len(runs) for runs in curves.values())
    shown = "one seed" if seeds == 1 else f"line: mean, band: least to most of {seeds} seeds"
    axes.set_title(f"{name}: AP by minutes of training", loc="left", fontweight="bold", pad=20)
    axes.text(0, 1.02, shown, transform=axes.transAxes, color="#555555")
    label_ends(axes, ends)
    return figure


if __name__ == "__main__":
    main()

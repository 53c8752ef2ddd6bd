"""Test AP and time of a shipped experiment over several seeds.

    python benchmarks/fine_tuning.py bccd --data-root DIR --seeds 0 1 2
    python benchmarks/fine_tuning.py satellite --overrides model.weights=random

Each seed is a run of `detfinetune train`, one after the other; the recipe chooses everything that
`--overrides` does not. Seconds are wall-clock for the whole command: conversion, training, all
evaluations, pictures.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from detfinetune.console import table

REPO = Path(__file__).resolve().parents[1]


def main() -> None:
    """Run the seeds and print a row for each, then median, least and most."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment")
    parser.add_argument("--data-root", type=Path, help="folder of the data set")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", type=Path, default=Path("runs/benchmark"))
    parser.add_argument("--overrides", nargs="*", default=[], help="more key=value pairs")
    arguments = parser.parse_args()
    root = [f"data.root={arguments.data_root}"] if arguments.data_root else []
    rows = []
    for seed in arguments.seeds:
        run = arguments.output / f"{arguments.experiment}-{seed}"
        command = [
            sys.executable, "-m", "detfinetune", "train",
            f"+experiment={arguments.experiment}", *root, f"seed={seed}", f"output_dir={run}",
            *arguments.overrides,
        ]  # fmt: skip
        started = time.perf_counter()
        subprocess.run(command, check=True)
        seconds = time.perf_counter() - started
        metrics = json.loads((run / "evaluation/test/metrics.json").read_text(encoding="utf-8"))
        task = "segm" if "segm" in metrics else "bbox"
        rows.append([seed, *(float(metrics[task][name]) for name in ("AP", "AP50")), seconds])
    columns = list(zip(*rows, strict=True))[1:]
    for name, figure in (("median", statistics.median), ("least", min), ("most", max)):
        rows.append([name, *(float(figure(column)) for column in columns)])
    print(f"\n{arguments.experiment}, test split, {task}; {os.cpu_count()} cores")
    print(table(rows, headers=("seed", "AP", "AP50", "seconds")))


if __name__ == "__main__":
    main()

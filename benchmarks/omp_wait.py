"""OMP_WAIT_POLICY on the CPU: seconds per training step, on an idle machine and a shared one.

    python benchmarks/omp_wait.py [--steps 24] [--rounds 2] [--work DIR]

Trains the default CPU model on a few generated scenes, once for each cell of the table and round:
with OpenMP's own default, where waiting threads spin, and with `passive`, which the tools set;
alone, and beside a busy process for each core. The sides take turns. A figure is the median of a
run's last 20 steps, data loading included.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

from detfinetune.console import table

POLICIES = {"default": {}, "passive": {"OMP_WAIT_POLICY": "passive"}}
LOADS = {"idle": 0, "busy": os.cpu_count() or 1}
# Ends with its parent, also when that is killed.
SPIN = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"
# Run as a program of its own, because the tools would set the policy.
TRAIN = """
import sys
from detfinetune import train
from detfinetune.config.load import load_train_config
train(load_train_config(sys.argv[1:]))
"""


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Keep `count` cores busy during the block."""
    processes = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def seconds_per_step(scenes: Path, run: Path, steps: int, environment: dict[str, str]) -> float:
    """Train in a process of its own and return the median of its last 20 steps."""
    inherited = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    command = [
        sys.executable, "-c", TRAIN, "+experiment=satellite", "hardware=cpu",
        f"data.root={scenes}", f"output_dir={run}", f"solver.max_iter={steps}",
        "solver.warmup_iters=null", "evaluation.eval_period=0", "evaluation.test_at_end=false",
        "evaluation.pictures=0",
    ]  # fmt: skip
    subprocess.run(
        command, check=True, env={**inherited, **environment}, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    lines = (run / "train_metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [float(line["time"]) for line in map(json.loads, lines) if "time" in line][-1]


def main() -> None:
    """Run all sides in turn and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--work", type=Path, help="folder for scenes and runs; default: temporary")
    arguments = parser.parse_args()
    from detfinetune.sample_scenes.write import write_sample_scenes

    with tempfile.TemporaryDirectory(dir=arguments.work) as work:
        scenes = write_sample_scenes(Path(work) / "scenes", num_scenes=28, seed=0)
        sides = list(product(LOADS, POLICIES))
        seconds: dict[tuple[str, str], list[float]] = {side: [] for side in sides}
        for turn, (load, policy) in product(range(arguments.rounds), sides):
            run = Path(work) / f"{load}-{policy}-{turn}"
            with busy_processes(LOADS[load]):
                taken = seconds_per_step(scenes, run, arguments.steps, POLICIES[policy])
            seconds[load, policy].append(taken)
            print(f"round {turn + 1}: {load}, {policy}: {taken:.2f} s per step", flush=True)
    rows = [
        [load, policy, statistics.median(times), min(times), max(times)]
        for (load, policy), times in seconds.items()
    ]
    print(f"\n{os.cpu_count()} cores; seconds per training step")
    print(table(rows, ["machine", "OMP_WAIT_POLICY", "median", "least", "most"], digits=2))


if __name__ == "__main__":
    main()

"""`detfinetune train` with nothing set but the data and the budget."""

from __future__ import annotations

import json
import shutil
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from detfinetune import train
from detfinetune.config.keys import config_keys
from detfinetune.config.load import load_train_config
from detfinetune.config.schema import TrainConfig
from detfinetune.engine.trainer import Trainer
from systems import Point

_PROBE_STEPS = 12


@contextmanager
def timed_steps() -> Iterator[dict[int, float]]:
    """Yield the seconds spent in training steps by the number of finished steps."""
    spent = {0: 0.0}
    run_step = Trainer.run_step

    def timed(self: Trainer) -> None:
        start = time.perf_counter()
        run_step(self)
        spent[self.iter + 1] = max(spent.values()) + time.perf_counter() - start

    with patch.object(Trainer, "run_step", timed):
        yield spent


def train_ours(data: Path, seed: int, seconds: float, run: Path) -> list[Point]:
    """Train; return the evaluations that the run made of its own accord.

    Args:
        data: folder of the data set.
        seed: of the run.
        seconds: of training.
        run: folder of the run; what an interruption left there is removed.
    """
    shutil.rmtree(run, ignore_errors=True)
    words = [f"data.root={data}", "hardware=cpu", f"seed={seed}"]
    if "solver.minutes" in config_keys(TrainConfig):
        budget = f"solver.minutes={seconds / 60}"
    else:
        budget = f"solver.max_iter={max(1, int(seconds / _step_seconds(words, run)))}"
    with timed_steps() as spent:
        train(load_train_config([*words, budget, f"output_dir={run}"]))
    lines = (run / "train_metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [
        Point(spent[line["iteration"]], line["iteration"], line["val/bbox/AP"],
              line["val/bbox/AP50"])
        for line in map(json.loads, lines)
        if "val/bbox/AP" in line
    ]  # fmt: skip


def _step_seconds(words: list[str], run: Path) -> float:
    """Return the median of ten steps, after two that are not counted."""
    probe = [f"solver.max_iter={_PROBE_STEPS}", "evaluation.eval_period=0", f"output_dir={run}",
             "evaluation.test_at_end=false", "evaluation.pictures=0"]  # fmt: skip
    with timed_steps() as spent:
        train(load_train_config([*words, *probe]))
    shutil.rmtree(run)
    return statistics.median(spent[step] - spent[step - 1] for step in range(3, _PROBE_STEPS + 1))

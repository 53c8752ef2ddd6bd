"""A run that is killed again and again ends as one that was never stopped."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import time
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest
import torch
from test_train import QUICK, TINY, metric_lines

from detfinetune.config.load import load_train_config
from detfinetune.engine.train import train

KILLS = 20
STEPS, PERIOD = 120, 2


def train_in_child(arguments: list[str], log: str) -> None:
    # For the loaders: this process's own method would import torch again for each of them.
    multiprocessing.set_start_method("fork", force=True)
    with Path(log).open("a", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    assert train(load_train_config(arguments)).finished


class Killed:
    """Starts and kills processes that train one run."""

    def __init__(self, run: Path, arguments: list[str]) -> None:
        self.run = run
        self.first = [*arguments, f"output_dir={run}"]
        # Imports torch once, and forks for each start.
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["detfinetune.engine.train", "tensorboard"])

    def start(self) -> ForkServerProcess:
        begun = (self.run / "config.yaml").is_file()
        arguments = [f"resume={self.run}"] if begun else self.first
        log = f"{self.run}.log"
        process = self.context.Process(target=train_in_child, args=(arguments, log))
        process.start()
        return process

    def kill(self, process: ForkServerProcess) -> None:
        assert process.is_alive(), Path(f"{self.run}.log").read_text(encoding="utf-8")[-3000:]
        process.kill()
        process.join()

    def saved_at(self) -> float:
        last = self.run / "checkpoints" / "last.pth"
        return last.stat().st_mtime if last.is_file() else 0.0

    def wait_for_save(self, process: ForkServerProcess) -> None:
        before, limit = self.saved_at(), time.monotonic() + 120
        while self.saved_at() == before and process.is_alive() and time.monotonic() < limit:
            time.sleep(0.005)


@pytest.mark.slow  # 21 starts
def test_killed_twenty_times_at_random_moments(toy_dataset: Path, tmp_path: Path) -> None:
    """While it starts, trains, evaluates, saves, and evaluates its best checkpoint at the end."""
    arguments = [
        f"data.root={toy_dataset}", *QUICK, *TINY, f"solver.max_iter={STEPS}",
        "solver.ema_decay=0.9", "evaluation.eval_period=6", f"solver.checkpoint_period={PERIOD}",
        "evaluation.pictures=2", "hardware.num_workers=2",
    ]  # fmt: skip
    whole, run = tmp_path / "whole", tmp_path / "killed"
    start = time.monotonic()
    assert train(load_train_config([*arguments, f"output_dir={whole}"])).finished
    seconds_of_period = (time.monotonic() - start) * PERIOD / STEPS

    chance, killed = random.Random(0), Killed(run, arguments)
    seconds_to_save = 0.0
    for number in range(KILLS - 1):
        start = time.monotonic()
        process = killed.start()
        if number % 4 == 3:
            time.sleep(chance.uniform(0, seconds_to_save))
        else:
            killed.wait_for_save(process)
            seconds_to_save = time.monotonic() - start
            time.sleep(chance.uniform(0, 2 * seconds_of_period))
        killed.kill(process)
    process = killed.start()
    while not finished_steps(run):
        assert process.is_alive()
        killed.wait_for_save(process)
    time.sleep(chance.uniform(0, seconds_of_period))
    killed.kill(process)
    process = killed.start()
    process.join()
    assert process.exitcode == 0, Path(f"{run}.log").read_text(encoding="utf-8")[-3000:]
    check_same(whole, run)


def finished_steps(run: Path) -> bool:
    return bool(stored(run, "last")["iteration"] == STEPS)


def stored(run: Path, name: str) -> Any:
    return torch.load(run / "checkpoints" / f"{name}.pth", weights_only=True)


def check_same(whole: Path, run: Path) -> None:
    """Compare weights, average, optimizer and figures, to the bit."""
    for name in ("last", "best"):
        one, other = stored(whole, name), stored(run, name)
        assert one.pop("config") != other.pop("config")  # output_dir
        assert_equal(one, other)
    for path in ("results.json", "evaluation/val/metrics.json", "evaluation/test/metrics.json"):
        one, other = (json.loads((each / path).read_text("utf-8")) for each in (whole, run))
        for key in ("provenance", "seconds"):
            one.pop(key, None)
            other.pop(key, None)
        assert one == other
    one, other = metric_lines(whole), metric_lines(run)
    assert [line["iteration"] for line in one] == [line["iteration"] for line in other]
    for line, same in zip(one, other, strict=True):
        figures = {name: value for name, value in line.items() if name.startswith("val/")}
        assert figures.items() <= same.items()
    assert not list(run.rglob("*.part"))


def assert_equal(one: Any, other: Any) -> None:
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key, value in one.items():
            assert_equal(value, other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for value, same in zip(one, other, strict=True):
            assert_equal(value, same)
    else:
        assert one == other

"""A time budget becomes a number of steps; the run is then like any other of as many."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from test_train import QUICK, TINY, weights

from detfinetune.config.load import load_train_config
from detfinetune.engine import timing
from detfinetune.engine.train import train
from detfinetune.engine.trainer import Trainer
from detfinetune.errors import ConfigError
from detfinetune.models.rcnn.model import RcnnModel

STEP_S, IMAGE_S, SAVE_S = 5.0, 0.5, 3.0
# 8 images each on val and test; the first steps are timed for at least 5 % of 5 minutes.
TIMING_S = 5 * STEP_S + SAVE_S + 6 * IMAGE_S
EVALUATIONS_S = 4 * (8 * IMAGE_S + SAVE_S) + 8 * IMAGE_S
STEPS = int((300 - TIMING_S - EVALUATIONS_S) / (STEP_S + SAVE_S / 50))


class Clock:
    """Seconds that pass only in what takes time."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def after(self, work: Callable[..., Any], seconds: float) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            self.now += seconds
            return work(*args, **kwargs)

        return timed


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(Trainer, "run_step", clock.after(Trainer.run_step, STEP_S))
    monkeypatch.setattr(RcnnModel, "predict", clock.after(RcnnModel.predict, IMAGE_S))
    monkeypatch.setattr(torch, "save", clock.after(torch.save, SAVE_S))
    monkeypatch.setattr(timing, "monotonic", clock)
    return clock


def test_a_run_keeps_its_time_and_resumes_exactly(
    toy_dataset: Path, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    common = [
        "+experiment=custom", f"data.root={toy_dataset}", *QUICK, *TINY,
        "solver.warmup_iters=null", "evaluation.pictures=0",
    ]  # fmt: skip
    start = clock.now
    whole, broken, same = tmp_path / "whole", tmp_path / "broken", tmp_path / "same"
    result = train(load_train_config([*common, "solver.minutes=5", f"output_dir={whole}"]))
    assert result.iteration == STEPS
    assert clock.now - start == pytest.approx(300, rel=0.05)
    assert "solver.max_iter" in capsys.readouterr().out
    config = yaml.safe_load((whole / "config.yaml").read_text(encoding="utf-8"))
    assert (config["solver"]["max_iter"], config["solver"]["minutes"]) == (STEPS, None)
    assert config["solver"]["warmup_iters"] == STEPS // 10
    assert config["evaluation"]["eval_period"] == -(-STEPS // 4)
    kept = json.loads((whole / "choices.json").read_text(encoding="utf-8"))
    reason = next(choice["reason"] for choice in kept if choice["key"] == "solver.max_iter")
    assert reason.startswith("5 minutes, of which 31 s went into timing; 5 s a step, 32 s for")

    step = Trainer.run_step

    def dies(trainer: Trainer) -> None:
        if trainer.max_iter == STEPS and trainer.iter == 23:
            raise RuntimeError("power cut")
        step(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "run_step", dies)
        with pytest.raises(RuntimeError, match="power cut"):
            train(load_train_config([*common, "solver.minutes=5", f"output_dir={broken}"]))
    monkeypatch.setattr(timing, "steps_within", None)
    assert train(load_train_config([f"resume={broken}"])).iteration == STEPS
    train(load_train_config([*common, f"solver.max_iter={STEPS}", f"output_dir={same}"]))
    one, resumed, given = weights(whole), weights(broken), weights(same)
    assert all(torch.equal(one[name], resumed[name]) for name in one)
    assert all(torch.equal(one[name], given[name]) for name in one)


def test_own_periods_count_and_hardly_any_step_is_refused(
    toy_dataset: Path, tmp_path: Path, clock: Clock
) -> None:
    common = [
        "+experiment=custom", f"data.root={toy_dataset}", *QUICK, *TINY, "evaluation.pictures=0",
        "evaluation.eval_period=4", "evaluation.test_at_end=false", "solver.checkpoint_period=2",
    ]  # fmt: skip
    start = clock.now
    result = train(
        load_train_config([*common, "solver.minutes=3", f"output_dir={tmp_path / 'run'}"])
    )
    once, each = 8 * IMAGE_S + SAVE_S, STEP_S + SAVE_S / 2 + (8 * IMAGE_S + SAVE_S) / 4
    assert result.iteration == int((180 - TIMING_S - once) / each)
    assert clock.now - start == pytest.approx(180, rel=0.1)
    with pytest.raises(ConfigError, match=r"minutes=1 is too short: a step takes 5 s.* least 2\.1"):
        train(load_train_config([*common, "solver.minutes=1", f"output_dir={tmp_path / 'no'}"]))


def test_minutes_and_steps_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="give minutes or max_iter, not both"):
        load_train_config(["solver.minutes=5", "solver.max_iter=100"])

"""Turns a time budget (`solver.minutes`) into a number of steps, before the run begins.

The steps that are timed are thrown away with their model, so the run itself is like any other with
that number of steps: it resumes exactly, and its learning rate depends on the step alone.
"""

from __future__ import annotations

import io
import math
from itertools import islice
from time import monotonic

import torch
from detectron2.engine import HookBase
from detectron2.utils import comm

from detfinetune.config.resolved import RunConfig
from detfinetune.data.loaders import build_test_loader
from detfinetune.data.pipeline import build_test_pipeline
from detfinetune.data.register import register_split
from detfinetune.engine.build import build_loader, build_model, build_trainer
from detfinetune.engine.distributed import any_rank, run_on_main
from detfinetune.engine.hooks.progress import ProgressBar
from detfinetune.engine.hooks.stopping import StopTraining
from detfinetune.engine.trainer import Trainer
from detfinetune.errors import ConfigError
from detfinetune.families import family_of
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.models.detection_model import DetectionModel, PredictOptions
from detfinetune.models.family import BaseWeights

# Of these, the first start the loader's workers and fill caches. Timing ends early, but not before
# the fewest, when it has taken this share of the budget.
_STEPS, _FEWEST, _SHARE = 20, 5, 0.05
_FIRST = 0.25
_BATCHES = 6
_EVALUATIONS = 4
_FEWEST_STEPS = 10


def steps_within(
    minutes: float,
    config: RunConfig,
    dataset: LabelledDataset,
    base: BaseWeights | None,
    device: str,
    *,
    eval_period: int | None,
) -> tuple[int, str]:
    """Return how many steps fit into a time with their evaluations, and the reason.

    All processes must call this, and all get the same number. The time of timing is part of it.

    Args:
        minutes: for training and all evaluations, from now on.
        config: of the run, with any `max_iter`.
        dataset: to train on.
        base: weights to start from.
        device: of this process.
        eval_period: as the user gave it; None: four evaluations in a run.

    Raises:
        ConfigError: hardly any step fits.
    """
    start = monotonic()
    model = build_model(config, dataset.classes, base, device)
    trainer = build_trainer(config, model, build_loader(config, dataset), device)
    step_s = _step_seconds(trainer, _SHARE * 60 * minutes)
    save_s = _save_seconds(model, trainer)
    image_s = _prediction_seconds(model, config, dataset)
    val, test = (
        dataset.tables[split].num_images * image_s if split in dataset.tables else 0.0
        for split in ("val", "test")
    )
    evaluation_s = val * (2 if config.evaluation.loss else 1) + save_s
    # The last evaluation is in any case.
    once_s = evaluation_s + (test if config.evaluation.test_at_end else 0.0)
    per_step_s = step_s + save_s / config.solver.checkpoint_period
    if eval_period is None:
        once_s += (_EVALUATIONS - 1) * evaluation_s
    elif eval_period:
        per_step_s += evaluation_s / eval_period
    spent_s = monotonic() - start
    steps = run_on_main(lambda: int((60 * minutes - spent_s - once_s) / per_step_s))
    if steps < _FEWEST_STEPS:
        needed = (spent_s + once_s + _FEWEST_STEPS * per_step_s) / 60
        raise ConfigError(
            f"solver.minutes={minutes:g} is too short: a step takes {step_s:.2g} s, and the "
            f"evaluations {once_s:.0f} s in all. Give at least {math.ceil(10 * needed) / 10:g}, or "
            "solver.max_iter."
        )
    return steps, (
        f"{minutes:g} minutes, of which {spent_s:.0f} s went into timing; {step_s:.2g} s a step, "
        f"{once_s:.0f} s for evaluations"
    )


class _Stopwatch(HookBase):  # type: ignore[misc]
    """Notes the time after each step, and ends training when that takes too long."""

    def __init__(self, limit_s: float) -> None:
        self._end = monotonic() + limit_s
        self.times: list[float] = []

    def after_step(self) -> None:
        """Note the time."""
        self.times.append(monotonic())
        if any_rank(len(self.times) >= _FEWEST and self.times[-1] > self._end):
            raise StopTraining


def _step_seconds(trainer: Trainer, limit_s: float) -> float:
    """Train a few steps; return the mean time of the later ones."""
    watch = _Stopwatch(limit_s)
    bar = [ProgressBar("timing steps")] if comm.is_main_process() else []
    trainer.register_hooks([*bar, watch])
    try:
        trainer.train(0, _STEPS)
    except StopTraining:
        pass
    finally:
        trainer.close()
    later = watch.times[int(_FIRST * len(watch.times)) :]
    return (later[-1] - later[0]) / (len(later) - 1)


def _save_seconds(model: DetectionModel, trainer: Trainer) -> float:
    start = monotonic()
    state = {"model": model.checkpoint_state(), "optimizer": trainer.optimizer.state_dict()}
    torch.save(state, io.BytesIO())
    return monotonic() - start


def _prediction_seconds(
    model: DetectionModel, config: RunConfig, dataset: LabelledDataset
) -> float:
    """Predict a few images of val or test; return the time of one, all processes at work."""
    split = next((split for split in ("val", "test") if split in dataset.tables), None)
    if split is None:
        return 0.0
    size = family_of(config.model.name).input_spec(config).evaluation_batch
    loader = build_test_loader(
        register_split(dataset, split),
        build_test_pipeline(config, dataset.classes),
        images_per_batch=size,
        num_workers=config.hardware.num_workers,
    )
    model.eval()
    times = []
    with torch.no_grad():
        for _, batch in islice(loader, _BATCHES):
            model.predict(batch, PredictOptions(config.evaluation.detections_per_image))
            times.append(monotonic())
    # The first starts the loader's workers; with a single one, evaluations take no time anyway.
    batches = max(len(times) - 1, 1)
    return (times[-1] - times[0]) / batches / size / comm.get_world_size() if times else 0.0

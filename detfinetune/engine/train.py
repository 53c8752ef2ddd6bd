"""Fine-tune a detector: plan, fit, evaluate the best, say what came of it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

from detectron2.utils import comm

from detfinetune.config.schema import TrainConfig
from detfinetune.console import say, table
from detfinetune.engine.distributed import process_group
from detfinetune.engine.failures import plain_failures
from detfinetune.engine.hooks.stopping import stop_on_signals
from detfinetune.engine.job import TrainingJob
from detfinetune.engine.plan import TrainingPlan, fresh_plan, read_stored, resumed_plan
from detfinetune.engine.run_folder import RunFolder
from detfinetune.evaluation.result import EvaluationResult
from detfinetune.models.checkpoint import BestResult, check_device


@dataclass(frozen=True)
class TrainResult:
    """What came of a training run."""

    run: Path
    finished: bool
    """False when the run was stopped early."""

    iteration: int
    best: BestResult | None
    evaluations: dict[str, EvaluationResult] = field(default_factory=dict)
    """The best checkpoint's, by split; empty on all processes but the main one."""


def train(config: TrainConfig) -> TrainResult:
    """Fine-tune a detector, evaluate its best checkpoint, and draw what it finds.

    Args:
        config: from `config.load_train_config`, or built in Python. Nulls are filled from data
            and hardware; with `resume`, the run's own configuration is used.

    Raises:
        DetFinetuneError: what is wrong, where, and what to do; nothing that was written is lost.
    """
    stored = read_stored(config.resume) if config.resume else None
    hardware = stored.config.hardware if stored else config.hardware
    with process_group(hardware.device) as device:
        check_device(device)
        plan = resumed_plan(config, stored) if stored else fresh_plan(config)
        if plan.start_iter >= plan.max_iter:
            return _already_finished(plan)
        _log_to(plan.run.log_file)
        with plain_failures(plan.run):
            job = TrainingJob(plan, device)
            with stop_on_signals() as stop:
                finished = job.fit(stop)
        with plain_failures(plan.run, after_training=True):
            evaluations = job.evaluate_best() if finished else {}
        if comm.is_main_process():
            _say_end(plan.run, job, finished)
        return TrainResult(
            run=plan.run.path,
            finished=finished,
            iteration=job.trainer.finished_steps,
            best=job.best,
            evaluations=evaluations,
        )


def _log_to(path: Path) -> None:
    """Send what Detectron2 and fvcore log to a file: it is for developers."""
    for name in ("detectron2", "fvcore"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.propagate = False
        for handler in list(logger.handlers):
            logger.removeHandler(handler)
            handler.close()
        if comm.is_main_process():
            handler = logging.FileHandler(path, encoding="utf-8")
            handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(message)s"))
            logger.addHandler(handler)


def _already_finished(plan: TrainingPlan) -> TrainResult:
    say(
        f"{plan.run.path}: this run is finished ({plan.start_iter} of {plan.max_iter} steps). To "
        f"train further: resume={plan.run.path} solver.max_iter={2 * plan.max_iter}. To evaluate "
        f"it: python tools/evaluate.py run={plan.run.path} split={list(plan.dataset.tables)[-1]}"
    )
    best = plan.resume_from.best if plan.resume_from else None
    return TrainResult(plan.run.path, finished=True, iteration=plan.start_iter, best=best)


def _say_end(run: RunFolder, job: TrainingJob, finished: bool) -> None:
    steps, wanted = job.trainer.finished_steps, job.plan.max_iter
    if not finished and steps == wanted:
        say(
            "Stopped after the last step; all is saved, the evaluation at the end is left out. "
            f"Evaluate with:\n  python tools/evaluate.py run={run.path}"
        )
        return
    if not finished:
        say(
            f"Stopped after step {steps} of {wanted}; all is saved. Go on with:\n"
            f"  python tools/train_net.py resume={run.path}"
        )
        return
    rows = [[name, text] for name, text in (
        *([("best checkpoint", run.best_checkpoint)] if run.best_checkpoint.is_file() else []),
        ("last checkpoint", run.last_checkpoint),
        ("pictures", run.path / "pictures"),
        ("curves", f"tensorboard --logdir {run.path / 'tensorboard'}"),
        ("find objects", f"python tools/predict.py run={run.path} input=PICTURES"),
    )]  # fmt: skip
    say(table(rows, headers=("", "")))

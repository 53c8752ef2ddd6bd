"""Fine-tune a detector: plan, train, evaluate the best checkpoint, print the results."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from detectron2.utils import comm

from detfinetune.config.schema import TrainConfig
from detfinetune.console import command_line, say, table
from detfinetune.engine.distributed import process_group, run_on_main
from detfinetune.engine.failures import explain_failures
from detfinetune.engine.hooks.stopping import stop_on_signals
from detfinetune.engine.job import TrainingJob
from detfinetune.engine.plan import (
    TrainingPlan,
    check_same_images,
    plan_new_run,
    plan_resumed_run,
)
from detfinetune.engine.run_folder import RunFolder, locked, read_run_config
from detfinetune.engine.trackers.registry import build_trackers
from detfinetune.engine.trackers.run_trackers import tracked
from detfinetune.evaluation.result import EvaluationResult
from detfinetune.models.checkpoint import (
    BestResult,
    Checkpoint,
    check_device,
    find_checkpoint,
    read_checkpoint,
)


@dataclass(frozen=True)
class TrainResult:
    """The result of a training run."""

    run: Path
    finished: bool
    """False when the run was stopped early."""

    iteration: int
    best: BestResult | None
    evaluations: dict[str, EvaluationResult] = field(default_factory=dict)
    """Of the best checkpoint, by split; without metrics except on the main process."""

    stopped_by: int | None = None
    """Number of the signal that stopped it early."""

    @property
    def path(self) -> Path:
        """Folder of the run."""
        return self.run


def train(config: TrainConfig, like: RunFolder | None = None) -> TrainResult:
    """Fine-tune a detector, evaluate its best checkpoint, and draw its predictions.

    Args:
        config: from `config.load_train_config`, or built in Python. Nulls are filled based on
            data and hardware; with `resume`, the run's own configuration is used.
        like: a run that must have the same images, labels and splits.

    Raises:
        DetFinetuneError: a problem the user can fix; files already written are kept.
    """
    stored, own = _start_of(config)
    trackers = build_trackers(own.trackers)
    with process_group(own.hardware.device) as device, ExitStack() as stack:
        check_device(device)
        if config.resume is not None:
            stack.enter_context(locked(RunFolder(config.resume)))
            plan = plan_resumed_run(config, stored)
        else:
            plan = plan_new_run(config, device)
            stack.enter_context(locked(plan.run))
        if like is not None:
            run_on_main(partial(check_same_images, plan.run, like))
        if not plan.to_train and plan.run.results_file.is_file():
            return _already_finished(plan)
        _log_to(plan.run.log_file)
        finished, stopped_by = True, None
        with tracked(plan, trackers) as run_trackers:
            with explain_failures(plan.run, after_training=not plan.to_train):
                job = TrainingJob(plan, device)
                if plan.to_train:
                    with stop_on_signals() as stop:
                        finished = job.fit(stop, run_trackers.log)
                    stopped_by = None if finished else stop.number
            with explain_failures(plan.run, after_training=True):
                evaluations = job.evaluate_best() if finished else {}
            if comm.is_main_process():
                _print_end(plan.run, job, finished)
            run_trackers.status = "finished" if finished else "stopped"
            if finished:
                run_trackers.keep_results()
        return TrainResult(
            run=plan.run.path,
            finished=finished,
            iteration=job.trainer.finished_steps,
            best=job.best,
            evaluations=evaluations,
            stopped_by=stopped_by,
        )


def _start_of(config: TrainConfig) -> tuple[Checkpoint | None, TrainConfig]:
    """Return the checkpoint that a run resumes from, if there is one, and its configuration."""
    if config.resume is None:
        return None, config
    run = RunFolder(config.resume)
    if run.config_file.is_file() and not (run.path / "checkpoints").is_dir():
        return None, read_run_config(run)
    stored = read_checkpoint(find_checkpoint(config.resume, "last"))
    return stored, stored.config


def _log_to(path: Path) -> None:
    """Send the logs of Detectron2 and fvcore to a file."""
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
    further = f"resume={plan.run.path} solver.max_iter={2 * plan.max_iter}"
    if plan.start_iter < plan.max_iter:
        # It ran out of patience, and would again.
        further = f"a new run from model.weights={plan.run.best_checkpoint}"
    say(
        f"{plan.run.path}: this run is finished ({plan.start_iter} of {plan.max_iter} steps). To "
        f"train longer: {further}. To evaluate "
        f"it: {command_line('evaluate')} run={plan.run.path} split={list(plan.dataset.tables)[-1]}"
    )
    best = plan.resume_from.best if plan.resume_from else None
    return TrainResult(plan.run.path, finished=True, iteration=plan.start_iter, best=best)


def _print_end(run: RunFolder, job: TrainingJob, finished: bool) -> None:
    steps, wanted = job.trainer.finished_steps, job.plan.max_iter
    if not finished and steps == wanted:
        say(
            "Stopped after the last step; the checkpoint is saved, the evaluation is missing. "
            f"Make up for it with:\n  {command_line('train')} resume={run.path}"
        )
        return
    if not finished:
        say(
            f"Stopped after step {steps} of {wanted}; the checkpoint is saved. Resume with:\n"
            f"  {command_line('train')} resume={run.path}"
        )
        return
    curves = run.path / "tensorboard"
    rows = [[name, text] for name, text in (
        *([("best checkpoint", run.best_checkpoint)] if run.best_checkpoint.is_file() else []),
        ("last checkpoint", run.last_checkpoint),
        ("pictures", run.path / "pictures"),
        *([("curves", f"tensorboard --logdir {curves}")] if curves.is_dir() else []),
        ("predict", f"{command_line('predict')} run={run.path} input=IMAGES"),
    )]  # fmt: skip
    say(table(rows, headers=("", "")))

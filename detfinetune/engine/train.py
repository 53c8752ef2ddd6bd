"""Fine-tune a detector: the job from top to bottom."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from detectron2.engine import create_ddp_model, hooks
from detectron2.solver.build import get_default_optimizer_params
from detectron2.utils import comm
from detectron2.utils.events import JSONWriter, TensorboardXWriter
from torch import nn

from detfinetune.config.schema import TrainConfig
from detfinetune.console import say, table
from detfinetune.data.augment import build_augmentations
from detfinetune.data.loaders import (
    build_test_loader,
    build_train_loader,
    mask_format_of,
    seed_everything,
)
from detfinetune.data.mapper import TrainMapper
from detfinetune.data.register import register_split
from detfinetune.engine.distributed import from_main, process_group
from detfinetune.engine.failures import plain_failures
from detfinetune.engine.hooks.checkpoints import SaveLast
from detfinetune.engine.hooks.progress import ProgressBar
from detfinetune.engine.hooks.stopping import (
    StopRequest,
    StopTraining,
    StopWhenAsked,
    stop_on_signals,
)
from detfinetune.engine.plan import TrainingPlan, fresh_plan, resumed_plan
from detfinetune.engine.run_folder import RunFolder, forget_metrics_after
from detfinetune.engine.schedule import learning_rate_factor
from detfinetune.engine.trainer import Trainer
from detfinetune.evaluation.evaluate import FALLBACK_THRESHOLD, evaluate_split
from detfinetune.evaluation.pictures import write_comparison
from detfinetune.evaluation.report import print_result
from detfinetune.evaluation.result import EvaluationResult, write_result
from detfinetune.models.build import build_detector, load_base_weights
from detfinetune.models.checkpoint import (
    BestResult,
    Checkpoint,
    check_device,
    load_weights,
    read_checkpoint,
    write_checkpoint,
)
from detfinetune.models.d2_cfg import build_cfg
from detfinetune.models.settings import model_settings
from detfinetune.models.weights import find_base_weights

T = TypeVar("T")

# Steps between lines of train_metrics.jsonl and points in TensorBoard.
_LOG_PERIOD = 5


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
    with stop_on_signals() as stop, process_group(config.hardware.device) as device:
        check_device(device)
        plan = resumed_plan(config) if config.resume else fresh_plan(config)
        if plan.start_iter >= plan.max_iter:
            return _already_finished(plan)
        _log_to(plan.run.log_file)
        job = _Job(plan, device)
        with plain_failures(plan.run):
            finished = job.fit(stop)
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


class _Job:
    """The parts of one training run, built in the order in which they depend on each other."""

    def __init__(self, plan: TrainingPlan, device: str) -> None:
        self.plan = plan
        self.config = plan.config
        self.device = device
        self.best: BestResult | None = None
        self.best_evaluation: EvaluationResult | None = None
        self.self_checked: set[str] = set()
        self.threshold: float | None = None
        self.progress = ProgressBar()
        self.model, self.input_format = self._build_model()
        self.trainer = self._build_trainer()
        if plan.resume_from is not None:
            self._restore(plan.resume_from)

    def _build_model(self) -> tuple[nn.Module, str]:
        config, classes = self.config, self.plan.manifest.classes
        seed_everything(config.seed)
        cfg = build_cfg(model_settings(config, len(classes), self.device))
        model = build_detector(
            cfg,
            channels_last=config.hardware.channels_last,
            sparse_roi_align=config.hardware.sparse_roi_align,
        )
        if self.plan.resume_from is None:
            weights = from_main(
                partial(find_base_weights, config.model.name, config.model.weights, config.task)
            )
            report = load_base_weights(model, weights)
            if comm.is_main_process():
                say(f"base weights: {weights.description}")
                say(f"  {report.loaded} of {report.total} tensors filled, the rest are new\n")
        return model, str(cfg.INPUT.FORMAT)

    def _build_trainer(self) -> Trainer:
        config, solver = self.config, self.config.solver
        name = register_split(self.plan.manifest, "train")
        mask_format = mask_format_of(name) if config.task == "segm" else None
        mapper = TrainMapper(
            build_augmentations(config.augment),
            self.input_format,
            mask_format,
            config.augment.min_visible,
        )
        batches = build_train_loader(
            name,
            mapper,
            images_per_batch=_known(solver.images_per_batch),
            seed=config.seed,
            start_iter=self.plan.start_iter,
            num_workers=config.hardware.num_workers,
            repeat_threshold=solver.repeat_threshold,
        )
        return Trainer(
            create_ddp_model(self.model, broadcast_buffers=False),
            batches,
            _build_optimizer(self.model, config),
            learning_rate=partial(_learning_rate, config),
            device=self.device,
            precision=config.hardware.precision,
            seed=config.seed,
            clip_norm=solver.clip_norm,
        )

    def _restore(self, stored: Checkpoint) -> None:
        load_weights(self.model, stored, self.plan.run.last_checkpoint)
        if stored.optimizer is not None:
            self.trainer.optimizer.load_state_dict(stored.optimizer)
        if stored.grad_scaler:
            self.trainer.scaler.load_state_dict(stored.grad_scaler)
        self.trainer.finished_steps = stored.iteration
        self.best, self.threshold = stored.best, stored.score_threshold

    def fit(self, stop: StopRequest) -> bool:
        """Train to the end; return False when a stop was asked for."""
        forget_metrics_after(self.plan.run, self.plan.start_iter)
        self.trainer.register_hooks(self._hooks(stop))
        try:
            self.trainer.train(self.plan.start_iter, self.plan.max_iter)
        except StopTraining:
            return False
        return True

    def _hooks(self, stop: StopRequest) -> list[Any]:
        config, run = self.config, self.plan.run
        eval_period = _known(config.evaluation.eval_period)
        steps: list[Any] = [hooks.IterationTimer(warmup_iter=1)]
        if "val" in self.plan.manifest.splits:
            steps.append(hooks.EvalHook(eval_period, self._validate))
        if comm.is_main_process():
            period = _known(config.solver.checkpoint_period)
            writers = [
                JSONWriter(str(run.metrics_file)),
                TensorboardXWriter(str(run.path / "tensorboard")),
            ]
            steps += [
                SaveLast(self._save_last, period, eval_period),
                hooks.PeriodicWriter(writers, period=_LOG_PERIOD),
                self.progress,
            ]
        return [*steps, StopWhenAsked(stop)]

    def _validate(self) -> dict[str, float]:
        """Evaluate on validation during training; keep the best checkpoint."""
        result = self._evaluate("val")
        if not comm.is_main_process() or result.ap is None:
            return {}
        figures = {f"val/{task}/{name}": value for task, metrics in result.metrics.items()
                   for name, value in metrics.figures.items() if value is not None}  # fmt: skip
        metrics = result.metrics[result.task]
        self.progress.latest_ap = f"val AP {result.ap:.1f} AP50 {metrics.figures['AP50'] or 0:.1f}"
        say(f"step {self.trainer.finished_steps}: {self.progress.latest_ap} ({result.task})")
        for message in result.diagnosis:
            say(f"  {message}")
        if self.best is None or result.ap > self.best.value:
            self.best = BestResult(
                f"{result.task}/AP", float(result.ap), self.trainer.finished_steps
            )
            self.best_evaluation = result
            self.threshold = result.score_threshold
            checkpoint = replace(self._checkpoint(), optimizer=None, grad_scaler=None)
            write_checkpoint(self.plan.run.best_checkpoint, checkpoint)
        return figures

    def _evaluate(self, split: str) -> EvaluationResult:
        config, manifest = self.config, self.plan.manifest
        # The ground truth does not change during a run, so it is checked once.
        self_check = split not in self.self_checked
        self.self_checked.add(split)
        name = register_split(manifest, split)
        loader = build_test_loader(
            name,
            _known(config.augment.image_size),
            _known(config.augment.max_size),
            self.input_format,
            config.hardware.num_workers,
        )
        return evaluate_split(
            self.model,
            name,
            loader,
            task=config.task,
            classes=manifest.classes,
            detections_per_image=_known(config.evaluation.detections_per_image),
            output_dir=self.plan.run.evaluation(split),
            provenance=self._provenance(split),
            self_check=self_check,
            progress_description=f"evaluating on {split}",
        )

    def evaluate_best(self) -> dict[str, EvaluationResult]:
        """Report the best checkpoint on validation and test, and draw the worst images."""
        evaluation, manifest = self.config.evaluation, self.plan.manifest
        best = self.plan.run.best_checkpoint
        if best.is_file():
            load_weights(self.model, read_checkpoint(best), best)
        results = {}
        if "val" in manifest.splits:
            results["val"] = self._evaluate_best_on_val()
        if evaluation.test_at_end and "test" in manifest.splits:
            results["test"] = self._evaluate("test")
        if comm.is_main_process() and results:
            for split, result in results.items():
                print_result(result, manifest.classes, title=f"{split}, best checkpoint")
            held_out, result = list(results.items())[-1]
            write_comparison(
                result.dataset_name,
                result.detections,
                self.plan.run.path / "pictures" / f"{held_out}_worst_first.jpg",
                count=evaluation.pictures,
                score_threshold=FALLBACK_THRESHOLD if self.threshold is None else self.threshold,
            )
        return results

    def _evaluate_best_on_val(self) -> EvaluationResult:
        """Return what was found when the best checkpoint was saved, if by this process."""
        known = from_main(lambda: self.best_evaluation is not None)
        if not known:
            return self._evaluate("val")
        result = self.best_evaluation or EvaluationResult(dataset_name="")
        if comm.is_main_process():
            # Later evaluations of this run have overwritten the files.
            write_result(result, self.plan.run.evaluation("val"), self._provenance("val"))
        return result

    def _provenance(self, split: str) -> dict[str, Any]:
        """What evaluation/<split>/metrics.json says of where its figures come from."""
        best = self.best
        return {
            "run": str(self.plan.run.path),
            "split": split,
            "iteration": self.trainer.finished_steps,
            "best": asdict(best) if best else None,
            "data_fingerprint": self.plan.manifest.fingerprint,
        }

    def _checkpoint(self) -> Checkpoint:
        return Checkpoint(
            model=self.model.state_dict(),
            classes=self.plan.manifest.classes,
            config=self.config,
            iteration=self.trainer.finished_steps,
            optimizer=self.trainer.optimizer.state_dict(),
            grad_scaler=self.trainer.scaler.state_dict(),
            best=self.best,
            score_threshold=self.threshold,
            data_fingerprint=self.plan.manifest.fingerprint,
        )

    def _save_last(self) -> None:
        write_checkpoint(self.plan.run.last_checkpoint, self._checkpoint())


def _build_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    solver = config.solver
    rate = _known(solver.base_lr)
    decay = _known(solver.weight_decay)
    # Norms and biases are not decayed: they do not over-fit, and a decayed norm drifts to zero.
    groups = get_default_optimizer_params(
        model, base_lr=rate, weight_decay=decay, weight_decay_norm=0.0, weight_decay_bias=0.0
    )
    if solver.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=rate, weight_decay=decay)
    return torch.optim.SGD(groups, lr=rate, momentum=0.9, weight_decay=decay)


def _learning_rate(config: TrainConfig, iteration: int) -> float:
    solver = config.solver
    factor = learning_rate_factor(
        iteration, _known(solver.max_iter), _known(solver.warmup_iters), solver.decay
    )
    return _known(solver.base_lr) * factor


def _known(value: T | None) -> T:
    """Return a value that the recipe has filled."""
    if value is None:
        raise ValueError("the configuration must be resolved first (engine.recipe)")
    return value


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
        f"it: python tools/evaluate.py run={plan.run.path}"
    )
    best = plan.resume_from.best if plan.resume_from else None
    return TrainResult(plan.run.path, finished=True, iteration=plan.start_iter, best=best)


def _say_end(run: RunFolder, job: _Job, finished: bool) -> None:
    if not finished:
        say(
            f"Stopped after step {job.trainer.finished_steps} of {job.plan.max_iter}; all is "
            f"saved. Go on with:\n  python tools/train_net.py resume={run.path}"
        )
        return
    rows = [[name, text] for name, text in (
        ("best checkpoint", run.best_checkpoint),
        ("last checkpoint", run.last_checkpoint),
        ("pictures", run.path / "pictures"),
        ("curves", f"tensorboard --logdir {run.path / 'tensorboard'}"),
        ("find objects", f"python tools/predict.py run={run.path} input=PICTURES"),
    )]  # fmt: skip
    say(table(rows, headers=("", "")))

"""One training run: its model, trainer, hooks, evaluations and checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, replace
from typing import Any

from detectron2.engine import hooks
from detectron2.utils import comm

from detfinetune.console import say
from detfinetune.data.loaders import build_test_loader
from detfinetune.data.pipeline import build_test_pipeline
from detfinetune.engine.build import build_model, build_trainer
from detfinetune.engine.distributed import any_rank, broadcast_buffers, run_on_main
from detfinetune.engine.ema import AveragedWeights
from detfinetune.engine.hooks.checkpoints import SaveLast
from detfinetune.engine.hooks.progress import ProgressBar
from detfinetune.engine.hooks.stopping import StopOnRequest, StopRequest, StopTraining
from detfinetune.engine.hooks.validation import Validate
from detfinetune.engine.hooks.writing import WriteMetrics
from detfinetune.engine.plan import TrainingPlan
from detfinetune.evaluation.calibrate import fit_calibration
from detfinetune.evaluation.ground_truth import ground_truth
from detfinetune.evaluation.pictures import write_comparison
from detfinetune.evaluation.report import print_result
from detfinetune.evaluation.result import EvaluationResult, write_result
from detfinetune.evaluation.score_split import evaluate_split
from detfinetune.families import family_of
from detfinetune.files import write_json
from detfinetune.models.calibration import UNCALIBRATED, Calibration
from detfinetune.models.checkpoint import (
    FALLBACK_THRESHOLD,
    BestResult,
    Checkpoint,
    load_weights,
    read_checkpoint,
    write_checkpoint,
)
from detfinetune.models.detection_model import DetectionModel

# Steps between lines of train_metrics.jsonl and points in the curves.
_LOG_PERIOD = 5


class TrainingJob:
    """The parts of one training run, built in order of dependency."""

    def __init__(self, plan: TrainingPlan, device: str) -> None:
        self.plan = plan
        self.config = plan.config
        self.device = device
        self.best: BestResult | None = None
        self.best_evaluation: EvaluationResult | None = None
        self.self_checked: set[str] = set()
        self.threshold: float | None = None
        self.calibration = UNCALIBRATED
        self.scored_iteration: int | None = None
        """Steps behind the weights that are evaluated at the end; None during training."""
        self.progress = ProgressBar()
        self.family = family_of(self.config.model.name)
        self.model = self._build_model()
        decay = self.config.solver.ema_decay
        self.averaged = AveragedWeights(self.model, decay) if decay else None
        self.trainer = build_trainer(
            plan.config, plan.dataset, self.model, device,
            start_iter=plan.start_iter, averaged=self.averaged,
        )  # fmt: skip
        if plan.resume_from is not None:
            self._restore(plan.resume_from)

    def _build_model(self) -> DetectionModel:
        plan = self.plan
        model = build_model(plan.config, plan.dataset.classes, plan.base_weights, self.device)
        if comm.is_main_process() and model.notes:
            say("\n".join([*model.notes, ""]))
        return model

    def _restore(self, stored: Checkpoint) -> None:
        load_weights(self.model, stored, self.plan.run.last_checkpoint)
        if stored.optimizer is not None:
            self.trainer.optimizer.load_state_dict(stored.optimizer)
        if stored.grad_scaler:
            self.trainer.scaler.load_state_dict(stored.grad_scaler)
        if self.averaged is not None and stored.ema is not None:
            self.averaged.load(stored.ema)
        self.trainer.finished_steps = stored.iteration
        self.best, self.threshold = stored.best, stored.score_threshold
        self.calibration = stored.calibration

    def fit(self, stop: StopRequest, log: Callable[[Mapping[str, float], int], None]) -> bool:
        """Train; return False if a stop was requested, even during the last step.

        Args:
            stop: asked after each step.
            log: takes metrics by name, and the number of finished steps; in the main process only.
        """
        self.trainer.register_hooks(self._hooks(stop, log))
        try:
            self.trainer.train(self.plan.start_iter, self.plan.max_iter)
        except StopTraining:
            return False
        finally:
            self.trainer.close()
        # The request may have come during the evaluation after the last step.
        return not any_rank(stop.requested)

    def _hooks(
        self, stop: StopRequest, log: Callable[[Mapping[str, float], int], None]
    ) -> list[Any]:
        config = self.config
        eval_period = config.evaluation.eval_period
        steps: list[Any] = [hooks.IterationTimer(warmup_iter=1)]
        if "val" in self.plan.dataset.tables:
            steps.append(Validate(eval_period, self._validate))
        if comm.is_main_process():
            period = config.solver.checkpoint_period
            steps += [
                WriteMetrics(log, _LOG_PERIOD, eval_period),
                SaveLast(self._save_last, period, eval_period),
                self.progress,
            ]
        return [*steps, StopOnRequest(stop)]

    def _validate(self) -> dict[str, float]:
        """Evaluate on the validation split; save the checkpoint if it is the best so far."""
        result = self._evaluate("val")
        if not comm.is_main_process():
            return {}
        if result.ap is None:
            for message in result.diagnosis:
                say(f"step {self.trainer.finished_steps}: {message}")
            return {}
        figures = {f"val/{task}/{name}": value for task, metrics in result.metrics.items()
                   for name, value in metrics.figures.items() if value is not None}  # fmt: skip
        figures |= {f"val/{name}": value for name, value in result.losses.items()}
        metrics = result.metrics[result.task]
        self.progress.latest_ap = f"val AP {result.ap:.1f} AP50 {metrics.figures['AP50'] or 0:.1f}"
        say(f"step {self.trainer.finished_steps}: {self.progress.latest_ap} ({result.task})")
        for message in result.diagnosis:
            say(f"  {message}")
        if self.best is None or result.ap > self.best.value:
            self.best = BestResult(
                f"{result.task}/AP", float(result.ap), self.trainer.finished_steps
            )
            self.calibration = fit_calibration(metrics.matches)
            self.best_evaluation = result.calibrated(self.calibration)
            self.threshold = self.best_evaluation.score_threshold
            checkpoint = replace(
                self._checkpoint(), optimizer=None, grad_scaler=None, ema=None,
                model=self.averaged.state if self.averaged else self.model.checkpoint_state(),
            )  # fmt: skip
            write_checkpoint(self.plan.run.best_checkpoint, checkpoint)
        return figures

    def _evaluate(self, split: str, calibration: Calibration = UNCALIBRATED) -> EvaluationResult:
        config, dataset = self.config, self.plan.dataset
        # The ground truth does not change during a run: check it once.
        self_check = split not in self.self_checked
        self.self_checked.add(split)
        truth = ground_truth(dataset, split)
        labels = config.evaluation.loss
        loader = build_test_loader(
            truth.name,
            build_test_pipeline(config, dataset.classes, labels=labels),
            images_per_batch=self.family.input_spec(config).evaluation_batch,
            num_workers=config.hardware.num_workers,
            labels=labels,
        )
        # The best checkpoint has the averaged weights already.
        average = self.averaged if self.scored_iteration is None else None
        with average.applied() if average else nullcontext():
            broadcast_buffers(self.model)
            return evaluate_split(
                self.model,
                truth,
                loader,
                task=config.task,
                classes=dataset.classes,
                detections_per_image=config.evaluation.detections_per_image,
                score_threshold=None if split == "val" else self.threshold,
                calibration=calibration,
                output_dir=self.plan.run.evaluation(split),
                provenance=self._provenance(split),
                self_check=self_check,
                losses=labels,
                progress_description=f"evaluating on {split}",
            )

    def evaluate_best(self) -> dict[str, EvaluationResult]:
        """Evaluate the best checkpoint on validation and test, and draw the worst images."""
        evaluation, dataset = self.config.evaluation, self.plan.dataset
        best = self.plan.run.best_checkpoint
        if best.is_file():
            stored = read_checkpoint(best)
            load_weights(self.model, stored, best)
            self.scored_iteration = stored.iteration
        results = {}
        if "val" in dataset.tables:
            results["val"] = self._evaluate_best_on_val()
        if evaluation.test_at_end and "test" in dataset.tables:
            results["test"] = self._evaluate("test", self.calibration)
        if comm.is_main_process() and results:
            which = "best" if best.is_file() else "last"
            for split, result in results.items():
                print_result(result, dataset.classes, title=f"{split}, {which} checkpoint")
            held_out, result = list(results.items())[-1]
            write_comparison(
                ground_truth(dataset, held_out),
                result.detections,
                self.plan.run.path / "pictures" / f"{held_out}_worst_first.jpg",
                count=evaluation.pictures,
                score_threshold=FALLBACK_THRESHOLD if self.threshold is None else self.threshold,
            )
        if comm.is_main_process():
            figures = {
                split: {task: metrics.figures for task, metrics in result.metrics.items()}
                for split, result in results.items()
            }
            content = {"checkpoint": "best" if best.is_file() else "last", **figures}
            write_json(self.plan.run.results_file, content)
        return results

    def _evaluate_best_on_val(self) -> EvaluationResult:
        """Return the result of the best checkpoint; after a resume, evaluate it again."""
        known = run_on_main(lambda: self.best_evaluation is not None)
        if not known:
            return self._evaluate("val", self.calibration)
        result = self.best_evaluation or EvaluationResult(dataset_name="")
        if comm.is_main_process():
            # Later evaluations of this run overwrote the files.
            write_result(result, self.plan.run.evaluation("val"), self._provenance("val"))
        return result

    def _provenance(self, split: str) -> dict[str, Any]:
        """Return the origin of the metrics, for evaluation/<split>/metrics.json."""
        best = self.best
        return {
            "run": str(self.plan.run.path),
            "split": split,
            "iteration": self.scored_iteration or self.trainer.finished_steps,
            "best": asdict(best) if best else None,
            "data_fingerprint": self.plan.dataset.fingerprint,
            "labels": self.plan.dataset.ledger.split(split).to_json(),
        }

    def _checkpoint(self) -> Checkpoint:
        return Checkpoint(
            model=self.model.checkpoint_state(),
            classes=self.plan.dataset.classes,
            config=self.config,
            iteration=self.trainer.finished_steps,
            optimizer=self.trainer.optimizer.state_dict(),
            grad_scaler=self.trainer.scaler.state_dict(),
            ema=self.averaged.state if self.averaged else None,
            best=self.best,
            score_threshold=self.threshold,
            calibration=self.calibration,
            data_fingerprint=self.plan.dataset.fingerprint,
        )

    def _save_last(self) -> None:
        write_checkpoint(self.plan.run.last_checkpoint, self._checkpoint())

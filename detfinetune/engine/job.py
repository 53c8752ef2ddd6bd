"""One training run: its model, trainer, hooks, evaluations and checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from detectron2.engine import hooks
from detectron2.utils import comm

from detfinetune.console import NO_ROOM, busy, say, warn
from detfinetune.data.loaders import build_test_loader
from detfinetune.data.pipeline import build_test_pipeline
from detfinetune.data.register import split_table
from detfinetune.engine.build import build_loader, build_model, build_trainer
from detfinetune.engine.distributed import any_rank, broadcast_buffers, run_on_main
from detfinetune.engine.ema import AveragedWeights
from detfinetune.engine.failed_batch import describe, keep_failed_batch
from detfinetune.engine.hooks.checkpoints import SaveCheckpoints
from detfinetune.engine.hooks.progress import ProgressBar
from detfinetune.engine.hooks.stopping import (
    EndTraining,
    StopOnRequest,
    StopRequest,
    StopTraining,
    StopWithoutProgress,
)
from detfinetune.engine.hooks.validation import Validate
from detfinetune.engine.hooks.writing import WriteMetrics
from detfinetune.engine.plan import TrainingPlan, out_of_patience
from detfinetune.errors import TrainingError
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
    Setbacks,
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
        self.evaluated = 0
        """Steps before the last evaluation on val."""
        self.best: BestResult | None = None
        """The one whose weights are in best.pth."""
        self.new_best: Checkpoint | None = None
        """A better one that is not written yet."""
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
        self.loader = build_loader(self.config, plan.dataset)
        self.trainer = build_trainer(
            self.config, self.model, self.loader, device,
            averaged=self.averaged, keep_batch=self._keep_batch,
        )  # fmt: skip
        if plan.resume_from is not None:
            self._restore(plan.resume_from)

    def _build_model(self) -> DetectionModel:
        plan = self.plan
        with busy("building the model"):
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
        self.evaluated = stored.evaluated
        self.best, self.threshold = stored.best, stored.score_threshold
        self.calibration = stored.calibration
        self.trainer.skipped_steps = stored.setbacks.skipped_steps
        self.trainer.accumulate = stored.setbacks.accumulate or self.trainer.accumulate
        root = self._image_root()
        self.loader.unreadable = {str(root / name) for name in stored.setbacks.unreadable}

    def fit(self, stop: StopRequest, log: Callable[[Mapping[str, float], int], None]) -> bool:
        """Train; return False if a stop was requested, even during the last step.

        Args:
            stop: asked after each step.
            log: takes metrics by name, and the number of finished steps; in the main process only.
        """
        self.trainer.register_hooks(self._hooks(stop, log))
        try:
            self.trainer.train(self.plan.start_iter, self.plan.max_iter)
        except EndTraining:
            pass
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
                SaveCheckpoints(self._save, period, eval_period),
                self.progress,
            ]
        if config.solver.patience and eval_period:
            steps.append(StopWithoutProgress(eval_period, self._hopeless))
        return [*steps, StopOnRequest(stop)]

    def _validate(self) -> dict[str, float]:
        """Evaluate on the validation split; remember the weights if they are the best so far."""
        result = self._evaluate("val")
        self.evaluated = self.trainer.finished_steps
        if not comm.is_main_process():
            return {}
        try:
            self._write(result, "val")
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            warn(f"step {self.trainer.finished_steps}: the results on val are not written: {error}")
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
        best = self._best_so_far()
        if best is None or result.ap > best.value:
            calibration = fit_calibration(metrics.matches)
            self.best_evaluation = result.calibrated(calibration)
            self.new_best = replace(
                self._checkpoint(), optimizer=None, grad_scaler=None, ema=None,
                model=self.averaged.state if self.averaged else self.model.checkpoint_state(),
                best=BestResult(
                    f"{result.task}/AP", float(result.ap), self.trainer.finished_steps
                ),
                score_threshold=self.best_evaluation.score_threshold,
                calibration=calibration,
            )  # fmt: skip
        return figures

    def _best_so_far(self) -> BestResult | None:
        return (self.new_best or self).best

    def _hopeless(self) -> bool:
        """Whether AP has not risen for too long; says so."""
        patience, done = self.config.solver.patience, self.trainer.finished_steps
        if not out_of_patience(self.config, self._best_so_far(), done):
            return False
        say(f"step {done}: no better AP in {patience} evaluations (solver.patience): the run ends")
        return True

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
        wanted = {"val": True, "test": evaluation.test_at_end}
        results = {}
        for split in (split for split in wanted if wanted[split] and split in dataset.tables):
            known = split == "val" and run_on_main(lambda: self.best_evaluation is not None)
            again = None if known else self._evaluate(split, self.calibration)
            results[split] = again or self.best_evaluation or EvaluationResult(dataset_name="")
            if comm.is_main_process():
                # Later evaluations of this run overwrote the files of the best one on val.
                self._write(results[split], split)
        if comm.is_main_process() and results:
            which = "best" if best.is_file() else "last"
            for split, result in results.items():
                print_result(result, dataset.classes, title=f"{split}, {which} checkpoint")
            held_out, result = list(results.items())[-1]
            with busy("drawing pictures"):
                write_comparison(
                    ground_truth(dataset, held_out),
                    result.detections,
                    self.plan.run.path / "pictures" / f"{held_out}_worst_first.jpg",
                    count=evaluation.pictures,
                    score_threshold=(
                        FALLBACK_THRESHOLD if self.threshold is None else self.threshold
                    ),
                )
        if comm.is_main_process():
            figures = {
                split: {task: metrics.figures for task, metrics in result.metrics.items()}
                for split, result in results.items()
            }
            content = {"checkpoint": "best" if best.is_file() else "last", **figures}
            write_json(self.plan.run.results_file, content)
        return results

    def _write(self, result: EvaluationResult, split: str) -> None:
        write_result(result, self.plan.run.evaluation(split), self._provenance(split))

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
            evaluated=self.evaluated,
            score_threshold=self.threshold,
            calibration=self.calibration,
            data_fingerprint=self.plan.dataset.fingerprint,
            setbacks=Setbacks(
                self.trainer.skipped_steps,
                self.trainer.accumulate,
                tuple(sorted(self._relative(file) for file in self.loader.unreadable)),
            ),
        )

    def _image_root(self) -> Path:
        return split_table(self.plan.dataset, "train").image_root.resolve()

    def _relative(self, file: str) -> str:
        return Path(file).relative_to(self._image_root()).as_posix()

    def _save(self) -> None:
        """Write best.pth, if there is a better one, then last.pth, which tells of it.

        Raises:
            TrainingError: the disk is full; what was to be written is kept for the next time.
        """
        run = self.plan.run
        if self.new_best is not None:
            try:
                write_checkpoint(run.best_checkpoint, self.new_best)
            except TrainingError:
                # Later steps change the tensors of the model.
                model = {name: value.clone() for name, value in self.new_best.model.items()}
                self.new_best = replace(self.new_best, model=model)
                raise
            self.best, self.threshold = self.new_best.best, self.new_best.score_threshold
            self.calibration = self.new_best.calibration
            self.new_best = None
        write_checkpoint(run.last_checkpoint, self._checkpoint())

    def _keep_batch(self, step: int) -> str:
        """Keep the images of a step in the run folder; return what to tell the user about them."""
        folder, rank = self.plan.run.failed_batches, comm.get_rank()
        name = f"step_{step}_process_{rank}" if rank else f"step_{step}"
        images = [(self._relative(file), sample) for file, sample in self.loader.samples(step - 1)]
        text = "".join(f"\n  {describe(file, sample)}" for file, sample in images)
        color = self.family.input_spec(self.config).color
        try:
            keep_failed_batch(folder, name, images, self.plan.dataset.classes, color)
        except OSError as error:
            warn(f"{folder}: cannot be written: {error}")
        return "".join([f"\nIts images, kept in {folder}:", *comm.all_gather(text)])

"""The training step, on Detectron2's `TrainerBase`."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Generator
from contextlib import nullcontext
from typing import Protocol

import torch
from detectron2.engine import TrainerBase
from detectron2.utils import comm
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from detfinetune.console import warn
from detfinetune.data.loaders import seed_everything
from detfinetune.engine.distributed import parallel_model
from detfinetune.engine.ema import AveragedWeights
from detfinetune.engine.failures import memory_error
from detfinetune.errors import DivergedError
from detfinetune.models.detection_model import DetectionModel
from detfinetune.models.family import Batch

MAX_SKIPPED = 3
"""Steps of a run that may be skipped because something in them is not finite."""

# Of the learning rate, at each skipped step.
_LOWER = 1 / 3
# Low enough for any model here: the highest learning rate that is advised.
_MAX_ADVISED_RATE = 1e-3
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Batches(Protocol):
    """What a trainer takes its batches from."""

    images_per_process: int
    """Of a step, in all its parts."""

    def batches(self, start_iter: int, accumulate: int) -> Generator[Batch, None, None]:
        """Yield the batches from step `start_iter` on, `accumulate` for each step, endless."""


class _MemoryFullError(Exception):
    """Memory is full, which every process knows; holds the error to end with."""


class Trainer(TrainerBase):  # type: ignore[misc]
    """Forward, backward and step, with random numbers that depend only on (seed, step).

    A step in which something is not finite is skipped, and the learning rate is lower from there
    on. A step that does not fit into memory is repeated in smaller parts, as are all after it.
    """

    def __init__(
        self,
        model: DetectionModel,
        loader: Batches,
        optimizer: torch.optim.Optimizer,
        *,
        learning_rate: Callable[[int], float],
        device: str,
        precision: str,
        seed: int,
        clip_norm: float,
        accumulate: int = 1,
        averaged: AveragedWeights | None = None,
        keep_batch: Callable[[int], str] | None = None,
    ) -> None:
        """Initialize the loop.

        Args:
            model: what to train; wrapped in a `DistributedDataParallel` for several processes.
            loader: gives the batches from any step on.
            optimizer: its groups' `lr` is set before each step, times their `lr_factor`.
            learning_rate: from the number of finished steps.
            device: torch device of the model.
            precision: fp32, bf16 or fp16 (autocast).
            seed: of the model's random numbers, such as those of RoI sampling.
            clip_norm: maximum total gradient norm; 0 disables clipping.
            accumulate: batches of a step, whose gradients are added up.
            averaged: moving average of the model, updated after each step.
            keep_batch: keeps the images of a step for the user, and returns a text about them.
        """
        super().__init__()
        model.train()
        self._detector = model
        self.model = parallel_model(model)
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.device_type = torch.device(device).type
        self.dtype = _DTYPES.get(precision)
        self.seed = seed
        self.clip_norm = clip_norm
        self.accumulate = accumulate
        self.averaged = averaged
        self.scaler = torch.amp.GradScaler(self.device_type, enabled=precision == "fp16")
        self.finished_steps = 0
        self.skipped_steps = 0
        # False while a step changes the weights: an interruption leaves them half updated.
        self.weights_consistent = True
        self.diverged = False
        self._keep_batch = keep_batch
        self._loader = loader
        self._batches: Generator[Batch, None, None] | None = None

    def run_step(self) -> None:
        """Train on one batch, or skip it if something is not finite.

        Raises:
            DivergedError: too many steps were skipped; the weights are those before this one.
            Exception: memory is full, and the batch cannot be divided further.
        """
        rate = self.learning_rate(self.iter) * _LOWER**self.skipped_steps
        for group in self.optimizer.param_groups:
            # Checkpoints of older versions have groups without a factor.
            group["lr"] = rate * group.get("lr_factor", 1.0)
        before = self._running_statistics()
        not_finite = None
        try:
            losses = self._fitting_gradients(before)
            self._clip()
        except FloatingPointError as error:
            not_finite = str(error)
        if not_finite is None:
            self._record(losses, rate)
            self._update_weights()
        else:
            self._undo(before)
            self._skip(not_finite, rate)
        self.finished_steps = self.iter + 1

    def _update_weights(self) -> None:
        self.weights_consistent = False
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.averaged is not None:
            self.averaged.update(self.iter + 1)
        self.weights_consistent = True

    def _fitting_gradients(self, before: dict[str, Tensor]) -> list[dict[str, float]]:
        """Compute the gradients of a step in as many parts as memory demands.

        Returns:
            The losses of each process.
        """
        while True:
            if self._batches is None:
                self._batches = self._loader.batches(self.iter, self.accumulate)
            batches = [next(self._batches) for _ in range(self.accumulate)]
            self.optimizer.zero_grad()
            try:
                return self._gradients(batches)
            except _MemoryFullError as error:
                more_parts = self._more_parts()
                if more_parts is None:
                    raise error.args[0] from None
            self._undo(before)
            self._divide(more_parts)

    def _more_parts(self) -> int | None:
        """Return the next larger number of parts that a step can be divided into."""
        images = self._loader.images_per_process
        larger = range(self.accumulate + 1, images + 1)
        return next((parts for parts in larger if images % parts == 0), None)

    def _divide(self, parts: int) -> None:
        if comm.is_main_process():
            warn(
                f"step {self.iter + 1}: memory is full. From this step on each batch is divided "
                f"into {parts} parts, one after the other, as with solver.accumulate={parts}."
            )
        self.close()
        self.accumulate = parts

    def _gradients(self, batches: list[Batch]) -> list[dict[str, float]]:
        """Add up the gradients of the batches of a step, and return each process's mean losses.

        Raises:
            FloatingPointError: a loss or prediction is not finite, in any process.
            _MemoryFullError: memory is full, in any process.
            Exception: memory is full in this process, while others wait for its gradients.
        """
        means: list[dict[str, float]] = [{} for _ in range(comm.get_world_size())]
        for part, batch in enumerate(batches):
            # Gradients are exchanged between processes once a step.
            last = part == self.accumulate - 1
            parallel = self.model if isinstance(self.model, DistributedDataParallel) else None
            with nullcontext() if last or parallel is None else parallel.no_sync():
                total, values = self._agreed_loss(batch, part)
                self._backward(total)
            for mean, losses in zip(means, values, strict=True):
                for name, loss in losses.items():
                    mean[name] = mean.get(name, 0.0) + loss / self.accumulate
        return means

    def _agreed_loss(self, batch: Batch, part: int) -> tuple[Tensor, list[dict[str, float]]]:
        """Return the loss of one of the parts of a step, and all losses of each process.

        Every process must know of a failure in any, or it would wait for its gradients forever.
        """
        seed_everything(self.seed, self.iter, comm.get_rank(), part)
        failure: Exception | None = None
        losses: dict[str, Tensor] = {}
        total = torch.zeros(())
        try:
            with torch.autocast(self.device_type, self.dtype, enabled=self.dtype is not None):
                losses = self.model(batch)
                total = torch.stack(list(losses.values())).sum() / self.accumulate
        except FloatingPointError:
            # Raised by Detectron2's RPN.
            failure = FloatingPointError("the predicted boxes")
        except Exception as error:
            failure = _memory_full(error)
        values = {name: float(loss.detach()) for name, loss in losses.items()}
        if broken := [name for name, value in values.items() if not math.isfinite(value)]:
            failure = FloatingPointError(", ".join(broken))
        gathered = comm.all_gather((failure, values))
        for failure, _ in gathered:
            if failure is not None:
                raise failure
        return total, [values for _, values in gathered]

    def _backward(self, total: Tensor) -> None:
        try:
            self.scaler.scale(total).backward()  # type: ignore[no-untyped-call]
        except Exception as error:
            if comm.get_world_size() > 1:
                # The others wait for its gradients, and cannot repeat the step.
                raise
            failure = _memory_full(error)
        else:
            return
        raise failure

    def _running_statistics(self) -> dict[str, Tensor]:
        """Return copies of what a forward pass changes: all of a checkpoint but the weights."""
        weights = {parameter.data_ptr() for parameter in self._detector.parameters()}
        return {
            name: value.clone()
            for name, value in self._detector.checkpoint_state().items()
            if value.data_ptr() not in weights
        }

    def _undo(self, statistics: dict[str, Tensor]) -> None:
        """Leave nothing of an attempt. No error may be handled: its traceback holds its memory."""
        self.optimizer.zero_grad()
        # A wrapper whose forward pass ended without a backward pass, in some processes, would mix
        # up the next ones; the collector removes its hooks.
        self.model = self._detector
        gc.collect()
        self.model = parallel_model(self._detector)
        state = self._detector.checkpoint_state()
        self._detector.load_checkpoint_state({**state, **statistics})
        if self.device_type == "cuda":
            torch.cuda.empty_cache()

    def _skip(self, what: str, rate: float) -> None:
        """Report a step that was not taken; later ones have a lower rate.

        Raises:
            DivergedError: there were too many.
        """
        self.skipped_steps += 1
        kept = self._keep_batch(self.iter + 1) if self._keep_batch else ""
        found = f"step {self.iter + 1}: not finite: {what}."
        if self.skipped_steps > MAX_SKIPPED:
            self.diverged = True
            lower = f"solver.base_lr={min(rate / 3, _MAX_ADVISED_RATE):.1g}"
            if self.dtype is not None:
                lower += " or hardware.precision=fp32"
            raise DivergedError(
                f"{found} {MAX_SKIPPED} steps were skipped before. The learning rate is "
                f"{rate:.2g}. Rerun with {lower}.{kept}"
            )
        if comm.is_main_process():
            warn(
                f"{found} The step is skipped, and the learning rate is a third from here on "
                f"({self.skipped_steps} of {MAX_SKIPPED} times before the run ends).{kept}"
            )

    def close(self) -> None:
        """Stop the data loader's workers."""
        if self._batches is not None:
            # An error's traceback can keep the iterator alive, and with it the workers.
            self._batches.close()
        self._batches = None

    def after_train(self) -> None:
        """Finish every hook, so that a failing hook does not keep others from saving files.

        Raises:
            Exception: the first raised by a hook.
        """
        self.storage.iter = self.iter
        failures = []
        for hook in self._hooks:
            try:
                hook.after_train()
            except Exception as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def _record(self, losses: list[dict[str, float]], rate: float) -> None:
        """Log the means over the processes."""
        if comm.is_main_process():
            means = {name: sum(part[name] for part in losses) / len(losses) for name in losses[0]}
            self.storage.put_scalars(total_loss=sum(means.values()), **means)
            self.storage.put_scalar("lr", rate, smoothing_hint=False)

    def _clip(self) -> None:
        self.scaler.unscale_(self.optimizer)
        parameters = [item for group in self.optimizer.param_groups for item in group["params"]]
        limit = self.clip_norm or math.inf
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, limit))
        # fp16's scaler skips a step whose gradients overflow and halves the scale. A scale below 1
        # means that this has not helped.
        skipped = self.scaler.is_enabled() and self.scaler.get_scale() >= 1
        if not math.isfinite(norm) and not skipped:
            self.scaler.update()
            raise FloatingPointError("the gradients")


def _memory_full(error: Exception) -> _MemoryFullError:
    """Return what to tell the other processes of an error without its traceback.

    Raises:
        Exception: the error, if it is another one.
    """
    plain = memory_error(error)
    if plain is None:
        raise error
    return _MemoryFullError(plain)

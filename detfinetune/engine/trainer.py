"""The training step, on Detectron2's `TrainerBase`."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import nullcontext

import torch
from detectron2.engine import TrainerBase
from detectron2.utils import comm
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from detfinetune.data.loaders import seed_everything
from detfinetune.engine.ema import AveragedWeights
from detfinetune.errors import DivergedError
from detfinetune.models.family import Batch

# Low enough for any model here: the highest learning rate that is advised.
_MAX_ADVISED_RATE = 1e-3
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Trainer(TrainerBase):  # type: ignore[misc]
    """Forward, backward and step, with random numbers that depend only on (seed, step)."""

    def __init__(
        self,
        model: nn.Module,
        batches: Iterable[Batch],
        optimizer: torch.optim.Optimizer,
        *,
        learning_rate: Callable[[int], float],
        device: str,
        precision: str,
        seed: int,
        clip_norm: float,
        accumulate: int = 1,
        averaged: AveragedWeights | None = None,
    ) -> None:
        """Initialize the loop.

        Args:
            model: a `DetectionModel`, or one in a `DistributedDataParallel`.
            batches: endless, from the first step of this run; each step takes `accumulate`.
            optimizer: its groups' `lr` is set before each step, times their `lr_factor`.
            learning_rate: from the number of finished steps.
            device: torch device of the model.
            precision: fp32, bf16 or fp16 (autocast).
            seed: of the model's random numbers, such as those of RoI sampling.
            clip_norm: maximum total gradient norm; 0 disables clipping.
            accumulate: batches of a step, whose gradients are added up.
            averaged: moving average of the model, updated after each step.
        """
        super().__init__()
        model.train()
        self.model = model
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
        # False while a step changes the weights: an interruption leaves them half updated.
        self.weights_consistent = True
        self.diverged = False
        self._batches = batches
        self._iterator: Iterator[Batch] | None = None

    def run_step(self) -> None:
        """Train on one batch.

        Raises:
            DivergedError: a loss, gradient or prediction is not finite; the weights are still
                those of the previous step.
        """
        if self._iterator is None:
            self._iterator = iter(self._batches)
        batches = [next(self._iterator) for _ in range(self.accumulate)]
        rate = self.learning_rate(self.iter)
        for group in self.optimizer.param_groups:
            # Checkpoints of older versions have groups without a factor.
            group["lr"] = rate * group.get("lr_factor", 1.0)
        self.optimizer.zero_grad()
        self._record(self._backward(batches), rate)
        self.scaler.unscale_(self.optimizer)
        self._clip()
        self.weights_consistent = False
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.averaged is not None:
            self.averaged.update(self.iter + 1)
        self.finished_steps = self.iter + 1
        self.weights_consistent = True

    def _backward(self, batches: list[Batch]) -> dict[str, float]:
        """Add up the gradients of the batches of a step, and return the means of their losses."""
        means: dict[str, float] = {}
        for part, batch in enumerate(batches):
            seed_everything(self.seed, self.iter, comm.get_rank(), part)
            last = part == self.accumulate - 1
            # Gradients are exchanged between processes once a step.
            parallel = self.model if isinstance(self.model, DistributedDataParallel) else None
            with nullcontext() if last or parallel is None else parallel.no_sync():
                with torch.autocast(self.device_type, self.dtype, enabled=self.dtype is not None):
                    losses = self._losses(batch)
                    total = torch.stack(list(losses.values())).sum() / self.accumulate
                for name, loss in losses.items():
                    means[name] = means.get(name, 0.0) + float(loss.detach()) / self.accumulate
                self.scaler.scale(total).backward()  # type: ignore[no-untyped-call]
        return means

    def close(self) -> None:
        """Stop the data loader's workers."""
        if isinstance(self._iterator, Generator):
            # An error's traceback can keep the iterator alive, and with it the workers.
            self._iterator.close()
        self._iterator = None

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

    def _losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        try:
            losses: dict[str, torch.Tensor] = self.model(batch)
        except FloatingPointError as error:
            # Raised by Detectron2's RPN.
            raise self._not_finite("the predicted boxes") from error
        return losses

    def _record(self, values: dict[str, float], rate: float) -> None:
        # Every process must know of a non-finite loss in any, or it would wait forever.
        gathered = comm.all_gather(values)
        broken = [
            name for name in values if not all(math.isfinite(part[name]) for part in gathered)
        ]
        if broken:
            raise self._not_finite(", ".join(broken))
        if comm.is_main_process():
            means = {name: sum(part[name] for part in gathered) / len(gathered) for name in values}
            self.storage.put_scalars(total_loss=sum(means.values()), **means)
            self.storage.put_scalar("lr", rate, smoothing_hint=False)

    def _clip(self) -> None:
        parameters = [item for group in self.optimizer.param_groups for item in group["params"]]
        limit = self.clip_norm or math.inf
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, limit))
        # fp16's scaler skips a step whose gradients overflow and halves the scale. A scale below 1
        # means that this has not helped.
        skipped = self.scaler.is_enabled() and self.scaler.get_scale() >= 1
        if not math.isfinite(norm) and not skipped:
            raise self._not_finite("the gradients")

    def _not_finite(self, what: str) -> DivergedError:
        self.diverged = True
        rate = self.learning_rate(self.iter)
        lower = f"solver.base_lr={min(rate / 3, _MAX_ADVISED_RATE):.1g}"
        if self.dtype is not None:
            lower += " or hardware.precision=fp32"
        return DivergedError(
            f"step {self.iter + 1}: not finite: {what}. The learning rate is {rate:.2g}. Rerun "
            f"with {lower}."
        )

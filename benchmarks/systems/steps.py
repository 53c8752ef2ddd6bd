"""Seconds of a training step on generated images: our trainer and Detectron2's, in turns.

Both have the same architecture, images and number format. Loading of data is not part of it.
"""

from __future__ import annotations

import gc
import itertools
import statistics
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.engine import AMPTrainer, SimpleTrainer, TrainerBase
from detectron2.solver import build_optimizer as build_stock_optimizer
from detectron2.utils.events import EventStorage
from torch import nn

from detfinetune.config.resolved import RunSolver
from detfinetune.config.schema import Precision, Task
from detfinetune.data.sample import Sample
from detfinetune.engine.optimizer import build_optimizer
from detfinetune.engine.trainer import Trainer
from detfinetune.models.rcnn.backbones.depthwise import use_fp32_depthwise
from detfinetune.models.rcnn.build import build_detector, load_base_weights
from detfinetune.models.rcnn.d2_cfg import ModelSettings, build_cfg
from detfinetune.models.rcnn.model import RcnnModel
from detfinetune.models.rcnn.pack import pack
from detfinetune.models.rcnn.weights import find_base_weights
from detfinetune.models.rcnn.zoo import PACKAGED_MODEL
from systems.stock_detectron2 import build_stock

SIDES = ("stock", "ours")
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
_CLASSES = tuple(f"class {number}" for number in range(80))
_OBJECTS = 10
_RATE = 1e-5


@dataclass(frozen=True)
class Case:
    """What both sides train."""

    name: str
    model: str
    precision: Precision
    batch: int
    size: tuple[int, int]
    """Height and width of the images, pixels."""

    task: Task = "bbox"


@dataclass(frozen=True)
class Measured:
    """Times and memory of one side."""

    seconds: list[float]
    """Of each step."""

    peak_bytes: int
    """On a GPU; 0 on a CPU."""

    @property
    def median(self) -> float:
        """Seconds of a step."""
        return statistics.median(self.seconds)


@contextmanager
def trainer_of(side: str, case: Case, device: str) -> Iterator[TrainerBase]:
    """Yield the trainer of a side, ready for `run_step`."""
    settings = ModelSettings(case.model, case.task, len(_CLASSES), image_size=min(case.size),
                             max_size=max(case.size))  # fmt: skip
    cfg = build_cfg(settings).clone()
    cfg.defrost()
    cfg.MODEL.DEVICE = device
    cfg.SOLVER.BASE_LR = _RATE
    torch.manual_seed(0)
    batch = generated_batch(case)
    if side == "ours":
        trainer = _ours(cfg, case, device, _SameBatch(batch))
    else:
        trainer = _stock(cfg, case, device, itertools.repeat(batch))
    with EventStorage() as trainer.storage:
        trainer.iter = 0
        yield trainer


@dataclass
class _SameBatch:
    """The same batch in each step, as `Trainer` takes batches."""

    batch: list[dict[str, Any]]

    @property
    def images_per_process(self) -> int:
        return len(self.batch)

    def batches(self, start_iter: int, accumulate: int) -> Generator[Any, None, None]:
        while True:
            yield self.batch


def _ours(cfg: CfgNode, case: Case, device: str, loader: _SameBatch) -> TrainerBase:
    model = build_detector(cfg, channels_last=True, sparse_roi_align=device == "cpu")
    if (device, case.precision) == ("cpu", "bf16"):
        use_fp32_depthwise(model)
    _load(model, case)
    detector = RcnnModel(model, _CLASSES).to(device)
    kind = "adamw" if case.model == PACKAGED_MODEL else "sgd"
    solver = RunSolver.model_construct(optimizer=kind, base_lr=_RATE, weight_decay=1e-4)
    return Trainer(
        detector, loader, build_optimizer(detector, solver), learning_rate=lambda _: _RATE,
        device=device, precision=case.precision, seed=0, clip_norm=solver.clip_norm,
    )  # fmt: skip


def _stock(cfg: CfgNode, case: Case, device: str, batches: Iterator[Any]) -> TrainerBase:
    model = build_stock(cfg)
    _load(model, case)
    parts = (model, batches, build_stock_optimizer(cfg, model))
    dtype = _DTYPES.get(case.precision)
    if dtype is None:
        return SimpleTrainer(*parts)
    if device == "cpu":
        return _AutocastTrainer(*parts)
    scaler = torch.amp.GradScaler(device, enabled=dtype == torch.float16)
    return AMPTrainer(*parts, grad_scaler=scaler, precision=dtype)


class _AutocastTrainer(SimpleTrainer):  # type: ignore[misc]
    """Detectron2's AMP is for CUDA only; this is what its users do on a CPU."""

    def run_step(self) -> None:
        """Train on a batch in bf16."""
        with torch.autocast("cpu", torch.bfloat16):
            super().run_step()


def _load(model: nn.Module, case: Case) -> None:
    """Give the backbone ImageNet's weights, or keep random ones from growing through the blocks."""
    if case.model == PACKAGED_MODEL:
        load_base_weights(model, find_base_weights(case.model, "auto", case.task))
    for name, buffer in model.named_buffers():
        if name.endswith("conv3.norm.weight"):
            buffer.fill_(0.2)


def generated_batch(case: Case) -> list[dict[str, Any]]:
    """Return noise with objects at random places, the same for both sides."""
    generator = np.random.default_rng(0)
    height, width = case.size
    samples = []
    for number in range(case.batch):
        corners = generator.uniform(0, 0.7, (_OBJECTS, 2)) * (width, height)
        sides = generator.uniform(0.05, 0.3, (_OBJECTS, 2)) * (width, height)
        boxes = np.concatenate([corners, corners + sides], axis=1)
        outlines = [[box[[0, 1, 2, 1, 2, 3, 0, 3]]] for box in boxes]
        image = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
        samples.append(
            Sample(image, boxes, generator.integers(0, len(_CLASSES), _OBJECTS),
                   outlines if case.task == "segm" else None, height, width, number)
        )  # fmt: skip
    batch: list[dict[str, Any]] = pack(samples)
    return batch


def measure(side: str, case: Case, device: str, steps: int, warm_up: int) -> Measured:
    """Train so many steps after some that are not counted."""
    with trainer_of(side, case, device) as trainer:
        for _ in range(warm_up):
            timed_step(trainer, device)
        if device != "cpu":
            torch.cuda.reset_peak_memory_stats()
        seconds = [timed_step(trainer, device) for _ in range(steps)]
        peak = 0 if device == "cpu" else torch.cuda.max_memory_allocated()
    del trainer
    gc.collect()
    if device != "cpu":
        torch.cuda.empty_cache()
    return Measured(seconds, peak)


def timed_step(trainer: TrainerBase, device: str) -> float:
    """Return the seconds of one step, until the device has finished it."""
    start = time.perf_counter()
    trainer.run_step()
    if device != "cpu":
        torch.cuda.synchronize()
    trainer.iter += 1
    trainer.storage.step()
    return time.perf_counter() - start


def take_turns(
    cases: list[Case], device: str, steps: int, rounds: int, warm_up: int = 3
) -> Iterator[list[object]]:
    """Measure the sides one after the other, and again; yield a row of `HEADERS` for each."""
    for case in cases:
        found: dict[str, list[Measured]] = {side: [] for side in SIDES}
        for _ in range(rounds):
            for side in SIDES:
                found[side].append(measure(side, case, device, steps, warm_up))
        for side, parts in found.items():
            medians = [part.median for part in parts]
            median = statistics.median(second for part in parts for second in part.seconds)
            yield [case.name, case.precision, side, median, min(medians), max(medians),
                   case.batch / median, max(part.peak_bytes for part in parts) / 2**30]  # fmt: skip


HEADERS = ["case", "precision", "side", "s/step", "least", "most", "images/s", "peak GiB"]
"""The step is the median of all steps; least and most are the medians of the rounds."""

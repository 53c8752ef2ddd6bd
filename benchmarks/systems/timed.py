"""Training on a budget of seconds: the clock stands still during evaluations."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from detfinetune.config.load import load_train_config
from detfinetune.config.resolved import RunConfig
from detfinetune.engine.recipe import resolve_recipe
from detfinetune.evaluation.metrics import Detection, score_detections
from detfinetune.labels.dataset.statistics import DatasetStatistics
from detfinetune.labels.read import read_dataset
from systems import Point


@dataclass(frozen=True)
class Data:
    """A conversion to COCO JSON, and what our recipe chooses for it."""

    folder: Path
    config: RunConfig

    @property
    def classes(self) -> list[str]:
        """Class names in the order of category ids, which are 1, 2, ..."""
        return list(self._manifest["classes"])

    @property
    def _manifest(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder / "dataset.json").read_text("utf-8"))
        return content

    @property
    def text(self) -> str:
        """What all systems share."""
        augment, solver = self.config.augment, self.config.solver
        return (
            f"{self.config.model.name}; shorter side {augment.image_size} px, longer side at most "
            f"{augment.max_size} px (ours trains on crops of {augment.crop_size}; 0: none); "
            f"{solver.images_per_batch} images a step; at most "
            f"{self.config.evaluation.detections_per_image} detections"
        )

    def split(self, name: str) -> tuple[Path, str]:
        """Return the COCO JSON of a split, and the folder of its images."""
        return self.folder / f"{name}.json", self._manifest["splits"][name]["image_root"]


def load_data(folder: Path) -> Data:
    """Return a converted data set with the configuration that `detfinetune train` resolves."""
    config = load_train_config([f"data.root={folder}", "hardware=cpu"])
    dataset = read_dataset(config.data)
    train = dataset.tables["train"]
    assert train.category_ids(dataset.num_classes) == [*range(1, dataset.num_classes + 1)]
    return Data(folder, resolve_recipe(config, DatasetStatistics(train, dataset.num_classes))[0])


@dataclass(frozen=True)
class System:
    """A model in training."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    step: Callable[[], None]
    """Loads a batch and trains on it."""

    rate: Callable[[int, float], float]
    """Learning rate from the number of finished steps and the share of the budget that is spent."""

    detect: Callable[[], list[Detection]]
    """Returns the detections on val; called in eval mode without gradients."""


def seed_all(seed: int) -> None:
    """Seed Python, numpy and torch."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def train_on_budget(system: System, data: Data, seconds: float, evaluations: int) -> list[Point]:
    """Train for so many seconds; evaluate as often, after equal parts of them.

    A training that diverges scores 0 from there on.
    """
    points: list[Point] = []
    spent, steps, diverged = 0.0, 0, False
    while len(points) < evaluations:
        for group in system.optimizer.param_groups:
            group["lr"] = system.rate(steps, spent / seconds)
        start = time.perf_counter()
        try:
            system.step()
        except FloatingPointError as error:
            print(f"diverged after {steps} steps: {error}", flush=True)
            diverged = True
        spent, steps = spent + time.perf_counter() - start, steps + 1
        due = seconds * (len(points) + 1) / evaluations
        if diverged:
            points.append(Point(due, steps, 0.0, 0.0))
        elif spent >= due:
            system.model.eval()
            with torch.no_grad():
                detections = system.detect()
            system.model.train()
            points.append(Point(spent, steps, *val_figures(data, detections)))
            print(f"{spent:.0f} s, step {steps}: AP {points[-1].AP:.1f}", flush=True)
    return points


def val_figures(data: Data, detections: list[Detection]) -> tuple[float, float]:
    """Return AP and AP50 of detections on val."""
    truth = json.loads(data.split("val")[0].read_text("utf-8"))
    limit = data.config.evaluation.detections_per_image
    figures = score_detections(truth, detections, "bbox", limit).figures
    return figures["AP"] or 0.0, figures["AP50"] or 0.0


def warm_up(progress: float) -> float:
    """Return the factor of a linear warm-up from 0.001, as Detectron2 and torchvision have it."""
    return 1.0 if progress >= 1 else 0.001 + 0.999 * progress

"""Batches of a run's training loader."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.structures import Instances
from PIL import Image
from run_configs import run_config

from detfinetune.config.schema import DataConfig
from detfinetune.data.loaders import TrainLoader
from detfinetune.data.pipeline import build_train_pipeline
from detfinetune.data.register import register_split
from detfinetune.labels.prepare import prepare_dataset

MAX_ITER = 10
Batches = list[list[dict[str, Any]]]


def train_batches(folder: Path, first: int, workers: int = 0, **augment: Any) -> Batches:
    """Return the batches of a run of `MAX_ITER` steps on masks, from a step to the last."""
    dataset = prepare_dataset(DataConfig(root=folder))
    config = run_config(
        task="segm", model={"name": "timm/test_efficientnet", "weights": "random"},
        augment={"image_size": 96, **augment},
        solver={"max_iter": MAX_ITER, "images_per_batch": 4},
    )  # fmt: skip
    loader = TrainLoader(
        register_split(dataset, "train"),
        build_train_pipeline(config, dataset.classes),
        images_per_batch=4,
        seed=7,
        num_workers=workers,
    )
    return list(itertools.islice(loader.batches(first), MAX_ITER - first))


def same(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> bool:
    """Return whether two batches are equal, to the bit."""
    return all(
        torch.equal(a["image"], b["image"])
        and torch.equal(a["instances"].gt_boxes.tensor, b["instances"].gt_boxes.tensor)
        and torch.equal(a["instances"].gt_classes, b["instances"].gt_classes)
        and torch.equal(_masks(a["instances"]), _masks(b["instances"]))
        for a, b in zip(one, other, strict=True)
    )


def _masks(instances: Instances) -> torch.Tensor:
    """Return masks of any kind as the head is trained on them; (n, 14, 14)."""
    if not len(instances):
        return torch.zeros(0, 14, 14)
    return torch.as_tensor(instances.gt_masks.crop_and_resize(instances.gt_boxes.tensor, 14))


def grey_copies(folder: Path, target: Path) -> tuple[Path, Path]:
    """Write a data set in grey, with 8 bits and with 16, of which 900 is black and 51900 white."""
    copies = target / "grey", target / "deep"
    for copy in copies:
        shutil.copytree(folder, copy)
    for image in sorted(folder.glob("images/*/*.png")):
        grey = np.asarray(Image.open(image).convert("L"))
        for copy, values in zip(copies, (grey, grey.astype(np.uint16) * 200 + 900), strict=True):
            Image.fromarray(values).save(copy / image.relative_to(folder))
    return copies

"""Configurations of quick runs on a tiny Florence-2."""

from __future__ import annotations

from pathlib import Path

from bright_shapes import CLASSES, SIDE
from label_tables import statistics_of
from run_configs import run_config

from detfinetune.config.load import load_train_config
from detfinetune.config.resolved import RunConfig
from detfinetune.engine.recipe import resolve_recipe
from detfinetune.models.checkpoint import Checkpoint, write_checkpoint
from detfinetune.models.rcnn.build import build_model

STATISTICS = statistics_of([[(0, 13, 13)], *7 * [3 * [(0, 19, 19)]]], (64, 64))


def settings(base: Path, *overrides: str) -> list[str]:
    """Return the settings of a quick run."""
    return [
        "+experiment=florence2_lora", f"model.weights={base}", "hardware=cpu",
        "hardware.num_workers=0", "augment=none", f"augment.image_size={SIDE}",
        "solver.images_per_batch=8", "solver.warmup_iters=10", *overrides,
    ]  # fmt: skip


def resolved(base: Path, *overrides: str) -> RunConfig:
    """Return the configuration of a quick run, without nulls."""
    config, _ = resolve_recipe(load_train_config(settings(base, *overrides)), STATISTICS)
    return config


def write_rcnn_checkpoint(path: Path) -> Path:
    """Write a checkpoint of an R-CNN with random weights."""
    config = run_config(model={"name": "efficientnet_lite0_fpn", "weights": "random"})
    state = build_model(config, CLASSES, None).checkpoint_state()
    write_checkpoint(path, Checkpoint(state, CLASSES, config, 1))
    return path

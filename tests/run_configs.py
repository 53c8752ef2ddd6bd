"""Configurations of runs, in which nothing is left to choose."""

from __future__ import annotations

from typing import Any

from detfinetune.config.resolved import RunConfig
from detfinetune.config.schema import TrainConfig
from detfinetune.engine.recipe import resolve_recipe
from detfinetune.labels.dataset.statistics import DatasetStatistics

STATISTICS = DatasetStatistics(
    num_images=24, median_side=96.0, object_sizes=(0.2, 0.25, 0.3), objects_per_image=(3,)
)


def run_config(**values: Any) -> RunConfig:
    """Return a configuration; what `values` leave open is chosen for a few small images."""
    return resolve_recipe(TrainConfig.model_validate(values), STATISTICS)[0]

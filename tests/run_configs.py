"""Configurations of runs, in which nothing is left to choose."""

from __future__ import annotations

from typing import Any

from label_tables import statistics_of

from detfinetune.config.resolved import RunConfig
from detfinetune.config.schema import TrainConfig
from detfinetune.engine.recipe import resolve_recipe

STATISTICS = statistics_of(24 * [[(0, 19, 19), (0, 24, 24), (0, 29, 29)]], (96, 96))


def run_config(**values: Any) -> RunConfig:
    """Return a configuration; what `values` leave open is chosen for a few small images."""
    return resolve_recipe(TrainConfig.model_validate(values), STATISTICS)[0]

"""From a record to a batch, in three steps: load, augment, pack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from detfinetune.config.resolved import RunConfig
from detfinetune.data.albumentations import build_albumentations
from detfinetune.data.augment import Augment, BatchDraws, build_augmentations, build_resize
from detfinetune.data.load import LoadSample
from detfinetune.data.sample import Sample
from detfinetune.families import family_of
from detfinetune.models.family import Packer


@dataclass(frozen=True)
class Pipeline:
    """The three steps. Each can be replaced by another of its kind."""

    load: Callable[[dict[str, Any]], Sample]
    augment: Augment
    pack: Packer

    def sample(self, record: dict[str, Any], batch_draws: BatchDraws = None) -> Sample:
        """Return the augmented sample of a record."""
        return self.augment(self.load(record), batch_draws)


def build_train_pipeline(config: RunConfig, classes: tuple[str, ...]) -> Pipeline:
    """Return the steps of a run's training images."""
    family = family_of(config.model.name)
    spec = family.input_spec(config)
    return Pipeline(
        LoadSample(spec.color, config.task == "segm", config.augment.window),
        Augment(
            build_augmentations(config.augment, spec),
            config.augment.min_visible,
            build_albumentations(config, spec),
        ),
        family.packer(config, classes),
    )


def build_test_pipeline(
    config: RunConfig,
    classes: tuple[str, ...],
    *,
    labels: bool = False,
    data_classes: Sequence[str] | None = None,
) -> Pipeline:
    """Return the steps of images that are only resized.

    Args:
        config: of the run.
        classes: names by class id of the model.
        labels: whether to compute losses on them.
        data_classes: the same names by class id of the data; None: in the same order.
    """
    family = family_of(config.model.name)
    spec = family.input_spec(config)
    masks = labels and config.task == "segm"
    class_ids = None if data_classes is None else np.array([*map(classes.index, data_classes)])
    return Pipeline(
        LoadSample(spec.color, masks, config.augment.window, class_ids),
        Augment([build_resize(config.augment, spec)]),
        family.packer(config, classes),
    )

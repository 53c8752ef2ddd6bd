"""From a record to a batch, in three steps: load, augment, pack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from detfinetune.config.resolved import RunConfig
from detfinetune.data.augment import Augment, build_augmentations, build_resize
from detfinetune.data.load import LoadSample
from detfinetune.data.sample import Sample
from detfinetune.families import family_of
from detfinetune.models.family import Packer


@dataclass(frozen=True)
class Pipeline:
    """The three steps. Each can be replaced by another of its kind."""

    load: Callable[[dict[str, Any]], Sample]
    augment: Callable[[Sample], Sample]
    pack: Packer

    def sample(self, record: dict[str, Any]) -> Sample:
        """Return the augmented sample of a record."""
        return self.augment(self.load(record))


def build_train_pipeline(config: RunConfig, classes: tuple[str, ...]) -> Pipeline:
    """Return the steps of a run's training images."""
    family = family_of(config.model.name)
    spec = family.input_spec(config)
    return Pipeline(
        LoadSample(spec.color, config.task == "segm", config.augment.window),
        Augment(build_augmentations(config.augment, spec), config.augment.min_visible),
        family.packer(config, classes),
    )


def build_test_pipeline(
    config: RunConfig, classes: tuple[str, ...], *, labels: bool = False
) -> Pipeline:
    """Return the steps of images that are only resized; `labels`: to compute losses on them."""
    family = family_of(config.model.name)
    spec = family.input_spec(config)
    return Pipeline(
        LoadSample(spec.color, labels and config.task == "segm", config.augment.window),
        Augment([build_resize(config.augment, spec)]),
        family.packer(config, classes),
    )

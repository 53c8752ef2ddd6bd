"""The family of Detectron2's models: Faster, Mask and Cascade R-CNN, and RetinaNet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detfinetune.config.anchors import (
    DEFAULT_ANCHOR_SIZES,
    anchor_size_problems,
    anchors_per_level,
)
from detfinetune.config.resolved import RunConfig
from detfinetune.config.schema import Task
from detfinetune.errors import ConfigError
from detfinetune.models.choices import Choices
from detfinetune.models.family import BaseWeights, InputSpec, ModelFamily, Packer
from detfinetune.models.rcnn.settings import RcnnSettings
from detfinetune.models.rcnn.zoo import is_own_name

if TYPE_CHECKING:
    from detfinetune.checks.anchor_fit import AnchorSettings
    from detfinetune.labels.dataset.statistics import DatasetStatistics
    from detfinetune.models.detection_model import DetectionModel


class RcnnFamily(ModelFamily):
    """A zoo entry of Detectron2, or Faster or Mask R-CNN on a timm backbone.

    What needs torch is imported inside the methods.
    """

    name = "rcnn"
    tasks = frozenset[Task]({"bbox", "segm"})
    Settings = RcnnSettings

    def accepts(self, model_name: str) -> bool:
        """Return whether it is `auto`, a zoo entry, or a timm backbone."""
        return is_own_name(model_name)

    def recipe(self, choices: Choices, statistics: DatasetStatistics) -> None:
        """Choose model, freezing, sizes, anchors, optimizer and rates."""
        from detfinetune.models.rcnn.recipe import choose

        choose(choices, statistics)

    def check(self, config: RunConfig, num_classes: int) -> None:
        """Find mistakes in anchors and in raw keys of Detectron2."""
        from detfinetune.models.rcnn.d2_cfg import build_cfg, model_settings

        build_cfg(model_settings(config, num_classes))

    def step_memory(self, config: RunConfig, num_classes: int) -> int | None:
        """Estimate it from models that were measured."""
        from detfinetune.models.rcnn.memory import estimate_memory

        return estimate_memory(config)

    def input_spec(self, config: RunConfig) -> InputSpec:
        """Return the channel order of the model's pretraining."""
        from detfinetune.models.rcnn.d2_cfg import build_cfg, model_settings

        return InputSpec(color=build_cfg(model_settings(config, num_classes=1)).INPUT.FORMAT)

    def anchors(self, config: RunConfig) -> AnchorSettings:
        """Return the anchors of each feature level."""
        from detfinetune.checks.anchor_fit import AnchorSettings
        from detfinetune.models.rcnn.d2_cfg import anchor_strides, model_settings

        settings = model_settings(config, num_classes=1)
        sizes, strides = settings.anchor_sizes, anchor_strides(settings.name)
        if problems := anchor_size_problems(settings.name, sizes, strides):
            raise ConfigError.from_problems(problems)
        return AnchorSettings(
            settings.image_size,
            settings.max_size,
            anchors_per_level(settings.name, sizes or DEFAULT_ANCHOR_SIZES[: len(strides)]),
            settings.anchor_ratios,
            strides,
        )

    def base_weights(self, config: RunConfig) -> BaseWeights:
        """Find the weights of the zoo, of timm, of the package, or a file."""
        from detfinetune.models.rcnn.weights import find_base_weights

        return find_base_weights(config.model.name, config.model.weights, config.task)

    def packer(self, config: RunConfig, classes: tuple[str, ...]) -> Packer:
        """Return what makes Detectron2's input dicts."""
        from detfinetune.models.rcnn.pack import pack

        return pack

    def build(
        self, config: RunConfig, classes: tuple[str, ...], base: BaseWeights | None
    ) -> DetectionModel:
        """Build the model and load base weights of the same shape."""
        from detfinetune.models.rcnn.build import build_model

        return build_model(config, classes, base)


FAMILY = RcnnFamily()

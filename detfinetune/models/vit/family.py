"""The family of detectors on transformer features."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from detfinetune.config.resolved import RunConfig
from detfinetune.config.schema import Task
from detfinetune.errors import ConfigError, MissingExtraError
from detfinetune.models.choices import Choices
from detfinetune.models.family import BaseWeights, InputSpec, ModelFamily, Packer
from detfinetune.models.vit.names import backbone_kind, is_own_name
from detfinetune.models.vit.settings import VitSettings

if TYPE_CHECKING:
    from detfinetune.checks.anchor_fit import AnchorSettings
    from detfinetune.labels.dataset.statistics import DatasetStatistics
    from detfinetune.models.detection_model import DetectionModel

_LIBRARY = {"dit_diffusion": "diffusers", "dit_document": "transformers"}


class VitFamily(ModelFamily):
    """RetinaNet, Faster or Mask R-CNN on a DiT or on a plain vision transformer.

    What needs torch is imported inside the methods.
    """

    name = "vit"
    names = tuple(_LIBRARY)
    extra = "dit"
    tasks = frozenset[Task]({"bbox", "segm"})
    Settings = VitSettings

    def accepts(self, model_name: str) -> bool:
        """Return whether it is `dit_diffusion`, `dit_document` or `vit/<timm's name>`."""
        return is_own_name(model_name)

    def require_extra(self, model_name: str) -> None:
        """Check that diffusers or transformers is installed; models of timm need neither.

        Raises:
            MissingExtraError: it is not.
        """
        library = _LIBRARY.get(backbone_kind(model_name))
        if library is not None and find_spec(library) is None:
            raise MissingExtraError(self.extra, f"model.name={model_name}")

    def recipe(self, choices: Choices, statistics: DatasetStatistics) -> None:
        """Choose features, head, sizes, anchors and rates."""
        from detfinetune.models.vit.recipe import choose

        choose(choices, statistics)

    def check(self, config: RunConfig, num_classes: int) -> None:
        """Find keys that do not go together, and a model that is too large for the device."""
        from detfinetune.models.vit.checks import check_settings
        from detfinetune.models.vit.memory import check_memory

        check_settings(config)
        check_memory(config, num_classes)

    def step_memory(self, config: RunConfig, num_classes: int) -> int | None:
        """Estimate it by counting layers; None for keys that do not go together."""
        from detfinetune.models.vit.checks import check_settings
        from detfinetune.models.vit.memory import estimate_memory

        try:
            check_settings(config)
        except ConfigError:
            return None
        return estimate_memory(config, num_classes).total

    def input_spec(self, config: RunConfig) -> InputSpec:
        """Return the channel order of pretraining."""
        return InputSpec(color="RGB")

    def anchors(self, config: RunConfig) -> AnchorSettings:
        """Return the anchors of each level of the pyramid."""
        from detfinetune.checks.anchor_fit import AnchorSettings
        from detfinetune.models.vit.anchors import head_anchors, head_ratios, head_strides
        from detfinetune.models.vit.checks import check_settings

        settings = check_settings(config)
        return AnchorSettings(
            config.augment.image_size,
            config.augment.max_size,
            head_anchors(settings),
            head_ratios(settings),
            head_strides(settings),
        )

    def base_weights(self, config: RunConfig) -> BaseWeights:
        """Find a folder, a file, or the weights of a hub."""
        from detfinetune.models.vit.checks import check_settings
        from detfinetune.models.vit.sources import find_base_weights

        return find_base_weights(check_settings(config))

    def packer(self, config: RunConfig, classes: tuple[str, ...]) -> Packer:
        """Return what makes Detectron2's input dicts."""
        from detfinetune.models.rcnn.pack import pack

        return pack

    def build(
        self, config: RunConfig, classes: tuple[str, ...], base: BaseWeights | None
    ) -> DetectionModel:
        """Build the model and load base weights."""
        from detfinetune.models.vit.build import build_model

        return build_model(config, classes, base)


FAMILY = VitFamily()

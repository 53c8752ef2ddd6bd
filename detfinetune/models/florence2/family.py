"""The family of Florence-2, which writes boxes as text (arXiv:2311.06242)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from detfinetune.config.resolved import RunConfig
from detfinetune.config.schema import ModelConfig, Task
from detfinetune.errors import ConfigError
from detfinetune.models.abilities import Asked
from detfinetune.models.choices import Choices
from detfinetune.models.family import BaseWeights, InputSpec, ModelFamily, Packer
from detfinetune.models.florence2.settings import Florence2Settings
from detfinetune.models.florence2.tasks import TASKS

if TYPE_CHECKING:
    from detfinetune.labels.dataset.statistics import DatasetStatistics
    from detfinetune.models.detection_model import DetectionModel

_NAMES = ("florence2", "florence2_large")
_PUBLISHED = "florence-community/Florence-2-"
# A patch has 32 px; 31 x 31 patches and the prompt fit the encoder's 1,024 positions.
_LARGEST_SIDE = 992


class Florence2Family(ModelFamily):
    """Florence-2 base and large, by name or from a folder in the format of `transformers`.

    What needs torch is imported inside the methods.
    """

    name = "florence2"
    names = _NAMES
    extra = "florence"
    requires = ("transformers", "peft")
    tasks = frozenset[Task]({"bbox"})
    Settings = Florence2Settings
    prompt_tasks = TASKS

    def accepts(self, model_name: str) -> bool:
        """Return whether it is `florence2`, `florence2_large`, or a published name."""
        return model_name in _NAMES or model_name.startswith(_PUBLISHED)

    def recipe(self, choices: Choices, statistics: DatasetStatistics) -> None:
        """Choose image size, adapters, batch, rate and its decay."""
        from detfinetune.models.florence2.recipe import choose

        choose(choices, statistics)

    def check(self, config: RunConfig, num_classes: int) -> None:
        """Find images that are too large, and keys of Detectron2, which has no part in it."""
        problems = [
            f"detectron2.{key}: {config.model.name} is no model of Detectron2. Remove it."
            for key in config.detectron2
        ]
        if config.solver.layer_decay < 1:
            problems.append("solver.layer_decay has no effect on Florence-2. Remove it.")
        if config.augment.image_size > _LARGEST_SIDE:
            problems.append(
                f"augment.image_size={config.augment.image_size}: {config.model.name} takes at "
                f"most {_LARGEST_SIDE} px; it was pretrained with 768."
            )
        if problems:
            raise ConfigError.from_problems(problems)

    def input_spec(self, config: RunConfig) -> InputSpec:
        """Return that images are squares."""
        return InputSpec(color="RGB", resize="square", evaluation_batch=8)

    def base_weights(self, config: RunConfig) -> BaseWeights:
        """Find the published weights, or those in a folder."""
        from detfinetune.models.florence2.weights import find_base_weights

        return find_base_weights(config.model)

    def packer(self, config: RunConfig, classes: tuple[str, ...]) -> Packer:
        """Return what makes pixels and answers."""
        from detfinetune.models.florence2.pack import build_packer

        return build_packer(config, classes)

    def build(
        self, config: RunConfig, classes: tuple[str, ...], base: BaseWeights | None
    ) -> DetectionModel:
        """Load the base weights, which a checkpoint does not have, and add adapters."""
        from detfinetune.models.florence2.build import build_model

        return build_model(config, classes, base)

    def ask_base(self, settings: ModelConfig, device: str, task: str, text: str) -> Asked:
        """Load the published weights, or those in a folder, and return them with a prompt."""
        from detfinetune.models.florence2.ask import ask_base

        return ask_base(settings, device, TASKS[task], text)

    def ask_trained(self, model: DetectionModel, config: RunConfig, task: str, text: str) -> Asked:
        """Return a trained model with a prompt."""
        from detfinetune.models.florence2.ask import ask_trained

        return ask_trained(model.get_submodule("network"), config, TASKS[task], text)

    def write_merged(self, model: DetectionModel, config: RunConfig, folder: Path) -> None:
        """Write a folder that `transformers` loads."""
        from detfinetune.models.florence2.merge import write_merged

        write_merged(model.get_submodule("network"), config, folder)


FAMILY = Florence2Family()

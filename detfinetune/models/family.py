"""What a detector family is: the contract between the engine and the models.

A family imports without torch. The detectors it builds are `models.detection_model`s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from detfinetune.config.resolved import RunConfig
from detfinetune.config.schema import ModelConfig, Precision, Task
from detfinetune.errors import MissingExtraError
from detfinetune.models.choices import Choices

if TYPE_CHECKING:
    from detfinetune.checks.anchor_fit import AnchorSettings
    from detfinetune.data.sample import Sample
    from detfinetune.labels.dataset.statistics import DatasetStatistics
    from detfinetune.models.detection_model import DetectionModel

Batch = Any
"""What a family's packer makes of samples and its detectors take; on the CPU."""

Packer = Callable[[list["Sample"]], Batch]
"""Turns samples into a batch; runs in the loader's workers, so it can be pickled."""


@dataclass(frozen=True)
class InputSpec:
    """What images a detector wants."""

    color: Literal["RGB", "BGR"] = "RGB"
    resize: Literal["shortest_edge", "square"] = "shortest_edge"
    """shortest_edge: to `augment.image_size`, within `augment.max_size`; square: both sides to
    `augment.image_size`, whatever the ratio."""

    evaluation_batch: int = 1
    """Images predicted at once."""


@dataclass(frozen=True)
class BaseWeights:
    """Weights from which training starts."""

    description: str
    """For the user: name and source."""

    path: Path | None = None
    """File or folder; None where a library keeps them."""

    sha256: str | None = None
    licence: str | None = None
    """Shown once where it restricts use."""


class ModelFamily(Protocol):
    """A family of detectors. Subclasses inherit the defaults that are given here."""

    name: str
    names: tuple[str, ...] = ()
    """Model names to suggest for one that nobody knows."""

    extra: str | None = None
    """The pip extra that it needs."""

    requires: tuple[str, ...] = ()
    """Modules of that extra, whose presence is checked before anything starts."""

    tasks: frozenset[Task]
    precisions: frozenset[Precision] = frozenset({"fp32", "bf16", "fp16"})
    Settings: type[ModelConfig]
    """Its part of `model.*`."""

    def accepts(self, model_name: str) -> bool:
        """Return whether `model.name` belongs to this family."""

    def require_extra(self, model_name: str) -> None:
        """Check that the packages are installed that its models need.

        Raises:
            MissingExtraError: they are not.
        """
        if self.extra and any(find_spec(module) is None for module in self.requires):
            raise MissingExtraError(self.extra, f"model.name={model_name}")

    def recipe(self, choices: Choices, statistics: DatasetStatistics) -> None:
        """Choose what is best for its models; the engine fills what is left with general rules.

        Raises:
            ModelError: `model.name` is unknown.
        """

    def check(self, config: RunConfig, num_classes: int) -> None:
        """Find mistakes in a configuration before anything is written.

        Raises:
            ConfigError: lists them.
        """

    def step_memory(self, config: RunConfig, num_classes: int) -> int | None:
        """Estimate the bytes that a training step needs on the device; None if unknown."""
        return None

    def input_spec(self, config: RunConfig) -> InputSpec:
        """Return what images its detectors want."""
        return InputSpec()

    def anchors(self, config: RunConfig) -> AnchorSettings | None:
        """Return the anchors that labels are checked against; None for models without anchors.

        Raises:
            ConfigError: `model.*` has anchors that do not fit the model.
        """
        return None

    def base_weights(self, config: RunConfig) -> BaseWeights:
        """Find the weights to start from, and download them if they are not cached.

        Raises:
            WeightsError: they cannot be loaded; the text lists alternatives.
        """
        ...

    def packer(self, config: RunConfig, classes: tuple[str, ...]) -> Packer:
        """Return what turns samples into batches for its detectors."""
        ...

    def build(
        self, config: RunConfig, classes: tuple[str, ...], base: BaseWeights | None
    ) -> DetectionModel:
        """Build a detector on the CPU.

        Args:
            config: of the run, with this machine's hardware.
            classes: names by class id.
            base: from `base_weights`, to start from; None if a checkpoint will be loaded.

        Raises:
            WeightsError: the base weights do not fit.
        """
        ...

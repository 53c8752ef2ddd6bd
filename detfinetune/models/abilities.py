"""What some families can do besides detecting. A command asks for it by `isinstance`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from detfinetune.config.resolved import RunConfig
from detfinetune.config.schema import ModelConfig

if TYPE_CHECKING:
    from PIL import Image

    from detfinetune.answer import Answer
    from detfinetune.models.detection_model import DetectionModel

Asked = Callable[["Image.Image"], "Answer"]
"""A model with a prompt: returns its answer about an RGB image.

Raises a ConfigError if the prompt does not fit the model.
"""


@runtime_checkable
class MergesAdapter(Protocol):
    """A family whose checkpoints are changes to a base model, which can be put into it."""

    def write_merged(self, model: DetectionModel, config: RunConfig, folder: Path) -> None:
        """Write the base model with the changes, so that its own library loads it without us.

        Args:
            model: a trained one of this family, on the CPU; it is changed.
            config: of its run.
            folder: exists, and is empty.

        Raises:
            WeightsError: the base weights are missing.
        """


@dataclass(frozen=True)
class PromptTask:
    """A kind of prompt."""

    asks: str
    """For what, for the user."""

    takes_text: bool = False
    """Whether the prompt needs words of the user; others cannot take any."""


@runtime_checkable
class AnswersPrompts(Protocol):
    """A family whose models answer prompts about an image, whatever their classes."""

    prompt_tasks: Mapping[str, PromptTask]
    """By name."""

    def ask_base(self, settings: ModelConfig, device: str, task: str, text: str) -> Asked:
        """Load base weights and return them with a prompt.

        Args:
            settings: `model.*`.
            device: of torch; it exists.
            task: a name of `prompt_tasks`.
            text: words of the user; empty if the task takes none.

        Raises:
            WeightsError: the base weights cannot be loaded.
        """

    def ask_trained(self, model: DetectionModel, config: RunConfig, task: str, text: str) -> Asked:
        """Return a trained model of this family with a prompt.

        Args:
            model: in eval mode, on its device.
            config: of its run.
            task: a name of `prompt_tasks`.
            text: words of the user; empty if the task takes none.
        """

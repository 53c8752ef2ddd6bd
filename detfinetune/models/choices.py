"""What is chosen for the user, each with a reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from detfinetune.config.schema import TrainConfig

_SECTIONS = ("model", "augment", "solver", "hardware", "evaluation")


@dataclass(frozen=True)
class Choice:
    """An automatically chosen value."""

    key: str
    value: Any
    reason: str


class Choices:
    """Collects choices; each can depend on the values chosen before it.

    Attributes:
        config: as the user gave it.
        values: all values so far, by section and key.
        made: the choices in their order.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.values: dict[str, dict[str, Any]] = {
            name: getattr(config, name).model_dump() for name in _SECTIONS
        }
        self.made: list[Choice] = []

    @property
    def gpu(self) -> bool:
        """Whether the run is on a GPU."""
        return self.config.hardware.device.startswith("cuda")

    @property
    def untested(self) -> str:
        """To add to the reason of a value that is for GPUs, on which nothing has been measured."""
        return "; untested" if self.gpu else ""

    def get(self, key: str) -> Any:
        """Return the value of a dotted key, as the user gave it or as it was chosen."""
        section, name = key.split(".")
        return self.values[section][name]

    def choose(self, key: str, rule: Callable[[], tuple[Any, str]]) -> Any:
        """Fill `key` by `rule` (value and reason) if it is null or auto; return its value."""
        section, name = key.split(".")
        if self.values[section][name] in (None, "auto"):
            value, reason = rule()
            self.values[section][name] = value
            self.made.append(Choice(key, value, reason))
        return self.values[section][name]

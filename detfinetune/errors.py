"""Errors that a user can fix.

    DetFinetuneError
    ├── ConfigError        a key, value or combination in the configuration
    ├── DataError          files, folders or COCO JSON that cannot be used
    │   └── LabelError     invalid labels, with data.on_problem=stop
    ├── ModelError         unknown model names, unsupported tasks
    │   └── WeightsError   base weights that cannot be loaded
    ├── CheckpointError    run folders and checkpoints that cannot be read or do not fit
    ├── MissingExtraError  an optional package that is not installed
    ├── CacheError         a cache folder that cannot be written
    ├── OutputExistsError  the output exists and must not be overwritten
    └── TrainingError      training cannot continue (memory, disk)
        └── DivergedError  losses, gradients or predictions are not finite

Each message says where (file and line, or configuration key), what is wrong, and what to do.
Command-line tools print them without a traceback (`console.run_tool`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class DetFinetuneError(Exception):
    """Base of all errors that a user can fix; its text is the whole message."""

    one_process_only = False
    """Whether only one of several processes (torchrun) has the error, and must report it."""


class ConfigError(DetFinetuneError):
    """The configuration is invalid; the text lists all problems, one a line."""

    @classmethod
    def from_problems(cls, problems: list[str]) -> ConfigError:
        """Join `problems` (at least one) into one error, one line each."""
        if len(problems) == 1:
            return cls(problems[0])
        listed = "\n".join(f"  - {problem}" for problem in problems)
        return cls(f"{len(problems)} problems in the configuration:\n{listed}")


class DataError(DetFinetuneError):
    """Files, folders or COCO JSON that cannot be used."""


class LabelError(DataError):
    """Invalid labels, with `data.on_problem=stop`."""


class ModelError(DetFinetuneError):
    """Unknown model names, or a task that a model does not support."""


class WeightsError(ModelError):
    """Base weights that cannot be loaded; the text lists alternatives."""


class CheckpointError(DetFinetuneError):
    """A run folder or checkpoint that cannot be read or does not fit."""


class MissingExtraError(DetFinetuneError):
    """An optional package that is not installed; the text names the extra that brings it."""

    def __init__(self, extra: str, what: str) -> None:
        super().__init__(f"{what} needs more packages. Run: pip install 'detfinetune[{extra}]'")


class CacheError(DetFinetuneError):
    """A cache folder that cannot be written; the text names the variable that moves it."""

    @classmethod
    def from_os_error(
        cls, folder: Path, error: OSError, variable: str = "DETFINETUNE_CACHE"
    ) -> CacheError:
        """Name the folder, the reason, and the environment variable that moves the cache."""
        return cls(
            f"{folder}: the cache cannot be written ({error.strerror or error}). Free some space "
            f"or make it writable, or set {variable} to another folder."
        )


class OutputExistsError(DetFinetuneError):
    """An output exists already; the text names the key that replaces it."""


class TrainingError(DetFinetuneError):
    """Training cannot continue; the text says what was saved and how to resume."""


class DivergedError(TrainingError):
    """Losses, gradients or predictions are not finite; resuming would fail again."""


def first_line(error: BaseException) -> str:
    """Return the first line of a library's error, at most 200 characters, or the error's type."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `" Did you mean 'x'?"` for the nearest of `known`, or an empty string."""
    options = {name.lower(): name for name in known}
    nearest = difflib.get_close_matches(word.lower(), list(options), n=1, cutoff=0.6)
    return f" Did you mean '{options[nearest[0]]}'?" if nearest else ""

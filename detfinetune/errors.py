"""Every error that detfinetune raises for something a user can mend.

    DetFinetuneError
    ├── ConfigError        a key, value or combination in the configuration
    ├── DataError          files, folders or COCO JSON that cannot be used
    │   └── LabelError     label lines, when the policy is to stop at them
    ├── ModelError         unknown model names, tasks a model cannot do
    │   └── WeightsError   base weights that cannot be had
    ├── CheckpointError    run folders and checkpoints that cannot be read or do not fit
    ├── OutputExistsError  something is there already and may not be overwritten
    └── TrainingError      training cannot go on (memory, disk)
        └── DivergedError  losses, gradients or predictions are not finite

Each message says what is wrong, where (file and line, or configuration key), and what to do.
They become plain messages, without a traceback, only at the command line (`console.run_tool`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DetFinetuneError(Exception):
    """Base of all errors that are the user's to mend; its text is the whole message."""

    one_process_only = False
    """Of several processes (torchrun) only this one meets the error, so only it can say so."""


class ConfigError(DetFinetuneError):
    """Something in the configuration; the text lists every problem found, one a line."""

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
    """Label lines that are wrong, raised when `data.on_problem=stop`."""


class ModelError(DetFinetuneError):
    """Unknown model names, or a task that a model cannot do."""


class WeightsError(ModelError):
    """Base weights that cannot be had; the text lists the ways out."""


class CheckpointError(DetFinetuneError):
    """A run folder or checkpoint that cannot be read or does not fit."""


class OutputExistsError(DetFinetuneError):
    """An output is there already; the text names the switch that overwrites it."""


class TrainingError(DetFinetuneError):
    """Training cannot go on; the text says what was saved and how to continue."""


class DivergedError(TrainingError):
    """Losses, gradients or predictions are not finite; going on would end the same way."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `" Did you mean 'x'?"` for the nearest of `known`, or an empty string."""
    options = {name.lower(): name for name in known}
    nearest = difflib.get_close_matches(word.lower(), list(options), n=1, cutoff=0.6)
    return f" Did you mean '{options[nearest[0]]}'?" if nearest else ""

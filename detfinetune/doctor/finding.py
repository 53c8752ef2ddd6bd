"""What a check of the doctor reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    """What it is, in one or two words."""

    state: Literal["ok", "note", "problem"]
    """note: something is missing that training can do without; problem: training cannot work."""

    value: str
    """What was found: a version, a size, a path."""

    advice: str = ""
    """What it means for the user and what to do; empty when the state is ok."""


def first_line(error: Exception) -> str:
    """Return an exception's type and the first line of its text."""
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__

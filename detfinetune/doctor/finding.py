"""A result of a check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """Result of checking one thing."""

    subject: str
    """What was checked, in one or two words."""

    state: Literal["ok", "note", "problem"]
    """note: something optional is missing; problem: training cannot work."""

    value: str
    """The result: a version, a size, a path."""

    advice: str = ""
    """What it means and what to do; empty if the state is ok."""


def first_line(error: Exception) -> str:
    """Return an exception's type and the first line of its text."""
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__

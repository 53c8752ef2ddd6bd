"""What every line format shares: tokens, numbers and the reason why a line cannot be used."""

from __future__ import annotations

import math
import re

from detfinetune.labels.formats.raw_labels import BadLabel

# Brackets and quotes mean nothing; any run of separators separates two values.
_BRACKETS = str.maketrans(dict.fromkeys("()[]{}<>", " "))
_SEPARATORS = str.maketrans(dict.fromkeys("()[]{}<>,;|", " "))
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity|1\.#\w+)", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"[+-]?\d+(,\d+)?", re.ASCII)


def tokenize(line: str, count: int | None = None) -> list[str]:
    """Split a line at spaces, tabs, commas, semicolons and bars; brackets are ignored.

    With `count`, a line that has exactly so many values when commas are read as decimal points
    (`0 0,25 0,5 0,1 0,1`) is read that way.
    """
    tokens = [token.strip("\"'") for token in line.translate(_SEPARATORS).split()]
    if count and "," in line and len(tokens) > count:
        parts = re.split(r"[\s;|]+", line.translate(_BRACKETS).strip())
        if len(parts) == count and sum(bool(_DECIMAL_COMMA.fullmatch(p)) for p in parts) >= (
            count - 1
        ):
            return [part.replace(",", ".") for part in parts]
    return tokens


def is_number(token: str) -> bool:
    """Whether `token` is a finite decimal number."""
    return _NUMBER.fullmatch(token) is not None and math.isfinite(float(token))


def to_number(token: str, name: str) -> float:
    """Return `token` as a finite float.

    Raises:
        BadLabel: it is not one.
    """
    if _NUMBER.fullmatch(token) and math.isfinite(value := float(token)):
        return value
    if _NOT_FINITE.fullmatch(token) or _NUMBER.fullmatch(token):
        raise BadLabel("not finite", f"{name} is '{token}', not a finite number")
    raise BadLabel("not a number", f"{name} is '{token}', not a number")


def is_comment(line: str) -> bool:
    """Whether a line is blank or a comment that starts with # or //."""
    return not line or line.startswith(("#", "//"))


def is_heading(line: str) -> bool:
    """Whether a line holds names of columns: at least four words and no number."""
    tokens = tokenize(line)
    return (
        len(tokens) >= 4
        and all(re.fullmatch(r"[A-Za-z]\w*", token) for token in tokens)
        and not (any(_NOT_FINITE.fullmatch(token) for token in tokens))
    )

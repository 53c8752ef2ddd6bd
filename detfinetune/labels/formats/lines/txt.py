"""Custom txt labels: one object a line, columns in any order."""

from __future__ import annotations

from detfinetune.errors import ConfigError, did_you_mean
from detfinetune.labels.formats.lines.tokens import is_number, to_number, tokenize
from detfinetune.labels.formats.raw_labels import BadLabel, Form, RawLabel

_SYNONYMS = {"x": "x1", "y": "y1", "xmin": "x1", "ymin": "y1", "xmax": "x2", "ymax": "y2"}
_NAMES = ("class", "x1", "y1", "x2", "y2", "cx", "cy", "w", "h")
_PAIRS = ({"1", "2"}, {"1", "size"}, {"c", "size"})


def parse_columns(columns: str) -> tuple[str, ...]:
    """Return the column names of `data.columns`, `x` and `y` as `x1` and `y1`.

    Raises:
        ConfigError: unknown or repeated names, or names that do not make a box.
    """
    names = []
    for name in (part.strip().lower() for part in columns.replace(" ", ",").split(",")):
        if not name:
            continue
        name = _SYNONYMS.get(name, name)
        if name not in (*_NAMES, "-"):
            known = ", ".join((*_NAMES, "x", "y", "-"))
            raise ConfigError(
                f"data.columns: unknown column '{name}'.{did_you_mean(name, _NAMES)} "
                f"Known columns: {known}."
            )
        if name != "-" and name in names:
            raise ConfigError(f"data.columns: column '{name}' is named twice in '{columns}'.")
        names.append(name)
    across = {"x1": "1", "x2": "2", "cx": "c", "w": "size"}
    down = {"y1": "1", "y2": "2", "cy": "c", "h": "size"}
    pairs = [{axis[name] for name in names if name in axis} for axis in (across, down)]
    for pair in pairs:
        if pair not in _PAIRS or pair != pairs[0]:
            raise ConfigError(
                f"data.columns: '{columns}' does not make a box. Give x1,y1,x2,y2 "
                "(xyxy), x,y,w,h (xywh, from the top left corner) or cx,cy,w,h (cxcywh), "
                "and class, such as data.columns=class,x1,y1,x2,y2."
            )
    return tuple(names)


def parse_txt_line(line: str, columns: tuple[str, ...]) -> RawLabel:
    """Read one line whose values are in the order of `columns`.

    A class name of several words is allowed where the class is the first or last column.

    Raises:
        BadLabel: too few or too many values, or a coordinate that is not a finite number.
    """
    tokens = _join_class_name(tokenize(line, len(columns)), columns)
    if len(tokens) != len(columns):
        few_or_many = "too few columns" if len(tokens) < len(columns) else "too many columns"
        raise BadLabel(
            few_or_many,
            f"{len(tokens)} value{'s' * (len(tokens) != 1)} where data.columns names "
            f"{len(columns)} ({','.join(columns)})",
        )
    values = dict(zip(columns, tokens, strict=True))
    class_token = values.pop("class", "")
    values.pop("-", None)
    numbers = {name: to_number(token, name) for name, token in values.items()}
    x1, x2 = _ends(numbers, "x1", "x2", "cx", "w")
    y1, y2 = _ends(numbers, "y1", "y2", "cy", "h")
    return RawLabel(class_token, (x1, y1, x2, y2), form=box_form(columns))


def box_form(columns: tuple[str, ...]) -> Form:
    """Return how `columns` give a box; its two axes are given in the same way."""
    if "cx" in columns:
        return "cxcywh"
    return "xywh" if "w" in columns else "xyxy"


def _ends(
    values: dict[str, float], first: str, last: str, centre: str, size: str
) -> tuple[float, float]:
    if centre in values:
        return values[centre] - values[size] / 2, values[centre] + values[size] / 2
    if size in values:
        return values[first], values[first] + values[size]
    return values[first], values[last]


def _join_class_name(tokens: list[str], columns: tuple[str, ...]) -> list[str]:
    """Join a class name that was split at its spaces."""
    extra = len(tokens) - len(columns)
    if extra <= 0 or "class" not in columns:
        return tokens
    at = columns.index("class")
    if at not in (0, len(columns) - 1) or any(is_number(t) for t in tokens[at : at + extra + 1]):
        return tokens
    return [*tokens[:at], " ".join(tokens[at : at + extra + 1]), *tokens[at + extra + 1 :]]

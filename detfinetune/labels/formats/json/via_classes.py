"""Which of a VIA file's region attributes holds the class, and what it is for one region."""

from __future__ import annotations

from collections import Counter
from typing import Any

from detfinetune.labels.formats.json.json_values import clean, one_line, shown
from detfinetune.labels.formats.raw_labels import BadLabel

_USUAL_NAMES = ("class", "label", "category", "type", "name")


def choose_class_attribute(regions: list[Any], notes: list[str]) -> str | None:
    """Return the region attribute that holds the class, or None where no region has any.

    It is the one that is called class, label, category, type or name (in this order, in any
    case); else the only one; else the one whose values repeat most over the file, because a class
    has few values and a number or a remark has many.
    """
    values: dict[str, Counter[str]] = {}
    for region in regions:
        for key, value in _attributes(region).items():
            words = values.setdefault(key, Counter())
            if value not in (None, "", {}):
                words[_same_value(value)] += 1
    used = {key: words for key, words in values.items() if words}
    if not used:
        return None
    by_name = {key.strip().lower(): key for key in reversed(used)}
    usual = next((by_name[name] for name in _USUAL_NAMES if name in by_name), None)
    chosen = usual or max(used, key=lambda key: used[key].total() - len(used[key]))
    if len(used) > 1:
        others = ", ".join(clean(key) for key in used if key != chosen)
        notes.append(
            f"the class is taken from the attribute {shown(chosen)}; ignored: {one_line(others)}"
        )
    return chosen


def class_in(region: dict[str, Any], attribute: str | None) -> str:
    """Return the class of a region; of checkboxes, the name of the one that is ticked.

    Raises:
        BadLabel: there is none, or several.
    """
    if attribute is None:
        return ""
    value = _attributes(region).get(attribute)
    if isinstance(value, dict):
        ticked = [name for name, state in value.items() if state is True and name.strip()]
        if len(ticked) > 1:
            raise BadLabel("several classes", f"{len(ticked)} boxes of {shown(attribute)} ticked")
        value = ticked[0] if ticked else None
    if isinstance(value, str) and value.strip():
        return clean(value.strip())
    if type(value) is int:
        return shown(value)
    raise BadLabel("no class", f"the attribute {shown(attribute)} of the region has no value")


def declared_classes(attributes: Any, attribute: str | None) -> tuple[str, ...]:
    """Return the options that a project declares for the class attribute, in order."""
    value = attributes
    for key in ("region", attribute, "options"):
        value = value.get(key) if isinstance(value, dict) and key is not None else None
    if not isinstance(value, dict):
        return ()
    return tuple(dict.fromkeys(clean(name.strip()) for name in value if name.strip()))


def _attributes(region: Any) -> dict[str, Any]:
    value = region.get("region_attributes") if isinstance(region, dict) else None
    return value if isinstance(value, dict) else {}


def _same_value(value: Any) -> str:
    """Return what makes two values of an attribute the same."""
    if isinstance(value, dict):
        return "|".join(sorted(key for key, state in value.items() if state is True))
    return value if isinstance(value, str) else shown(value)

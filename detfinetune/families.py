"""Which detector families there are, and which of them a model name belongs to.

A family is a folder in `models/` and a line here, or an entry point `detfinetune.families` of
another package. Configurations and checkpoints name a family, never a module to import.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from detfinetune.console import warn
from detfinetune.errors import CheckpointError

if TYPE_CHECKING:
    from detfinetune.models.family import ModelFamily

GROUP = "detfinetune.families"
_DEFAULT = "rcnn"
_OWN = {
    _DEFAULT: "detfinetune.models.rcnn.family:FAMILY",
    "florence2": "detfinetune.models.florence2.family:FAMILY",
    "vit": "detfinetune.models.vit.family:FAMILY",
}


@cache
def families() -> dict[str, ModelFamily]:
    """Return all families by name, those of this package first."""
    own = [EntryPoint(name, value, GROUP) for name, value in _OWN.items()]
    found: dict[str, ModelFamily] = {}
    for entry in [*own, *entry_points(group=GROUP)]:
        try:
            family: ModelFamily = entry.load()
            known = found.setdefault(family.name, family)
        except Exception as error:  # other people's code, which must not break everything else
            warn(f"the family '{entry.name}' ({entry.value}) cannot be loaded: {error}")
            continue
        if known is not family:
            warn(f"the family '{family.name}' of {entry.value} is ignored: that name is taken")
    return found


def family_of(model_name: str) -> ModelFamily:
    """Return the family that a model name belongs to, that of Detectron2's models if none does."""
    accepting = (family for family in families().values() if family.accepts(model_name))
    return next(accepting, families()[_DEFAULT])


def suggested_names() -> list[str]:
    """Return the model names that families suggest."""
    return [name for family in families().values() for name in family.names]


def family_named(name: str) -> ModelFamily:
    """Return a family by its name.

    Raises:
        CheckpointError: there is none of this name.
    """
    if name not in families():
        raise CheckpointError(
            f"The model belongs to the family '{name}', which is not installed. Install the "
            f"package that provides it. Installed are: {', '.join(families())}."
        )
    return families()[name]

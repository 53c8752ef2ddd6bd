"""The dotted keys of a schema, and messages about unknown keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from detfinetune.config.schema import ModelConfig
from detfinetune.errors import did_you_mean
from detfinetune.families import families

# Names of other trainers for the same thing.
_SYNONYMS = {
    "lr": "solver.base_lr",
    "lr0": "solver.base_lr",
    "learning_rate": "solver.base_lr",
    "batch": "solver.images_per_batch",
    "batch_size": "solver.images_per_batch",
    "ims_per_batch": "solver.images_per_batch",
    "epochs": "solver.max_iter",
    "iterations": "solver.max_iter",
    "steps": "solver.max_iter",
    "imgsz": "augment.image_size",
    "img_size": "augment.image_size",
    "workers": "hardware.num_workers",
    "amp": "hardware.precision",
    "conf": "score_threshold",
    "output": "output_dir",
    "dataset": "data",
    "backbone": "model.name",
}


def fields_of(schema: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    """Yield the dotted key and the field of each leaf, in the order of the schema.

    The model's keys are those of all families; those that families share are yielded once.
    """
    for name, field in schema.model_fields.items():
        inner = field.annotation
        if inner is ModelConfig:
            known = {
                f"{name}.{key}": leaf
                for family in families().values()
                for key, leaf in family.Settings.model_fields.items()
            }
            yield from known.items()
        elif isinstance(inner, type) and issubclass(inner, BaseModel):
            for key, leaf in fields_of(inner):
                yield f"{name}.{key}", leaf
        else:
            yield name, field


def config_keys(schema: type[BaseModel]) -> dict[str, bool]:
    """Return the dotted keys of a schema; true for those that allow any keys below them."""
    return {key: _is_mapping(field.annotation) for key, field in fields_of(schema)}


def text_keys(schema: type[BaseModel]) -> set[str]:
    """Return the dotted keys whose value is a string or a path."""
    return {key for key, field in fields_of(schema) if _is_text(field.annotation)}


def unknown_key(key: str, known: dict[str, bool], groups: Iterable[str]) -> str | None:
    """Return an error message with the nearest known key, or None if the key is known."""
    if key in known:
        return None
    if any(free and key.startswith(f"{name}.") for name, free in known.items()):
        return None
    if any(name.startswith(f"{key}.") for name in known):
        return (
            None if key in groups else f"'{key}' is a section; set a key in it, such as '{key}.…='."
        )
    leaf = key.rsplit(".", 1)[-1]
    meant = _SYNONYMS.get(leaf.lower())
    if meant in known:
        return f"'{key}' is not a key. Did you mean '{meant}'?"
    by_leaf = {name.rsplit(".", 1)[-1]: name for name in known}
    hint = f" Did you mean '{by_leaf[leaf]}'?" if leaf in by_leaf else ""
    hint = hint or did_you_mean(key, [*known, *groups])
    hint = hint or did_you_mean(leaf, by_leaf).replace(leaf, key)
    return f"'{key}' is not a key.{hint} All keys: --help."


def _is_mapping(annotation: Any) -> bool:
    return "dict[" in str(annotation)


def _is_text(annotation: Any) -> bool:
    """Return whether a type is `str` or `Path`, annotated or in a union too."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _is_text(inner[0])
    if origin in (Union, UnionType):
        return any(_is_text(part) for part in inner)
    return annotation in (str, Path)

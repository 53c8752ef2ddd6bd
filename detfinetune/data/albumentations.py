"""Transforms of the library albumentations, after our own augmentation."""

from __future__ import annotations

import inspect
import json
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from detectron2.structures import polygons_to_bitmask
from numpy.typing import NDArray
from pydantic import ValidationError

from detfinetune.config.resolved import RunConfig
from detfinetune.data.augment import mask_box
from detfinetune.data.sample import Mask, Sample
from detfinetune.errors import (
    ConfigError,
    DataError,
    MissingExtraError,
    did_you_mean,
    first_line,
)
from detfinetune.families import family_of
from detfinetune.models.family import InputSpec

_KEY = "augment.albumentations"


class Albumentations:
    """Applies transforms with random numbers that numpy's global generator seeds."""

    def __init__(
        self, transforms: Sequence[Any], color: str, min_visible: float, key: str = _KEY
    ) -> None:
        """Initialize the step.

        Args:
            transforms: of the library.
            color: order of the channels of images; the library takes RGB.
            min_visible: drop objects of which a transform leaves less than this share of the box.
            key: that errors name.
        """
        library = _library()
        self.pipeline = library.Compose(transforms)
        # Otherwise boxes stay exact, and masks polygons.
        self.moves_objects = "bboxes" in self.pipeline.available_keys
        if self.moves_objects:
            boxes = library.BboxParams(
                "pascal_voc", label_fields=["index"], min_visibility=min_visible, clip=True
            )
            self.pipeline = library.Compose(transforms, bbox_params=boxes)
        self.color = color
        self.key = key

    def __call__(self, sample: Sample) -> Sample:
        """Return the transformed sample.

        Raises:
            DataError: a transform fails, or gives something else than an image of 8 bits.
        """
        seed = int(np.random.randint(2**31))
        # One generator for all: with `set_random_seed`, each transform draws the same numbers.
        self.pipeline.set_random_state(np.random.default_rng(seed), random.Random(seed))
        data: dict[str, Any] = {"image": self._in_rgb(sample.image)}
        if self.moves_objects:
            data |= {"bboxes": sample.boxes, "index": np.arange(len(sample.boxes))}
            if sample.masks:
                size = sample.image.shape[:2]
                data["masks"] = np.stack([_bitmap(mask, *size) for mask in sample.masks])
        try:
            result = self.pipeline(**data)
        except Exception as error:  # other people's code
            reason = f"{type(error).__name__}: {first_line(error)}"
            raise DataError(
                f"{self.key}: failed on an image of {sample.image.shape[1]}x"
                f"{sample.image.shape[0]} px ({reason})."
            ) from error
        image = result["image"]
        if not (
            isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.shape[2:] == (3,)
        ):
            raise DataError(
                f"{self.key}: the result has to be an image of 8 bits with three channels. Leave "
                "out transforms such as Normalize and ToTensorV2: the model does that itself."
            )
        found = replace(sample, image=self._in_rgb(image))
        return _with_objects(found, result) if self.moves_objects else found

    def _in_rgb(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Swap red and blue if need be, which is the way back too."""
        return np.ascontiguousarray(image[:, :, ::-1] if self.color == "BGR" else image)


def _with_objects(sample: Sample, result: Mapping[str, Any]) -> Sample:
    """Return the sample with the objects that are left; mirroring at an edge may double some."""
    index = np.asarray(result["index"], dtype=np.int64)
    boxes = np.asarray(result["bboxes"], dtype=np.float64).reshape(-1, 4)
    masks: list[Mask] | None = None
    if sample.masks is not None:
        masks = [_inside(box, result["masks"][at]) for box, at in zip(boxes, index, strict=True)]
        boxes = np.array([mask_box(mask) for mask in masks], dtype=np.float64).reshape(-1, 4)
    found = replace(sample, boxes=boxes, class_ids=sample.class_ids[index], masks=masks)
    return found.keep(np.all(boxes[:, 2:] > boxes[:, :2], axis=1))


def _bitmap(mask: Mask, height: int, width: int) -> NDArray[np.uint8]:
    if isinstance(mask, list):
        return np.asarray(polygons_to_bitmask(mask, height, width), dtype=np.uint8)
    return mask


def _inside(box: NDArray[np.float64], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the part of a mask in a box, or up to a pixel beside it."""
    x1, y1 = np.floor(box[:2]).astype(int) - 1
    x2, y2 = np.ceil(box[2:]).astype(int) + 1
    part = np.zeros_like(mask)
    window = slice(max(y1, 0), y2), slice(max(x1, 0), x2)
    part[window] = mask[window]
    return part


def build_albumentations(config: RunConfig, spec: InputSpec) -> Albumentations | None:
    """Return the step of `augment.albumentations`; None if there is none.

    Raises:
        ConfigError: there is no such transform, or its arguments are wrong.
        MissingExtraError: the library is not installed.
    """
    items = _items(config)
    if not items:
        return None
    transforms = [_transform(item, f"{_KEY}[{number}]") for number, item in enumerate(items)]
    return Albumentations(transforms, spec.color, config.augment.min_visible)


def check_albumentations(config: RunConfig) -> None:
    """Try each transform of `augment.albumentations` on an image of noise with an object.

    Raises:
        ConfigError: lists those that cannot be used.
        MissingExtraError: the library is not installed.
    """
    side = config.augment.crop_size or config.augment.image_size
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    mask = np.zeros((side, side), dtype=np.uint8)
    mask[side // 4 : side // 2, side // 4 : side // 2] = 1
    sample = Sample(image, np.array([mask_box(mask)]), np.zeros(1, int), [mask], side, side)
    spec = family_of(config.model.name).input_spec(config)
    problems = []
    for place, item in _leaves(_items(config), _KEY):
        try:
            always = _transform({**item, "p": 1.0}, place)
            found = Albumentations([always], spec.color, 0.0, place)(sample)
            if spec.resize == "square" and found.image.shape != image.shape:
                problems.append(
                    f"{place}: '{item['name']}' changes the size of an image, and "
                    f"model.name={config.model.name} takes one size only."
                )
        except (ConfigError, DataError) as error:
            problems.append(str(error))
    if problems:
        raise ConfigError.from_problems(problems)
    build_albumentations(config, spec)


def _items(config: RunConfig) -> list[dict[str, Any]]:
    return [item.model_dump(exclude_none=True) for item in config.augment.albumentations or ()]


def _leaves(
    items: Sequence[Mapping[str, Any]], key: str
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each transform, and those within others such as OneOf, with its key."""
    for number, item in enumerate(items):
        place = f"{key}[{number}]"
        if "transforms" in item:
            yield from _leaves(item["transforms"], f"{place}.transforms")
        else:
            yield place, item


def _transform(item: Mapping[str, Any], place: str) -> Any:
    """Build a transform from its name and its arguments."""
    library = _library()
    kinds = {
        name: kind
        for name, kind in vars(library).items()
        if isinstance(kind, type) and issubclass(kind, library.BasicTransform | library.BaseCompose)
    }
    arguments = dict(item)
    name = arguments.pop("name", None)
    if name not in kinds:
        hint = did_you_mean(str(name), kinds)
        raise ConfigError(f"{place}: albumentations has no transform '{name}'.{hint}")
    known = inspect.signature(kinds[name]).parameters
    if "transforms" in arguments:
        arguments["transforms"] = [
            _transform(inner, f"{place}.transforms[{number}]")
            for number, inner in enumerate(arguments["transforms"])
        ]
    try:
        transform = kinds[name](**{key: arguments[key] for key in arguments if key in known})
    except Exception as error:  # other people's code
        raise ConfigError(f"{place}: '{name}': {_reason(error)}") from error
    for argument, value in arguments.items():
        # Saved transforms also have arguments of their base classes, which they set themselves.
        own = getattr(transform, argument, argument)
        if argument not in known and _plain(own) != _plain(value):
            hint = did_you_mean(argument, known) or f" It takes: {', '.join(known)}."
            raise ConfigError(f"{place}: '{name}' has no argument '{argument}'.{hint}")
    return transform


def _plain(value: Any) -> str:
    """Return a text that is the same for a value before and after it was saved."""
    return json.dumps(value, sort_keys=True, default=str)


def _reason(error: Exception) -> str:
    """Return what is wrong with arguments: of pydantic's errors the arguments and messages."""
    if not isinstance(error.__cause__, ValidationError):
        return first_line(error)
    return "; ".join(
        ": ".join([*map(str, problem["loc"]), problem["msg"].removeprefix("Value error, ")])
        for problem in error.__cause__.errors()
    )


def _library() -> Any:
    # At its import, it would ask the package index for a newer release.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    try:
        import albumentations
    except ImportError as error:
        raise MissingExtraError("albumentations", _KEY) from error
    if not hasattr(albumentations.Compose, "set_random_state"):  # before 2.0
        raise MissingExtraError("albumentations", _KEY)
    return albumentations

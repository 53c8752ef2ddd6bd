"""Finds the inputs of a prediction: an image, a folder of images, or a video."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from detfinetune.errors import ConfigError, DataError
from detfinetune.labels.discovery.discovered import image_names
from detfinetune.labels.images.sizes import IMAGE_SUFFIXES, is_image

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".m4v", ".webm", ".mpg", ".mpeg"})


@dataclass(frozen=True)
class ImageInputs:
    """Images to predict on, as sorted paths relative to `root`."""

    root: Path
    names: tuple[str, ...]
    """With forward slashes."""

    name: str
    """Short name for default outputs."""


@dataclass(frozen=True)
class VideoInput:
    """A video to predict on."""

    path: Path
    name: str
    """Short name for default outputs."""


def find_inputs(path: Path | None) -> ImageInputs | VideoInput:
    """Detect whether the input is an image, a folder (searched recursively) or a video.

    Raises:
        ConfigError: no input is given.
        DataError: it does not exist, has an unknown type, or is a folder without images.
    """
    if path is None:
        raise ConfigError("input is missing. Give input=PATH: an image, a folder or a video.")
    if path.is_dir():
        names = sorted(image_names(path))
        if not names:
            raise DataError(f"input={path}: the folder has no images ({_known(IMAGE_SUFFIXES)}).")
        return ImageInputs(path, tuple(names), path.resolve().name or "images")
    if not path.exists():
        raise DataError(f"input={path}: there is no such file or folder.")
    if is_image(path):
        return ImageInputs(path.parent, (path.name,), path.stem)
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return VideoInput(path, path.stem)
    raise DataError(
        f"input={path}: '{path.suffix}' is not a known type. Images: {_known(IMAGE_SUFFIXES)}; "
        f"videos: {_known(VIDEO_SUFFIXES)}."
    )


def _known(suffixes: frozenset[str]) -> str:
    return " ".join(sorted(suffixes))

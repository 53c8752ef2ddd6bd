"""What the writers share: one label file an image, numbers with no more digits than needed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from detfinetune import console
from detfinetune.errors import DataError
from detfinetune.labels.dataset.table import LabelTable

_FEW = 2000
"""Fewer images than this are written without a progress bar."""


def label_names(table: LabelTable, suffix: str) -> list[str]:
    """Return for each image its label file: the same path with another ending.

    Raises:
        DataError: two images differ by their ending alone, or a path leads out of the folder.
    """
    names: list[str] = []
    owner: dict[str, str] = {}
    for image in table.names:
        path = PurePosixPath(image)
        if path.is_absolute() or ".." in path.parts or not path.name:
            raise DataError(
                f"image '{image}': its labels would lie outside the output. Give an image root "
                "that holds all images."
            )
        name = path.with_suffix(suffix).as_posix()
        if name in owner:
            raise DataError(
                f"images '{owner[name]}' and '{image}' would share the label file {name}. Rename "
                "one of them, or write COCO JSON, which names images with their ending."
            )
        owner[name] = image
        names.append(name)
    return names


def write_label_files(folder: Path, names: Sequence[str], texts: Iterable[str]) -> None:
    """Write a text under each name below `folder`."""
    for parent in {str(PurePosixPath(name).parent) for name in names}:
        (folder / parent).mkdir(parents=True, exist_ok=True)
    pairs = zip(names, texts, strict=True)
    bar = (
        console.progress(pairs, description="writing labels", total=len(names), unit="image")
        if len(names) > _FEW
        else pairs
    )
    root = str(folder)
    for name, text in bar:
        # A joined string, and not a Path, saves a third of the time of a small file.
        with open(f"{root}/{name}", "w", encoding="utf-8", newline="\n") as stream:  # noqa: PTH123
            stream.write(text)


def write_classes(folder: Path, classes: Sequence[str]) -> None:
    """Write classes.txt, one name a line."""
    lines = "".join(f"{name}\n" for name in classes)
    (folder / "classes.txt").write_text(lines, encoding="utf-8", newline="\n")


def kept_objects(table: LabelTable) -> list[list[int]]:
    """Return for each image its objects except crowds, which none of these formats can mark."""
    kept = np.flatnonzero(~table.crowd)
    bounds = np.searchsorted(kept, table.starts)
    indexes = kept.tolist()
    return [indexes[a:b] for a, b in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)]


def pixel_corners(boxes: NDArray[np.float64]) -> list[list[str]]:
    """Return x1, y1, x2, y2 of boxes as text, exact to a millionth of a pixel; (objects, 4)."""
    xyxy = boxes.copy()
    xyxy[:, 2:] += xyxy[:, :2]
    return [[plain(value) for value in row] for row in rounded(xyxy, 6).tolist()]


def rounded(values: NDArray[np.float64], decimals: int) -> NDArray[np.float64]:
    """Return values rounded to so many decimals, each the float whose shortest text has them."""
    scale = 10.0**decimals
    return np.asarray(np.rint(values * scale) / scale, dtype=np.float64)


def plain(value: float) -> str:
    """Return the shortest text of a float, without exponent, and whole numbers without point."""
    if value % 1 == 0:
        return str(int(value))
    text = repr(value)
    return text if "e" not in text else f"{value:.16f}".rstrip("0")

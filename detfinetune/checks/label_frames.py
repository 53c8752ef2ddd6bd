"""Labels made for another image than the one they lie beside: unturned, larger, smaller."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from detfinetune.checks.findings import Finding, Place
from detfinetune.checks.hypotheses import fitting
from detfinetune.checks.places import MOST_PLACES, counted, image_place, percent
from detfinetune.labels.dataset.table import LabelTable

_FEWEST_MISFITS = 3
_LARGEST_SIDE = 1e6
_EXPLAINED = 0.9
_MUCH_MORE_OFTEN = 5
_FEWEST_OBJECTS, _FEWEST_IMAGES = 100, 20
_ALIKE = 0.05
_NEAR_START = 0.05
_SMALLER, _LARGER = 0.8, 1.25
_LARGER_MISFITS = 0.2
_NEAR_END = 0.02
_FEWEST_AT_ONE = 10


def unturned(
    corners: NDArray[np.float64],
    sizes: NDArray[np.float64],
    tables: Mapping[str, LabelTable],
    turned: Mapping[str, Collection[str]] | None,
    misfits: tuple[Place, ...] = (),
) -> Finding | None:
    """Find boxes that fit their image only before its EXIF flag turned it by a quarter.

    Boxes as fractions fit either way, so that nothing can be said of them.

    Args:
        corners: x1, y1, x2, y2 in pixels before any mending; (n, 4).
        sizes: width and height of the images as turned; (n, 2).
        tables: what was kept, by split.
        turned: by split, the images that are turned by a quarter.
        misfits: where boxes had to be mended or rejected.
    """
    places = [
        image_place(split, tables[split], image, "turned by its EXIF flag")
        for split, image in _named_images(tables, turned)
    ]
    if not places:
        return None
    wanted = of_turned_images(sizes, tables, turned)
    wrong = ~fitting(corners, sizes)
    explained = wrong & fitting(corners, sizes[:, ::-1])
    inside, elsewhere = wrong[wanted], wrong[~wanted]
    count = int(explained[wanted].sum())
    if count < _FEWEST_MISFITS or count < _EXPLAINED * inside.sum():
        return None
    if len(elsewhere) and inside.mean() < _MUCH_MORE_OFTEN * elsewhere.mean():
        return None
    files = {place.label_file for place in places if place.label_file}
    lines = tuple(place for place in misfits if place.label_file in files)
    return Finding(
        "boxes_of_unturned_image",
        "error",
        f"{counted(count, 'box fits its', 'boxes fit their')} image only as it was before its EXIF "
        f"flag turned it; {counted(len(places), 'image is', 'images are')} turned.",
        "Turn the pictures for good (exiftran, mogrify -auto-orient) and their boxes with them, or "
        "remove the flag: whoever labelled saw the unturned picture, training sees the turned one.",
        (*lines, *places)[:MOST_PLACES],
        {"misfits": count, "turned_images": len(places)},
    )


def of_turned_images(
    sizes: NDArray[np.float64],
    tables: Mapping[str, LabelTable],
    turned: Mapping[str, Collection[str]] | None,
) -> NDArray[np.bool_]:
    """Say which sizes, (n, 2), are those of turned images; others may share them."""
    found = [tables[split].sizes[image] for split, image in _named_images(tables, turned)]
    keys = np.array(found, dtype=np.float64).reshape(-1, 2) @ (1.0, _LARGEST_SIDE)
    return np.isin(sizes @ (1.0, _LARGEST_SIDE), keys)


def check_label_sizes(
    tables: Mapping[str, LabelTable], stated: Mapping[str, Mapping[str, tuple[int, int]]]
) -> list[Finding]:
    """Find images whose label file says another size than they have.

    Args:
        tables: by split.
        stated: by split, width and height that the label file says of an image, by its name;
            zeros are taken as not said.
    """
    places, factors = [], []
    unturned_only = True
    for split, said in stated.items():
        table = tables.get(split)
        for image, name in enumerate(table.names if table is not None else ()):
            width, height = said.get(name, (0, 0))
            if table is None or width <= 0 or height <= 0:
                continue
            own = tuple(table.sizes[image].tolist())
            if own == (width, height):
                continue
            unturned_only &= own == (height, width)
            factors.append((width / own[0], height / own[1]))
            detail = f"the label file says {width}x{height} px, the image has {own[0]}x{own[1]}"
            places.append(image_place(split, table, image, detail))
    if not places:
        return []
    ratio = np.array(factors)
    alike = bool(np.allclose(ratio, ratio[0, 0], rtol=0.01))
    scale = f" All by the factor {ratio[0, 0]:.3g}: the images were resized." if alike else ""
    what = " with width and height exchanged, as before an EXIF turn" if unturned_only else ""
    return [
        Finding(
            "label_size_differs",
            # The size may be all that is wrong: other checks look where the boxes are.
            "warning",
            f"{counted(len(places), 'label file was', 'label files were')} made for an image of "
            f"another size{what}.{scale}",
            "Look whether the boxes are in their places in the pictures. If not, take the images "
            "that were labelled, or export the labels again for these.",
            tuple(places[:MOST_PLACES]),
            {"images": len(places), "factor": round(float(ratio[0, 0]), 4) if alike else None},
        )
    ]


def other_size(
    corners: NDArray[np.float64],
    sizes: NDArray[np.float64],
    tables: Mapping[str, LabelTable],
    misfits: tuple[Place, ...] = (),
) -> Finding | None:
    """Find boxes that all end at the same share of their images' width and height, far from 1.

    Boxes of a data set as a whole reach to all four edges. Where they start at the left and top
    but end at, say, half of the width and half of the height, they were made for images of half
    the size; where they end at twice both, for images of twice the size.
    """
    images = sum(int((np.diff(table.starts) > 0).sum()) for table in tables.values())
    if len(corners) < _FEWEST_OBJECTS or images < _FEWEST_IMAGES:
        return None
    starts = corners[:, :2] / sizes
    ends = corners[:, 2:] / sizes
    # A few boxes may be anything; the one in a thousand at the end is the frame.
    across, down = np.quantile(ends, 0.999, axis=0)
    near_start = bool((np.quantile(starts, 0.005, axis=0) < _NEAR_START).all())
    alike = abs(across - down) <= _ALIKE * max(across, down)
    dense = bool(((ends > 0.9 * np.array([across, down])).mean(axis=0) >= _NEAR_END).all())
    if not (near_start and alike and dense):
        return None
    factor = float(across + down) / 2
    wrong = float((~fitting(corners, sizes)).mean())
    larger = factor > _LARGER and wrong >= _LARGER_MISFITS
    if not larger and factor >= _SMALLER:
        return None
    width, height = np.median(sizes, axis=0).tolist()
    example = f"{factor * width:.0f}x{factor * height:.0f} where it has {width:.0f}x{height:.0f} px"
    return Finding(
        "boxes_of_other_size",
        "error" if larger else "warning",
        f"All boxes end at {percent(factor)} of their images' width and height, as if made for "
        f"images of {factor:.2g} times the size ({example}).",
        "Take the images that were labelled, or scale the boxes to these. Nothing else explains "
        "boxes that start at the left and top but end alike in both directions.",
        misfits if larger and misfits else _images_with_objects(tables, "see its lower right"),
        {"factor": round(factor, 4), "outside": round(wrong, 4)},
    )


def counted_from_one(corners: NDArray[np.float64], sizes: NDArray[np.float64]) -> Finding | None:
    """Find corners in whole pixels that start at 1 but never at 0, and end at the full width."""
    if not len(corners) or (corners % 1).any() or (corners[:, :2] < 1).any():
        return None
    at_one = int((corners[:, :2] == 1).any(axis=1).sum())
    at_end = int((corners[:, 2:] == sizes).any(axis=1).sum())
    if min(at_one, at_end) < _FEWEST_AT_ONE:
        return None
    return Finding(
        "pixels_count_from_one",
        "note",
        f"Pixels are counted from 1: {at_one:,} boxes start at 1 and none at 0, while {at_end:,} "
        "end at the full width or height.",
        "Give data.first_pixel=1 to have the boxes half a pixel to a pixel better.",
        (),
        {"start_at_one": at_one, "end_at_full": at_end},
    )


def _named_images(
    tables: Mapping[str, LabelTable], names: Mapping[str, Collection[str]] | None
) -> list[tuple[str, int]]:
    """Return split and row of the images that are named."""
    wanted = {split: frozenset(listed) for split, listed in (names or {}).items()}
    return [
        (split, image)
        for split, listed in wanted.items()
        if split in tables
        for image, name in enumerate(tables[split].names)
        if name in listed
    ]


def _images_with_objects(tables: Mapping[str, LabelTable], detail: str) -> tuple[Place, ...]:
    places = (
        image_place(split, table, image, detail)
        for split, table in tables.items()
        for image in np.flatnonzero(np.diff(table.starts)).tolist()
    )
    return tuple(place for place, _ in zip(places, range(MOST_PLACES), strict=False))

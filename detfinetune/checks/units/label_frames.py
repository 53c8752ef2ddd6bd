"""Finds labels made for another version of the image: before EXIF rotation, or of another size."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from detfinetune.checks.findings import Finding, Place
from detfinetune.checks.places import MOST_PLACES, counted, image_place, percent
from detfinetune.labels.dataset.table import LabelTable
from detfinetune.labels.parsing.hypotheses import fitting

_FEWEST_MISFITS = 3
_LARGEST_SIDE = 1e6
_EXPLAINED = 0.9
_MUCH_MORE_OFTEN = 5
_FEWEST_OBJECTS, _FEWEST_IMAGES = 100, 20
_SAME_FACTOR = 0.05
_NEAR_START = 0.05
_SMALLER, _LARGER = 0.8, 1.25
_LARGER_MISFITS = 0.2
_NEAR_END = 0.02
_FEWEST_AT_ONE = 10


def check_exif_rotation(
    xyxy: NDArray[np.float64],
    sizes: NDArray[np.float64],
    tables: Mapping[str, LabelTable],
    rotated: Mapping[str, Collection[str]] | None,
    misfits: tuple[Place, ...] = (),
) -> Finding | None:
    """Find boxes that fit their image only before its EXIF rotation by 90 degrees.

    Normalized boxes fit either way, so nothing is known about them.

    Args:
        xyxy: in pixels before any fix; (n, 4).
        sizes: width and height of the rotated images; (n, 2).
        tables: labels that were kept, by split.
        rotated: by split, the images that EXIF rotates by 90 degrees.
        misfits: places of boxes that were fixed or rejected.
    """
    places = [
        image_place(split, tables[split], image, "rotated by its EXIF flag")
        for split, image in _named_images(tables, rotated)
    ]
    if not places:
        return None
    wanted = of_rotated_images(sizes, tables, rotated)
    wrong = ~fitting(xyxy, sizes)
    explained = wrong & fitting(xyxy, sizes[:, ::-1])
    inside, elsewhere = wrong[wanted], wrong[~wanted]
    count = int(explained[wanted].sum())
    if count < _FEWEST_MISFITS or count < _EXPLAINED * inside.sum():
        return None
    if len(elsewhere) and inside.mean() < _MUCH_MORE_OFTEN * elsewhere.mean():
        return None
    flagged = {(place.split, place.image) for place in places}
    lines = tuple(place for place in misfits if (place.split, place.image) in flagged)
    # Sizes alone do not tell a flagged image from another of its size.
    if misfits and len(lines) < _EXPLAINED * min(count, MOST_PLACES):
        return None
    return Finding(
        "boxes_before_exif_rotation",
        "error",
        f"{counted(count, 'box fits its', 'boxes fit their')} image only before EXIF rotation; "
        f"{counted(len(places), 'image is', 'images are')} rotated.",
        "Remove the EXIF flag, or rotate the images (exiftran, mogrify -auto-orient) and their "
        "boxes: they were labelled before rotation, but training rotates them.",
        (*lines, *places)[:MOST_PLACES],
        {"misfits": count, "rotated_images": len(places)},
    )


def of_rotated_images(
    sizes: NDArray[np.float64],
    tables: Mapping[str, LabelTable],
    rotated: Mapping[str, Collection[str]] | None,
) -> NDArray[np.bool_]:
    """Return which sizes, (n, 2), are those of rotated images; others may share them."""
    found = [tables[split].sizes[image] for split, image in _named_images(tables, rotated)]
    keys = np.array(found, dtype=np.float64).reshape(-1, 2) @ (1.0, _LARGEST_SIDE)
    return np.isin(sizes @ (1.0, _LARGEST_SIDE), keys)


def check_label_sizes(
    tables: Mapping[str, LabelTable],
    stated: Mapping[str, Mapping[str, tuple[int, int]]],
    rotated: Mapping[str, Collection[str]] | None = None,
) -> list[Finding]:
    """Find images whose label file states another size.

    Args:
        tables: by split.
        stated: by split and image name, width and height in the label file; zero if not stated.
        rotated: by split, the images that EXIF rotates by 90 degrees; None if unknown.
    """
    places, factors = [], []
    swapped_only = flagged_only = True
    for split, said in stated.items():
        table = tables.get(split)
        for image, name in enumerate(table.names if table is not None else ()):
            width, height = said.get(name, (0, 0))
            if table is None or width <= 0 or height <= 0:
                continue
            own = tuple(table.sizes[image].tolist())
            if own == (width, height):
                continue
            swapped_only &= own == (height, width)
            flagged_only &= name in (rotated or {}).get(split, ())
            factors.append((width / own[0], height / own[1]))
            detail = f"label file: {width}x{height} px, image: {own[0]}x{own[1]} px"
            places.append(image_place(split, table, image, detail))
    if not places:
        return []
    ratio = np.array(factors)
    factor = float(ratio[0, 0]) if np.allclose(ratio, ratio[0, 0], rtol=0.01) else None
    scale = f" All by a factor of {factor:.3g}: the images were resized." if factor else ""
    why = ", as before EXIF rotation" if flagged_only else ""
    what = f" (width and height swapped{why})" if swapped_only else ""
    return [
        Finding(
            "image_size_mismatch",
            # Perhaps only the stated size is wrong: other checks look at the boxes.
            "warning",
            f"{counted(len(places), 'label file was', 'label files were')} made for an image of "
            f"another size{what}.{scale}",
            "Check whether the boxes are in the right places. If so, correct the size in the "
            "label files. If not, use the images that were labelled, or export the labels again "
            "for these.",
            tuple(places[:MOST_PLACES]),
            {"images": len(places), "factor": round(factor, 4) if factor else None},
        )
    ]


def check_box_scale(
    xyxy: NDArray[np.float64],
    sizes: NDArray[np.float64],
    tables: Mapping[str, LabelTable],
    misfits: tuple[Place, ...] = (),
) -> Finding | None:
    """Find boxes that are all scaled by one factor, because the images were resized.

    The boxes of a data set usually reach all four image edges. If they start at the left and top
    but end at half the width and half the height, they were made for images of half the size; if
    they end at twice both, for images of twice the size.
    """
    images = sum(int((np.diff(table.starts) > 0).sum()) for table in tables.values())
    if len(xyxy) < _FEWEST_OBJECTS or images < _FEWEST_IMAGES:
        return None
    starts = xyxy[:, :2] / sizes
    ends = xyxy[:, 2:] / sizes
    # The 99.9th percentile ignores a few wrong boxes.
    across, down = np.quantile(ends, 0.999, axis=0)
    near_start = bool((np.quantile(starts, 0.005, axis=0) < _NEAR_START).all())
    same_factor = abs(across - down) <= _SAME_FACTOR * max(across, down)
    dense = bool(((ends > 0.9 * np.array([across, down])).mean(axis=0) >= _NEAR_END).all())
    if not (near_start and same_factor and dense):
        return None
    factor = float(across + down) / 2
    wrong = float((~fitting(xyxy, sizes)).mean())
    larger = factor > _LARGER and wrong >= _LARGER_MISFITS
    if not larger and factor >= _SMALLER:
        return None
    width, height = np.median(sizes, axis=0).tolist()
    example = f"{factor * width:.0f}x{factor * height:.0f} where it has {width:.0f}x{height:.0f} px"
    return Finding(
        "box_scale_mismatch",
        "error" if larger else "warning",
        f"All boxes end at {percent(factor)} of the image width and height, as if made for images "
        f"of {factor:.2g} times the size ({example}).",
        "Use the images that were labelled, or scale the boxes to these.",
        misfits if larger and misfits else _images_with_objects(tables, "check the lower right"),
        {"factor": round(factor, 4), "outside": round(wrong, 4)},
    )


def check_one_based(xyxy: NDArray[np.float64], sizes: NDArray[np.float64]) -> Finding | None:
    """Find one-based pixels: boxes start at 1 but never at 0, and end at the full width."""
    if not len(xyxy) or (xyxy % 1).any() or (xyxy[:, :2] < 1).any():
        return None
    at_one = int((xyxy[:, :2] == 1).any(axis=1).sum())
    at_end = int((xyxy[:, 2:] == sizes).any(axis=1).sum())
    if min(at_one, at_end) < _FEWEST_AT_ONE:
        return None
    return Finding(
        "one_based_pixels",
        "note",
        f"Pixel coordinates are one-based: {at_one:,} boxes start at 1, none at 0, and {at_end:,} "
        "end at the full width or height.",
        "Rerun with data.first_pixel=1, which makes boxes accurate by up to a pixel.",
        (),
        {"start_at_one": at_one, "end_at_full": at_end},
    )


def _named_images(
    tables: Mapping[str, LabelTable], names: Mapping[str, Collection[str]] | None
) -> list[tuple[str, int]]:
    """Return split and row of the named images."""
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

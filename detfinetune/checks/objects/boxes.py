"""Check boxes that are valid but probably wrong: thin, tiny, image-sized, truncated, duplicate.

Reading already fixes or rejects invalid boxes (outside, no area, swapped corners, exact
duplicates); those are in the ledger. These checks look at the boxes that were kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from detfinetune.checks.findings import Finding
from detfinetune.checks.objects.box_pairs import check_box_pairs
from detfinetune.checks.objects.group_statistics import grouped_median, grouped_spread
from detfinetune.checks.places import AllObjects, counted, percent
from detfinetune.labels.dataset.table import LabelTable

THIN_PIXELS = 3.0
"""A box is thin if a side is below this and it is far more elongated than its class."""

TINY_AREA = 4.0
"""A box with a smaller area, in square pixels, is too small to learn from."""

FULL_SHARE = 0.98
"""A box covers the image when width and height are at least this share of the image's."""

EDGE_PIXELS = 1.0
"""Boxes this close to an edge touch it: some tools count pixels from 1."""

_THIN_ELONGATION = 8.0
_THIN_FACTOR = 4.0
_FAR, _LEAST_SPREAD = 3.5, 0.2
_FEWEST_OF_CLASS = 10
_FEWEST_AT_EDGE = 20
_EDGE_FACTOR = 1.5
_ONE_SIDED_SHARE = 0.03
_ONE_SIDED_FACTOR = 10
_MOSTLY_CROWD = 0.5


def check_boxes(tables: Mapping[str, LabelTable], classes: Sequence[str]) -> list[Finding]:
    """Return all findings about single boxes and pairs of boxes (polygons: `check_polygons`).

    Args:
        tables: by split.
        classes: names by contiguous class id.
    """
    objects = AllObjects(tables)
    if not len(objects):
        return []
    tiny = ~objects.crowd & (objects.areas < TINY_AREA)
    found = [
        _tiny(objects, tiny, classes),
        _thin(objects, tiny, classes),
        _covering(objects, classes),
        _at_edges(objects),
        _crowds(objects),
    ]
    return [
        *(finding for finding in found if finding is not None),
        *check_box_pairs(tables, classes),
    ]


def _tiny(objects: AllObjects, tiny: NDArray[np.bool_], classes: Sequence[str]) -> Finding | None:
    indices = np.flatnonzero(tiny)
    if not len(indices):
        return None
    return Finding(
        "tiny_box",
        "warning",
        f"{counted(len(indices), 'box has', 'boxes have')} an area below {TINY_AREA:g} px².",
        "Most are accidental clicks: remove them. Otherwise they count as false negatives in "
        "evaluation and teach the detector false positives.",
        objects.places(indices, lambda i: f"{_name(objects, i, classes)} of {_size(objects, i)}"),
        {"objects": len(indices), "below_px2": TINY_AREA},
    )


def _thin(objects: AllObjects, tiny: NDArray[np.bool_], classes: Sequence[str]) -> Finding | None:
    """Find boxes with a side below 3 px that are far more elongated than their class.

    Both conditions are needed: small round objects have short sides too, and wires or cracks are
    always thin. The aspect ratio must be at least 8, and 4 times the median of the class.
    """
    short = objects.boxes[:, 2:].min(axis=1)
    elongation = objects.boxes[:, 2:].max(axis=1) / short
    usual = grouped_median(elongation, objects.categories, len(classes))[objects.categories]
    thin = (short < THIN_PIXELS) & (
        elongation >= np.maximum(_THIN_ELONGATION, _THIN_FACTOR * usual)
    )
    indices = np.flatnonzero(thin & ~tiny & ~objects.crowd)
    if not len(indices):
        return None
    at_edge = np.asarray(edges_touched(objects).any(axis=1))

    def detail(index: int) -> str:
        remains = "; at the image edge, perhaps left by a crop" if at_edge[index] else ""
        return (
            f"{_name(objects, index, classes)} of {_size(objects, index)}, "
            f"aspect ratio {elongation[index]:.0f}:1, class median {usual[index]:.1f}:1{remains}"
        )

    return Finding(
        "thin_box",
        "warning",
        f"{counted(len(indices), 'box is', 'boxes are')} thin: a side below "
        f"{THIN_PIXELS:g} px, and far more elongated than the class.",
        "Remove or redraw them: such boxes are accidents or left over from a crop. No anchor fits "
        "them, and an error of one pixel halves their IoU.",
        objects.places(indices, detail),
        {"objects": len(indices), "at_edge": int(at_edge[indices].sum()), "below_px": THIN_PIXELS},
    )


def _covering(objects: AllObjects, classes: Sequence[str]) -> Finding | None:
    """Find boxes as large as their image; a warning if the class is usually much smaller.

    Much smaller means 3.5 robust standard deviations of the logarithm of size. In COCO, a bowl may
    fill the image, because bowls come in all sizes; an airplane seen from above may not.
    """
    sizes = objects.image_sizes
    covering = (objects.boxes[:, 2:] >= FULL_SHARE * sizes).all(axis=1) & ~objects.crowd
    if not covering.any():
        return None
    share = objects.areas / np.prod(sizes, axis=1)
    medians, spreads = grouped_spread(np.log(share), objects.categories, len(classes))
    usual = np.exp(medians)[objects.categories]
    spread = np.maximum(spreads, _LEAST_SPREAD)[objects.categories]
    known = np.bincount(objects.categories, minlength=len(classes)) >= _FEWEST_OF_CLASS
    unusual = covering & known[objects.categories] & (np.log(share / usual) > _FAR * spread)
    indices = np.flatnonzero(unusual if unusual.any() else covering)
    figures = {"objects": int(covering.sum()), "unusual_for_class": int(unusual.sum())}
    if unusual.any():
        return Finding(
            "box_covers_image",
            "warning",
            f"{counted(len(indices), 'box covers', 'boxes cover')} the whole image, unlike other "
            "boxes of the class.",
            "Check them: they may be image-level tags or defaults exported as boxes. Remove those "
            "that are not an object.",
            objects.places(
                indices,
                lambda i: (
                    f"{_name(objects, i, classes)} of {_size(objects, i)}; usually "
                    f"{percent(usual[i])} of the image"
                ),
            ),
            figures,
        )
    return Finding(
        "box_covers_image",
        "note",
        f"{counted(len(indices), 'box covers', 'boxes cover')} the whole image, in classes of "
        "all sizes.",
        "If every image has such a box, these are classification labels: a detector cannot learn "
        "positions from them.",
        objects.places(indices, lambda i: f"{_name(objects, i, classes)} of {_size(objects, i)}"),
        figures,
    )


def _at_edges(objects: AllObjects) -> Finding | None:
    """Find more boxes at the image edges than expected, or at the right and bottom edge only.

    An object of size w x h at a random position that is visible in an image of W x H is truncated
    with probability 1 - (W - w)(H - h) / (W + w)(H + h). Real data stays below that (at most half
    of it in four public data sets), so 1.5 times as many are suspicious. Labels made for a larger
    image are clipped at the right and bottom edge only.
    """
    touching = edges_touched(objects) & ~objects.crowd[:, None]
    touched = touching.any(axis=1)
    count = int(touched.sum())
    if count < _FEWEST_AT_EDGE:
        return None
    free = ~touched & ~objects.crowd
    sizes, images = objects.boxes[free, 2:], objects.image_sizes[free]
    expected = (
        float((1 - np.prod((images - sizes) / (images + sizes), axis=1)).mean())
        if (free.any())
        else 0.0
    )
    left, top, right, bottom = (int(n) for n in touching.sum(axis=0))
    share = count / max(int((~objects.crowd).sum()), 1)
    figures = {
        "objects": count, "share": round(share, 4), "expected_share": round(expected, 4),
        "left": left, "top": top, "right": right, "bottom": bottom,
    }  # fmt: skip
    one_sided = min(right, bottom) >= max(
        _FEWEST_AT_EDGE / 2, _ONE_SIDED_SHARE * len(objects), _ONE_SIDED_FACTOR * max(left, top)
    )
    if not one_sided and share <= _EDGE_FACTOR * expected:
        return None
    why = (
        f"at the right ({right}) and bottom ({bottom}) edge, but not at the left ({left}) and "
        f"top ({top})"
        if one_sided
        else f"at an edge ({percent(share)}; {percent(expected)} expected at random positions)"
    )
    return Finding(
        "boxes_at_edge",
        "warning",
        f"{counted(count, 'box ends', 'boxes end')} {why}.",
        "Check a few: this happens when labels of a larger image, or of another crop, are clipped "
        "to this one. Export the labels again for these images.",
        objects.places(np.flatnonzero(touched), lambda i: f"box of {_size(objects, i)}"),
        figures,
    )


def _crowds(objects: AllObjects) -> Finding | None:
    count = int(objects.crowd.sum())
    if not count:
        return None
    share = count / len(objects)
    mostly = share > _MOSTLY_CROWD
    return Finding(
        "crowd_regions",
        "warning" if mostly else "note",
        f"{counted(count, 'label is a crowd region', 'labels are crowd regions')} "
        f"({percent(share)}).",
        "Training and evaluation ignore them, and detections inside them."
        + (" With so many, the flag (iscrowd, IsGroupOf) may be set by mistake." if mostly else ""),
        objects.places(np.flatnonzero(objects.crowd), lambda i: f"region of {_size(objects, i)}"),
        {"objects": count, "share": round(share, 4)},
    )


def edges_touched(objects: AllObjects) -> NDArray[np.bool_]:
    """Return whether boxes touch the left, top, right, bottom edge; (objects, 4)."""
    low = objects.boxes[:, :2] <= EDGE_PIXELS
    high = objects.boxes[:, :2] + objects.boxes[:, 2:] >= objects.image_sizes - EDGE_PIXELS
    return np.concatenate([low, high], axis=1)


def _name(objects: AllObjects, index: int, classes: Sequence[str]) -> str:
    return classes[objects.category(index)]


def _size(objects: AllObjects, index: int) -> str:
    width, height = objects.boxes[index, 2:].tolist()
    image_width, image_height = objects.sizes_of_images[objects.images[index]].tolist()
    return f"{width:.4g}x{height:.4g} px in {image_width}x{image_height}"

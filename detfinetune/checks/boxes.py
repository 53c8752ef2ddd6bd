"""Boxes that are valid but hardly meant: hair-thin, specks, as large as the image, cut, doubled.

What reading already mends or rejects (outside, no area, swapped corners, exact duplicates) is in
the ledger; here is what shows only in the boxes that were kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from detfinetune.checks.box_pairs import check_box_pairs
from detfinetune.checks.findings import Finding
from detfinetune.checks.groups import grouped_median, grouped_spread
from detfinetune.checks.places import AllObjects, counted, percent
from detfinetune.labels.dataset.table import LabelTable

THIN_PIXELS = 3.0
"""A side below this is hair-thin, if the box is also far more drawn out than its class."""

SPECK_AREA = 4.0
"""Square pixels below which a box shows nothing that could be learned."""

FULL_SHARE = 0.98
"""A box covers the image when width and height are at least this share of the image's."""

EDGE_PIXELS = 1.0
"""How near an edge counts as touching it: some tools count pixels from 1."""

_THIN_ELONGATION = 8.0
_THIN_FACTOR = 4.0
_FAR, _LEAST_SPREAD = 3.5, 0.2
_FEWEST_TO_JUDGE = 10
_FEWEST_AT_EDGE = 20
_EDGE_FACTOR = 1.5
_ONE_SIDED_SHARE = 0.03
_ONE_SIDED_FACTOR = 10
_MOSTLY_CROWD = 0.5


def check_boxes(tables: Mapping[str, LabelTable], classes: Sequence[str]) -> list[Finding]:
    """Return every finding about single boxes and pairs of boxes (outlines: `check_polygons`).

    Args:
        tables: by split.
        classes: names by contiguous class id.
    """
    objects = AllObjects(tables)
    if not len(objects):
        return []
    specks = ~objects.crowd & (objects.areas < SPECK_AREA)
    found = [
        _specks(objects, specks, classes),
        _thin(objects, specks, classes),
        _covering(objects, classes),
        _at_edges(objects),
        _crowds(objects),
    ]
    return [
        *(finding for finding in found if finding is not None),
        *check_box_pairs(tables, classes),
    ]


def _specks(
    objects: AllObjects, specks: NDArray[np.bool_], classes: Sequence[str]
) -> Finding | None:
    indices = np.flatnonzero(specks)
    if not len(indices):
        return None
    return Finding(
        "speck",
        "warning",
        f"{counted(len(indices), 'box has', 'boxes have')} an area below {SPECK_AREA:g} px².",
        "Most are slips of the mouse: remove them. Left in, they count as missed objects in "
        "evaluation and teach the detector to fire on nothing.",
        objects.places(indices, lambda i: f"{_name(objects, i, classes)} of {_size(objects, i)}"),
        {"objects": len(indices), "below_px2": SPECK_AREA},
    )


def _thin(objects: AllObjects, specks: NDArray[np.bool_], classes: Sequence[str]) -> Finding | None:
    """Find boxes with a side below 3 px that are far more drawn out than their class.

    Both are asked for: small round objects have short sides too, and wires or cracks are thin by
    nature. Thin: the longer side is 8 times the shorter, and 4 times as many as the class's
    median object has.
    """
    short = objects.boxes[:, 2:].min(axis=1)
    elongation = objects.boxes[:, 2:].max(axis=1) / short
    usual = grouped_median(elongation, objects.categories, len(classes))[objects.categories]
    thin = (short < THIN_PIXELS) & (
        elongation >= np.maximum(_THIN_ELONGATION, _THIN_FACTOR * usual)
    )
    indices = np.flatnonzero(thin & ~specks & ~objects.crowd)
    if not len(indices):
        return None
    at_edge = np.asarray(edges_touched(objects).any(axis=1))

    def detail(index: int) -> str:
        remains = "; at the image's edge, so perhaps what a crop left" if at_edge[index] else ""
        return (
            f"{_name(objects, index, classes)} of {_size(objects, index)}, "
            f"{elongation[index]:.0f}:1 where {usual[index]:.1f}:1 is usual{remains}"
        )

    return Finding(
        "thin_box",
        "warning",
        f"{counted(len(indices), 'box is', 'boxes are')} hair-thin: a side below "
        f"{THIN_PIXELS:g} px, and far more drawn out than the class.",
        "Remove or redraw them: such a box is a slip or the remains of a cut. No anchor fits one, "
        "and one pixel more or less halves its IoU.",
        objects.places(indices, detail),
        {"objects": len(indices), "at_edge": int(at_edge[indices].sum()), "below_px": THIN_PIXELS},
    )


def _covering(objects: AllObjects, classes: Sequence[str]) -> Finding | None:
    """Find boxes as large as their image, above all where objects of the class are much smaller.

    Much smaller: 3.5 robust standard deviations of the logarithm of size. In COCO a bowl may fill
    the picture, because bowls come in all sizes; an airplane seen from above may not.
    """
    sizes = objects.image_sizes
    covering = (objects.boxes[:, 2:] >= FULL_SHARE * sizes).all(axis=1) & ~objects.crowd
    if not covering.any():
        return None
    share = objects.areas / np.prod(sizes, axis=1)
    medians, spreads = grouped_spread(np.log(share), objects.categories, len(classes))
    usual = np.exp(medians)[objects.categories]
    spread = np.maximum(spreads, _LEAST_SPREAD)[objects.categories]
    known = np.bincount(objects.categories, minlength=len(classes)) >= _FEWEST_TO_JUDGE
    unusual = covering & known[objects.categories] & (np.log(share / usual) > _FAR * spread)
    indices = np.flatnonzero(unusual if unusual.any() else covering)
    figures = {"objects": int(covering.sum()), "unusual_for_class": int(unusual.sum())}
    if unusual.any():
        return Finding(
            "box_covers_image",
            "warning",
            f"{counted(len(indices), 'box covers', 'boxes cover')} the whole image, unlike others "
            "of the class.",
            "Look at them: a whole-image tag exported as a box, or a default nobody drew. Remove "
            "those that are no object.",
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
        "Where every image has one such box, the labels say what is in the image but not where; "
        "a detector cannot learn places from them.",
        objects.places(indices, lambda i: f"{_name(objects, i, classes)} of {_size(objects, i)}"),
        figures,
    )


def _at_edges(objects: AllObjects) -> Finding | None:
    """Find more boxes at the images' edges than chance puts there, or at right and bottom alone.

    An object of size w x h that lies anywhere about an image of W x H and shows in it is cut with
    probability 1 - (W - w)(H - h) / (W + w)(H + h). Photographers aim, so real sets stay below
    that (at most half of it in four public sets); half as many again are suspicious. Labels
    made for a larger image are cut at the right and bottom edge only.
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
        else f"at an edge ({percent(share)}), where {percent(expected)} would be cut by chance"
    )
    return Finding(
        "boxes_at_edge",
        "warning",
        f"{counted(count, 'box ends', 'boxes end')} {why}.",
        "Look at a few: labels made for a larger image (or another crop of it) and cut to this "
        "one look like this. Convert again from the labels that belong to these images.",
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
        "Training leaves them out, and evaluation neither asks for them nor counts detections "
        "inside them as wrong."
        + (" So many look like a flag set by mistake (iscrowd, IsGroupOf)." if mostly else ""),
        objects.places(np.flatnonzero(objects.crowd), lambda i: f"region of {_size(objects, i)}"),
        {"objects": count, "share": round(share, 4)},
    )


def edges_touched(objects: AllObjects) -> NDArray[np.bool_]:
    """Say whether boxes touch the left, top, right, bottom edge; (objects, 4)."""
    low = objects.boxes[:, :2] <= EDGE_PIXELS
    high = objects.boxes[:, :2] + objects.boxes[:, 2:] >= objects.image_sizes - EDGE_PIXELS
    return np.concatenate([low, high], axis=1)


def _name(objects: AllObjects, index: int, classes: Sequence[str]) -> str:
    return classes[objects.category(index)]


def _size(objects: AllObjects, index: int) -> str:
    width, height = objects.boxes[index, 2:].tolist()
    image_width, image_height = objects.sizes_of_images[objects.images[index]].tolist()
    return f"{width:.4g}x{height:.4g} px in {image_width}x{image_height}"

"""Boxes against the model's anchors and input size: what the detector could find at best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detfinetune.checks.anchor_fit import (
    Sizes,
    best_ious,
    cell_anchors,
    cluster_sides,
    resize_scales,
)
from detfinetune.checks.findings import Finding, Severity
from detfinetune.checks.places import AllObjects, percent
from detfinetune.labels.dataset.table import LabelTable

SMALL_PIXELS = 8.0
"""Side after resizing below which an object is two cells of the finest feature map at most."""

FITTING_IOU = 0.5
POSITIVE_IOU = 0.7
"""From this IoU on an anchor is trained as an object (Detectron2's RPN.IOU_THRESHOLDS)."""

_LOW_RECALL, _FAIR_RECALL = 0.8, 0.9
_SOME_SMALL, _MANY_SMALL = 0.1, 0.5
_WANTED_PIXELS = 16.0
_BETTER_BY = 0.05
_STEP = 32
_MOST_TO_SUGGEST_FROM = 50_000
_USUAL_RATIOS = (0.5, 1.0, 2.0)


@dataclass(frozen=True)
class AnchorSettings:
    """What a model's proposals start from, in pixels of the resized image."""

    image_size: int
    """Shorter side after resizing."""

    max_size: int
    """Limit of the longer side."""

    anchor_sizes: Sizes
    """Anchor sides for each stride, one or several."""

    aspect_ratios: tuple[float, ...] = _USUAL_RATIOS
    """Height over width."""

    strides: tuple[int, ...] = (4, 8, 16, 32, 64)
    """Of each feature level, finest first."""


def check_anchors(
    tables: Mapping[str, LabelTable],
    classes: Sequence[str],
    *,
    image_size: int,
    max_size: int,
    anchor_sizes: Sizes,
    aspect_ratios: Sequence[float] = _USUAL_RATIOS,
    strides: Sequence[int] = (4, 8, 16, 32, 64),
) -> list[Finding]:
    """Return findings about the training objects' sizes and shapes after resizing.

    Args:
        tables: by split; `train` is looked at, or all where there is none.
        classes: names by contiguous class id.
        image_size: shorter side after resizing, pixels.
        max_size: limit of the longer side, pixels.
        anchor_sizes: sides for each stride, one (as `model.anchor_sizes`) or several.
        aspect_ratios: height over width of anchors.
        strides: of the feature levels, finest first, as many as `anchor_sizes`.

    Raises:
        ValueError: not as many sizes as strides.
    """
    settings = AnchorSettings(
        image_size, max_size, anchor_sizes, tuple(aspect_ratios), tuple(strides)
    )
    objects = AllObjects({"train": tables["train"]} if "train" in tables else tables)
    wanted = np.flatnonzero(~objects.crowd)
    if not len(wanted):
        return []
    scales = resize_scales(objects.image_sizes[wanted], image_size, max_size)
    boxes = objects.boxes[wanted] * np.tile(scales, 2)
    images = objects.image_sizes[wanted] * scales
    found = [
        _small(objects, wanted, boxes, settings, classes),
        _recall(objects, wanted, boxes, images, settings, classes),
    ]
    return [finding for finding in found if finding is not None]


def _small(
    objects: AllObjects,
    wanted: NDArray[np.int64],
    boxes: NDArray[np.float64],
    settings: AnchorSettings,
    classes: Sequence[str],
) -> Finding | None:
    sides = np.sqrt(boxes[:, 2] * boxes[:, 3])
    small = sides < SMALL_PIXELS
    share = float(small.mean())
    if share < _SOME_SMALL:
        return None
    median = float(np.median(sides))
    size = _rounded_up(settings.image_size * _WANTED_PIXELS / median)
    longer = _rounded_up(settings.max_size * size / settings.image_size)
    severity: Severity = "warning" if share >= _MANY_SMALL else "note"
    enlarge = (
        f"With augment.image_size={size} augment.max_size={longer} the median object has "
        f"{_WANTED_PIXELS:g} px. "
        if median < _WANTED_PIXELS
        else ""
    )
    order = np.flatnonzero(small)[np.argsort(sides[small], kind="stable")]
    by_index = dict(zip(wanted[order].tolist(), sides[order].tolist(), strict=True))
    return Finding(
        "small_after_resizing",
        severity,
        f"{percent(share)} of the training objects are smaller than {SMALL_PIXELS:g} px after "
        f"resizing to {settings.image_size} px (median {median:.1f} px).",
        f"{enlarge}Where the pictures themselves have no more pixels, enlarging helps anchors but "
        "adds nothing to see. Large images with small objects are better cut into tiles "
        "(augment.crop_size trains on crops).",
        objects.places(
            wanted[order],
            lambda i: f"{classes[objects.category(i)]}: {by_index[i]:.1f} px after resizing",
        ),
        {
            "share": round(share, 4), "objects": int(small.sum()),
            "median_px": round(median, 2), "image_size_suggested": size,
            "below_px": SMALL_PIXELS,
        },
    )  # fmt: skip


def _recall(
    objects: AllObjects,
    wanted: NDArray[np.int64],
    boxes: NDArray[np.float64],
    images: NDArray[np.float64],
    settings: AnchorSettings,
    classes: Sequence[str],
) -> Finding | None:
    """Compare boxes with anchors; where few fit, look for anchors that fit more.

    Detectron2's RPN trains the best anchor of every object, whatever its IoU, so that low recall
    does not lose objects in training; but their proposals start far off.
    """
    anchors = cell_anchors(settings.anchor_sizes, settings.aspect_ratios, settings.strides)
    best = best_ious(boxes, images, anchors)
    recall = float((best >= FITTING_IOU).mean())
    if recall >= _FAIR_RECALL:
        return None
    figures = {
        "recall": round(recall, 4),
        "recall_positive": round(float((best >= POSITIVE_IOU).mean()), 4),
        "mean_best_iou": round(float(best.mean()), 4),
    }
    sizes, ratios, reached = suggest_anchors(boxes, images, settings)
    advice = (
        "Where these are small objects, a larger augment.image_size is what helps; no anchors fit "
        "clearly more of them."
    )
    if reached >= recall + _BETTER_BY:
        options = f"model.anchor_sizes=[{','.join(f'{size:g}' for size in sizes)}]"
        if ratios != settings.aspect_ratios:
            listed = ",".join(f"{ratio:g}" for ratio in ratios)
            options += f" 'detectron2.MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS=[[{listed}]]'"
        advice = f"{options} fits {percent(reached)} of them."
        figures |= {"suggested_recall": round(reached, 4)}
    order = np.argsort(best, kind="stable")
    order = order[best[order] < FITTING_IOU]
    by_index = dict(zip(wanted[order].tolist(), best[order].tolist(), strict=True))
    return Finding(
        "anchor_recall",
        "warning" if recall < _LOW_RECALL else "note",
        f"Only {percent(recall)} of the training objects have an anchor with an IoU of "
        f"{FITTING_IOU:g} or more.",
        advice,
        objects.places(
            wanted[order],
            lambda i: f"{classes[objects.category(i)]}: best anchor has IoU {by_index[i]:.2f}",
        ),
        {
            **figures,
            "anchor_sizes_suggested": list(sizes), "aspect_ratios_suggested": list(ratios),
        },
    )  # fmt: skip


def suggest_anchors(
    boxes: NDArray[np.float64], images: NDArray[np.float64], settings: AnchorSettings
) -> tuple[tuple[float, ...], tuple[float, ...], float]:
    """Return one anchor size a stride, aspect ratios, and the share of boxes that they fit.

    Sizes are the typical sides of as many clusters as there are strides, or doubled from the 20th
    smallest percent on; ratios those in use, or the quantiles of the boxes' own. What fits most
    boxes is taken, the ratios in use where others fit no more than a hundredth better.

    Args:
        boxes: left, top, width, height in pixels of the resized image; (n, 4), at least one.
        images: width and height of the resized image of each box; (n, 2).
        settings: the strides and the aspect ratios in use.
    """
    step = max(1, len(boxes) // _MOST_TO_SUGGEST_FROM)
    boxes, images = boxes[::step], images[::step]
    levels = len(settings.strides)
    clusters = cluster_sides(boxes[:, 2:], levels)
    sides = np.sqrt(np.prod(boxes[:, 2:], axis=1))
    first = max(round(float(np.quantile(sides, 0.2))), 4)
    sizes = {
        tuple(sorted(max(round(side), 4) for side in np.sqrt(np.prod(clusters, axis=1)).tolist())),
        tuple(first * 2**level for level in range(levels)),
    }
    shapes = np.exp(np.quantile(np.log(boxes[:, 3] / boxes[:, 2]), (0.1, 0.5, 0.9)))
    own = tuple(sorted({float(f"{ratio:.2g}") for ratio in shapes.tolist()}))
    best: tuple[tuple[float, ...], tuple[float, ...], float] = ((), (), -1.0)
    for ratios, handicap in ((settings.aspect_ratios, 0.0), (own, 0.01)):
        for size in sorted(sizes):
            anchors = cell_anchors(size, ratios, settings.strides)
            recall = float((best_ious(boxes, images, anchors) >= FITTING_IOU).mean())
            if recall - handicap > best[2]:
                best = (tuple(map(float, size)), ratios, recall)
    return best


def _rounded_up(pixels: float) -> int:
    return int(-(-pixels // _STEP) * _STEP)

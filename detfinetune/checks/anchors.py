"""Check object sizes after resizing, and how well the model's anchors fit them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from detfinetune.checks.anchor_choice import CLEARLY_MORE, anchor_candidates, choose_anchors
from detfinetune.checks.anchor_fit import (
    FITTING_IOU,
    AnchorSettings,
    best_ious,
    cell_anchors,
    resized,
)
from detfinetune.checks.findings import Finding, Severity
from detfinetune.checks.places import AllObjects, percent
from detfinetune.config.anchors import AnchorSizes
from detfinetune.labels.dataset.table import LabelTable

SMALL_PIXELS = 8.0
"""Objects with smaller sides after resizing cover at most two cells of the finest feature map."""

POSITIVE_IOU = 0.7
"""Anchors with at least this IoU are positives in training (Detectron2's RPN.IOU_THRESHOLDS)."""

_LOW_RECALL, _FAIR_RECALL = 0.8, 0.9
_SOME_SMALL, _MANY_SMALL = 0.1, 0.5
_WANTED_PIXELS = 16.0
_STEP = 32


def check_anchors(
    tables: Mapping[str, LabelTable], classes: Sequence[str], settings: AnchorSettings
) -> list[Finding]:
    """Return findings about the training objects' sizes and shapes after resizing.

    Args:
        tables: by split; only `train` is checked, or all splits where there is no `train`.
        classes: names by contiguous class id.
        settings: the model's anchors and input size.

    Raises:
        ValueError: `anchor_sizes` and `strides` differ in length.
    """
    objects = AllObjects({"train": tables["train"]} if "train" in tables else tables)
    wanted = np.flatnonzero(~objects.crowd)
    if not len(wanted):
        return []
    boxes, images = resized(objects.boxes[wanted], objects.image_sizes[wanted], settings)
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
        f"{enlarge}Upscaling beyond the original resolution helps the anchors but adds no detail. "
        "For large images with small objects, train on crops (augment.crop_size) or tile the "
        "images.",
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
    """Compare boxes with anchors; if few fit, look for anchors that fit more.

    Detectron2's RPN trains the best anchor of every object, whatever its IoU, so low recall does
    not lose objects in training. But their proposals start far off.
    """
    best = best_ious(boxes, images, cell_anchors(settings))
    recall = float((best >= FITTING_IOU).mean())
    if recall >= _FAIR_RECALL:
        return None
    figures = {
        "recall": round(recall, 4),
        "recall_positive": round(float((best >= POSITIVE_IOU).mean()), 4),
        "mean_best_iou": round(float(best.mean()), 4),
    }
    candidates = [
        replace(settings, anchor_sizes=anchors.sizes, aspect_ratios=anchors.ratios)
        for anchors in anchor_candidates(boxes, settings.strides)
    ]
    index, reached = choose_anchors(boxes, images, candidates)
    suggested = candidates[index]
    advice = "No other anchors fit clearly more. For small objects, raise augment.image_size."
    if reached >= recall + CLEARLY_MORE:
        options = f"model.anchor_sizes={_listed(suggested.anchor_sizes)}"
        if suggested.aspect_ratios != settings.aspect_ratios:
            options += f" model.anchor_ratios={_listed(suggested.aspect_ratios)}"
        advice = f"Rerun with {options}: those anchors fit {percent(reached)} of the objects."
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
            "anchor_sizes_suggested": list(suggested.anchor_sizes),
            "aspect_ratios_suggested": list(suggested.aspect_ratios),
        },
    )  # fmt: skip


def _listed(values: AnchorSizes) -> str:
    """Return numbers, or lists of them, as they are written on the command line."""
    parts = (_listed(value) if isinstance(value, Sequence) else f"{value:g}" for value in values)
    return f"[{','.join(parts)}]"


def _rounded_up(pixels: float) -> int:
    return int(-(-pixels // _STEP) * _STEP)

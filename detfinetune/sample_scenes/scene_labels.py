"""Makes labels from the map of instances: visible polygons and their bounding boxes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from detfinetune.sample_scenes.canvas import Canvas
from detfinetune.sample_scenes.noise import Mask
from detfinetune.sample_scenes.settings import SUPERSAMPLE, SceneSettings

_SIMPLIFY = 0.4
"""Maximum distance, in final pixels, of a simplified polygon from the contour."""


@dataclass(frozen=True)
class SceneLabel:
    """A labelled object, in final pixels."""

    category: int
    box: tuple[float, float, float, float]
    """xyxy, in steps of half a pixel."""

    polygon: tuple[tuple[float, float], ...]
    """Points of the visible polygon; its bounding box is `box`."""


def largest_part(mask: Mask) -> Mask:
    """Return the largest connected part of a mask, with holes filled."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros(mask.shape, np.uint8)
    if contours:
        cv2.drawContours(filled, [max(contours, key=cv2.contourArea)], -1, 1, cv2.FILLED)
    return filled.astype(bool)


def visible_share(canvas: Canvas, number: int) -> float:
    """Return the visible share of an instance's area."""
    seen = int(np.count_nonzero(canvas.owner == number))
    return seen / max(canvas.instances[number - 1].full_area, 1.0)


def visible_labels(canvas: Canvas, settings: SceneSettings) -> list[SceneLabel]:
    """Return labels of all instances that are sufficiently visible."""
    labels = []
    for instance in canvas.instances:
        if visible_share(canvas, instance.number) < settings.min_visibility:
            continue
        label = _label_of(canvas, instance.number, instance.category)
        if label is None:
            continue
        left, top, right, bottom = label.box
        low, high = settings.side_limits
        if min(right - left, bottom - top) >= low and max(right - left, bottom - top) <= high:
            labels.append(label)
    return labels


def _label_of(canvas: Canvas, number: int, category: int) -> SceneLabel | None:
    mask = (canvas.owner == number).astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return None
    contour = max(contours, key=cv2.contourArea)
    left, top, width, height = cv2.boundingRect(contour)
    corners = cv2.approxPolyDP(contour, _SIMPLIFY * SUPERSAMPLE, True).reshape(-1, 2)
    if len(corners) < 3 or width < 2 or height < 2:
        return None
    # Contours run through pixel centres. Scale them to the outer edges of the pixels, so that the
    # polygon's bounding box is the box.
    low, high = corners.min(axis=0), corners.max(axis=0)
    share = (corners - low) / np.maximum(high - low, 1)
    polygon = (np.array([left, top]) + share * np.array([width, height])) / SUPERSAMPLE
    box = (left, top, left + width, top + height)
    return SceneLabel(
        category,
        (box[0] / SUPERSAMPLE, box[1] / SUPERSAMPLE, box[2] / SUPERSAMPLE, box[3] / SUPERSAMPLE),
        tuple((float(x), float(y)) for x, y in polygon),
    )

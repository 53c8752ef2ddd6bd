"""What correcting proposals costs, and the score from which on they are worth showing.

Measured on images that a person has labelled, in units of the time that deleting a box takes:
proposals are compared with the labels as they would be edited. Imports without torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as mask_api

ADD = 3
"""Cost of drawing a box and choosing its class."""

ADJUST = 2
"""Cost of moving the edges of a box."""

DELETE = 1

ACCEPTED_IOU = 0.75
"""Overlap with a label of its class from which on a proposal is accepted as it is."""

ADJUSTED_IOU = 0.5
"""Overlap from which on it is adjusted; below, it is deleted and the object drawn."""


@dataclass(frozen=True, eq=False)
class Boxes:
    """Proposals or labels of one image."""

    xywh: NDArray[np.floating]
    """x1, y1, width, height in pixels; (n, 4)."""

    class_ids: NDArray[np.integer]
    """(n,)."""

    scores: NDArray[np.floating]
    """0-1, (n,); of labels, any."""


@dataclass(frozen=True)
class ClassCost:
    """What a class costs when the proposals from a score on are shown."""

    threshold: float | None
    """The score with the least cost; None where drawing all objects by hand is no dearer."""

    cost: int
    """Of correcting the proposals from that score on, or of drawing."""

    by_hand: int
    """Cost of drawing all objects."""

    @property
    def labels(self) -> int:
        """Number of labels that this was measured on."""
        return self.by_hand // ADD


def class_costs(
    proposals: Sequence[Boxes], labels: Sequence[Boxes], num_classes: int
) -> list[ClassCost]:
    """Choose the score threshold of each class with the least cost of editing.

    Args:
        proposals: of each image.
        labels: of the same images.
        num_classes: class ids run from 0 to this.
    """
    return [_class_cost(proposals, labels, class_id) for class_id in range(num_classes)]


def cheapest(sources: Mapping[str, Sequence[ClassCost]]) -> str:
    """Return the source of proposals with the least cost over all classes, the first of several.

    Args:
        sources: costs by class of at least one source, measured on the same images.
    """
    return min(sources, key=lambda name: sum(found.cost for found in sources[name]))


def _class_cost(proposals: Sequence[Boxes], labels: Sequence[Boxes], class_id: int) -> ClassCost:
    num_labels = 0
    scores: list[float] = []
    changes: list[int] = []
    for proposed, labelled in zip(proposals, labels, strict=True):
        own = proposed.class_ids == class_id
        wanted = labelled.xywh[labelled.class_ids == class_id]
        num_labels += len(wanted)
        scores += proposed.scores[own].tolist()
        changes += _changes(proposed.xywh[own], proposed.scores[own], wanted)
    by_hand = ADD * num_labels
    if not scores:
        return ClassCost(None, by_hand, by_hand)
    order = np.argsort(-np.array(scores), kind="stable")
    ranked = np.array(scores)[order]
    costs = by_hand + np.cumsum(np.array(changes)[order])
    # Proposals of one score are shown together.
    costs = np.where(np.append(ranked[1:] < ranked[:-1], True), costs, by_hand)
    best = int(costs.argmin())
    if costs[best] >= by_hand:
        return ClassCost(None, by_hand, by_hand)
    return ClassCost(float(ranked[best]), int(costs[best]), by_hand)


def _changes(
    proposed: NDArray[np.floating], scores: NDArray[np.floating], wanted: NDArray[np.floating]
) -> list[int]:
    """Return by how much each proposal of a class in an image changes the cost of drawing it all.

    Each takes the label that it overlaps most of those that no better proposal has taken, whatever
    the threshold: those below it come later.
    """
    if not len(proposed) or not len(wanted):
        return [DELETE] * len(proposed)
    ious = mask_api.iou(
        proposed.astype(np.float64),
        wanted.astype(np.float64),
        np.zeros(len(wanted), dtype=np.uint8),
    )
    changes = [DELETE] * len(proposed)
    for at in np.argsort(-scores, kind="stable"):
        label = int(ious[at].argmax())
        if ious[at, label] >= ADJUSTED_IOU:
            changes[at] = (0 if ious[at, label] >= ACCEPTED_IOU else ADJUST) - ADD
            ious[:, label] = 0
    return changes

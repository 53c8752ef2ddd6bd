"""Chooses anchors for the user, for every family that has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from detfinetune.checks.anchor_choice import (
    CLEARLY_MORE,
    AnchorSet,
    anchor_candidates,
    aspect_ratios,
    choose_anchors,
)
from detfinetune.checks.anchor_fit import FITTING_IOU, AnchorSettings, anchor_recall, resized
from detfinetune.checks.places import percent
from detfinetune.config.anchors import (
    DEFAULT_ASPECT_RATIOS,
    anchor_size_problems,
    anchors_per_level,
)
from detfinetune.labels.dataset.statistics import DatasetStatistics
from detfinetune.models.choices import Choices

_USUAL = list(DEFAULT_ASPECT_RATIOS)


def choose_anchor_keys(
    choices: Choices,
    statistics: DatasetStatistics,
    model: str,
    strides: Sequence[int],
    own: AnchorSet | None = None,
) -> None:
    """Choose `model.anchor_sizes` and `model.anchor_ratios`; the image size is chosen before.

    Args:
        choices: takes the choices.
        statistics: of the training split.
        model: name, as `anchors_per_level` takes it.
        strides: of the feature levels in pixels, finest first.
        own: anchors that pretrained weights know, kept unless others fit clearly more.
    """
    sizes, ratios = choices.get("model.anchor_sizes"), choices.get("model.anchor_ratios")
    if anchor_size_problems(model, sizes, strides):
        # The family's check reports them.
        ratios = choices.choose("model.anchor_ratios", lambda: (_USUAL, "usual"))
    if sizes is not None and ratios is not None:
        return
    plain = AnchorSettings(choices.get("augment.image_size"), choices.get("augment.max_size"), ())
    boxes, images = resized(statistics.boxes, statistics.box_image_sizes, plain)
    candidates = anchor_candidates(boxes, strides, octaves="retinanet" in model)
    if own is not None:
        # As many, or the weights of the RPN would not fit.
        candidates = [own, *(c for c in candidates if c.per_position == own.per_position)]
    if sizes is not None:
        candidates = [AnchorSet(sizes, kind) for kind in aspect_ratios(boxes)]
    elif ratios is not None:
        shapes = candidates[0].ratios
        candidates = [replace(c, ratios=tuple(ratios)) for c in candidates if c.ratios == shapes]
    chosen, reason = candidates[0], "no objects in the data"
    if len(boxes):
        settings = [
            replace(
                plain, anchor_sizes=anchors_per_level(model, c.sizes), aspect_ratios=c.ratios,
                strides=tuple(strides),
            )
            for c in candidates
        ]  # fmt: skip
        index, recall = choose_anchors(boxes, images, settings)
        if index and own is not None:
            recall_of_own = anchor_recall(boxes, images, settings[0])
            if recall < recall_of_own + CLEARLY_MORE:
                index, recall = 0, recall_of_own
        chosen = candidates[index]
        whose = "those of the weights; they " if chosen == own else ""
        reason = f"{whose}fit {percent(recall)} of the objects (IoU of {FITTING_IOU:g} or more)"
    choices.choose("model.anchor_sizes", lambda: (list(chosen.sizes), reason))
    shape = "usual" if list(chosen.ratios) == _USUAL else "for long and flat objects"
    choices.choose("model.anchor_ratios", lambda: (list(chosen.ratios), reason if sizes else shape))

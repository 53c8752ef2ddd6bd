"""What proposes boxes: the protocol, and how the proposals of a model become those of an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import batched_nms, nms

from detfinetune.data.window import Window
from detfinetune.prediction import Prediction
from detfinetune.propose.prompts import Prompts

LEAST_SCORE = 0.05
"""Proposals below are never returned."""

SAME_CLASS_IOU = 0.6
"""Overlap from which on boxes of one class, as of two synonyms, are one object."""

_OTHER_CLASS_IOU = 0.8
_WHOLE_IMAGE = 0.95
_MOST = 300


class Proposer(Protocol):
    """A source of proposals."""

    name: str
    """For the user."""

    usual_threshold: float
    """Score from which on proposals are shown where nothing better is known."""

    window: Window | None
    """For grey levels of more than 8 bits; None: such images cannot be read."""

    def propose(self, images: Sequence[NDArray[np.uint8]], prompts: Prompts) -> list[Prediction]:
        """Return what is found of the classes in each image, with scores of 0.05 or more.

        Args:
            images: RGB, rotated by EXIF; (h, w, 3) each.
            prompts: what to look for.

        Raises:
            ConfigError: the model cannot look for one of the phrases.
        """


def merge_boxes(
    boxes: Tensor, scores: Tensor, class_ids: Tensor, classes: tuple[str, ...],
    width: int, height: int,
) -> Prediction:  # fmt: skip
    """Return the proposals of an image: the best box of each object, highest score first.

    Boxes of nearly the whole image, which zero-shot models give to scenes, are left out.

    Args:
        boxes: x1, y1, x2, y2 in pixels; (n, 4).
        scores: 0-1; (n,).
        class_ids: (n,).
        classes: names by class id.
        width: of the image, pixels.
        height: of the image, pixels.
    """
    boxes = boxes.clamp(min=0).minimum(boxes.new_tensor([width, height, width, height]))
    sides = boxes[:, 2:] - boxes[:, :2]
    sound = (sides >= 1).all(1) & (sides.prod(1) < _WHOLE_IMAGE * width * height)
    kept = torch.nonzero(sound & (scores >= LEAST_SCORE)).flatten()
    kept = kept[batched_nms(boxes[kept], scores[kept], class_ids[kept], SAME_CLASS_IOU)]
    kept = kept[nms(boxes[kept], scores[kept], _OTHER_CLASS_IOU)][:_MOST].cpu()
    return Prediction(
        boxes=boxes.cpu()[kept].numpy(),
        scores=scores.cpu()[kept].numpy(),
        class_ids=class_ids.cpu()[kept].numpy(),
        classes=classes,
        width=width,
        height=height,
    )

"""Resizing of images, the same for training, evaluation and prediction."""

from __future__ import annotations

from typing import Any

from detectron2.data import transforms as T
from fvcore.transforms.transform import Transform
from numpy.typing import NDArray


class ResizeShortestEdge(T.ResizeShortestEdge):  # type: ignore[misc]
    """Detectron2's resizing, except that each side keeps at least one pixel.

    Detectron2 rounds the shorter side of a very long image (20000x10) down to 0.
    """

    def get_transform(self, image: NDArray[Any]) -> Transform:
        """Return the transform for an image, HxWxC."""
        resize = super().get_transform(image)
        resize.new_h, resize.new_w = max(resize.new_h, 1), max(resize.new_w, 1)
        return resize

"""Samples as the input dicts of Detectron2's models."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from detectron2.structures import BitMasks, Boxes, Instances, PolygonMasks, polygons_to_bitmask

from detfinetune.data.sample import Sample


def pack(samples: list[Sample]) -> list[dict[str, Any]]:
    """Return `image` (CxHxW, 0-255), `instances`, and the file's `height` and `width` of each."""
    return [
        {
            "image": torch.from_numpy(np.ascontiguousarray(sample.image.transpose(2, 0, 1))),
            "instances": _instances(sample),
            "height": sample.height,
            "width": sample.width,
        }
        for sample in samples
    ]


def _instances(sample: Sample) -> Instances:
    size = sample.image.shape[:2]
    instances = Instances(size)
    instances.gt_boxes = Boxes(torch.from_numpy(sample.boxes.astype(np.float32)))
    instances.gt_classes = torch.from_numpy(sample.class_ids)
    if not sample.masks:
        return instances
    if any(isinstance(mask, np.ndarray) for mask in sample.masks):
        # One image has masks of one kind.
        bitmaps = [
            mask if isinstance(mask, np.ndarray) else polygons_to_bitmask(mask, *size)
            for mask in sample.masks
        ]
        instances.gt_masks = BitMasks(torch.from_numpy(np.stack(bitmaps)))
    else:
        instances.gt_masks = PolygonMasks(sample.masks)
    return instances

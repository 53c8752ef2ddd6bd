"""Faster R-CNN of torchvision, trained as its `references/detection/train.py` does by default.

Its grouping by aspect ratio is left out: in each data set here all images have the same one.
"""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.datasets import CocoDetection, wrap_dataset_for_transforms_v2
from torchvision.models.detection import FasterRCNN
from torchvision.ops import FeaturePyramidNetwork, box_convert
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool
from torchvision.transforms import v2

from detfinetune.evaluation.metrics import Detection
from detfinetune.models.rcnn.backbones import timm_fpn
from detfinetune.models.rcnn.backbones.timm_weights import backbone_state
from detfinetune.models.rcnn.d2_cfg import build_cfg, model_settings
from detfinetune.models.rcnn.weights import packaged_weights_file
from systems.timed import Data, System, seed_all, warm_up

_RATE, _BATCH, _EPOCHS, _DECAY_EPOCHS = 0.02, 16, 26, (16, 22)
_WARMUP_STEPS = 1000
_FPN_CHANNELS = 256


class Pyramid(nn.Module):
    """A timm backbone in torchvision's FPN, as `BackboneWithFPN` has it."""

    out_channels = _FPN_CHANNELS

    def __init__(self, backbone: str, freeze_at: int) -> None:
        super().__init__()
        with patch.object(timm_fpn, "fold_frozen_norms"):
            self.body = timm_fpn.TimmBody(backbone, freeze_at)
        channels = [level.channels for level in self.body.levels]
        self.fpn = FeaturePyramidNetwork(channels, _FPN_CHANNELS, LastLevelMaxPool())

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return feature maps 0, 1, 2, 3, pool."""
        maps = self.body(images).values()
        features: dict[str, Tensor] = self.fpn(OrderedDict(zip("0123", maps, strict=True)))
        return features


def build_torchvision(data: Data) -> FasterRCNN:
    """Build the model with ImageNet's weights in its backbone; class 0 is the background."""
    cfg = build_cfg(model_settings(data.config, len(data.classes)))
    pyramid = Pyramid(cfg.MODEL.TIMM.NAME, cfg.MODEL.BACKBONE.FREEZE_AT)
    pyramid.body.body.load_state_dict(backbone_state(cfg.MODEL.TIMM.NAME, packaged_weights_file()))
    return FasterRCNN(
        pyramid,
        num_classes=len(data.classes) + 1,
        min_size=data.config.augment.image_size,
        max_size=data.config.augment.max_size,
        image_mean=[value / 255 for value in cfg.MODEL.PIXEL_MEAN],
        image_std=[value / 255 for value in cfg.MODEL.PIXEL_STD],
        box_detections_per_img=data.config.evaluation.detections_per_image,
    )


def torchvision_system(data: Data, seed: int) -> System:
    """Return the model in training with the reference's optimizer, schedule and augmentation."""
    seed_all(seed)
    model = build_torchvision(data)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=_RATE, momentum=0.9, weight_decay=1e-4)
    batch, workers = data.config.solver.images_per_batch, data.config.hardware.num_workers
    train, val = (_dataset(data, split, train=split == "train") for split in ("train", "val"))
    loader = DataLoader(train, batch, shuffle=True, drop_last=True, num_workers=workers,
                        collate_fn=_collate)  # fmt: skip
    batches = itertools.chain.from_iterable(loader for _ in itertools.count())

    def step() -> None:
        losses = sum(model(*next(batches)).values())
        if not math.isfinite(losses.item()):
            raise FloatingPointError(f"loss {losses}")
        optimizer.zero_grad()
        losses.backward()
        optimizer.step()

    def detect() -> list[Detection]:
        test_loader = DataLoader(val, 1, num_workers=workers, collate_fn=_collate)
        return [
            found
            for images, targets in test_loader
            for target, output in zip(targets, model(images), strict=True)
            for found in _results(target["image_id"], output)
        ]

    def rate(steps: int, share: float) -> float:
        decay = 0.1 ** sum(share >= epoch / _EPOCHS for epoch in _DECAY_EPOCHS)
        warm = warm_up(steps / min(_WARMUP_STEPS, len(loader) - 1))
        return _RATE * batch / _BATCH * decay * warm

    return System(model, optimizer, step, rate, detect)


def _dataset(data: Data, split: str, *, train: bool) -> Any:
    path, images = data.split(split)
    steps = [v2.PILToTensor(), *([v2.RandomHorizontalFlip(0.5)] if train else []),
             v2.ToDtype(torch.float, scale=True), v2.ToPureTensor()]  # fmt: skip
    dataset = CocoDetection(images, path, transforms=v2.Compose(steps))
    if train:
        dataset.ids = [image for image in dataset.ids if dataset.coco.getAnnIds(image)]
    return wrap_dataset_for_transforms_v2(dataset, target_keys={"image_id", "boxes", "labels"})


def _collate(samples: list[tuple[Tensor, dict[str, Any]]]) -> tuple[list[Any], list[Any]]:
    images, targets = zip(*samples, strict=True)
    return list(images), list(targets)


def _results(image_id: int, output: dict[str, Tensor]) -> list[Detection]:
    boxes = box_convert(output["boxes"], "xyxy", "xywh").tolist()
    found = zip(boxes, output["labels"].tolist(), output["scores"].tolist(), strict=True)
    return [
        {"image_id": image_id, "category_id": label, "bbox": box, "score": score}
        for box, label, score in found
    ]

"""A detector family in its own package: each cell of a grid names the object it lies in."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.ops import batched_nms

from detfinetune.config.schema import ModelConfig, PositiveInt
from detfinetune.models.detection_model import DetectionModel
from detfinetune.models.family import BaseWeights, ModelFamily
from detfinetune.prediction import Prediction

STRIDE = 8


class GridSettings(ModelConfig):
    width: PositiveInt = 32


def pack(samples):
    images = np.stack([sample.image for sample in samples]).transpose(0, 3, 1, 2)
    return torch.from_numpy(images / np.float32(255)), samples


class GridModel(DetectionModel):
    def __init__(self, classes, width):
        super().__init__()
        self.classes = classes
        sizes = [(3, 2), (width, 2), (width, 2), (width, 1), (width, 1)]
        blocks = [nn.Sequential(nn.Conv2d(n, width, 3, s, 1), nn.ReLU()) for n, s in sizes]
        self.layers = nn.Sequential(*blocks, nn.Conv2d(width, len(classes) + 4, 1))

    def grid(self, images):
        """Return centres of cells (cells, 2), logits and boxes (N, cells, classes or 4)."""
        out = self.layers(images.to(next(self.parameters()).device))
        cells = torch.cartesian_prod(*(torch.arange(n) for n in out.shape[2:])).flip(1).to(out)
        centres = (cells + 0.5) * STRIDE
        out = out.flatten(2).transpose(1, 2)
        sides = F.softplus(out[..., -4:]) * STRIDE * out.new_tensor([-1, -1, 1, 1])
        return centres, out[..., :-4], centres.repeat(1, 2) + sides

    def forward(self, batch):
        centres, logits, boxes = self.grid(batch[0])
        wanted, targets = torch.zeros_like(logits), boxes.detach().clone()
        for image, sample in enumerate(batch[1]):
            objects = torch.from_numpy(sample.boxes).to(boxes)
            for box, kind in zip(objects, sample.class_ids, strict=True):
                inside = ((centres > box[:2]) & (centres < box[2:])).all(1)
                wanted[image, inside] = F.one_hot(torch.tensor(kind), len(self.classes)).to(wanted)
                targets[image, inside] = box
        count = max(float(wanted.sum()), 1.0)
        loss_class = F.binary_cross_entropy_with_logits(logits, wanted, reduction="sum") / count
        loss_box = F.l1_loss(boxes, targets, reduction="sum") / count / STRIDE
        return {"loss_class": loss_class, "loss_box": loss_box}

    def predict(self, batch, options):
        (_, logits, boxes), found = self.grid(batch[0]), []
        for sample, all_scores, box in zip(batch[1], logits.sigmoid(), boxes, strict=True):
            scores, kinds = all_scores.max(1)
            kept = batched_nms(box, scores, kinds, 0.5)[: options.detections_per_image]
            height, width = batch[0].shape[2:]
            box = box * box.new_tensor([sample.width / width, sample.height / height] * 2)
            numbers = (tensor[kept].cpu().numpy() for tensor in (box, scores, kinds))
            found.append(Prediction(*numbers, self.classes, sample.width, sample.height))
        return found


class GridFamily(ModelFamily):
    name, tasks, Settings = "grid", frozenset({"bbox"}), GridSettings
    accepts = staticmethod(lambda model_name: model_name == "grid")
    base_weights = staticmethod(lambda config: BaseWeights("random weights"))
    packer = staticmethod(lambda config, classes: pack)
    build = staticmethod(lambda config, classes, base: GridModel(classes, config.model.width))


FAMILY = GridFamily()

"""Detectron2's models as the engine sees them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from detectron2.evaluation.coco_evaluation import instances_to_coco_json
from detectron2.modeling.meta_arch import RetinaNet, retinanet
from detectron2.structures import Instances
from detectron2.utils.events import EventStorage
from fvcore.nn import sigmoid_focal_loss
from torch import Tensor, nn

from detfinetune.models.detection_model import DetectionModel, PredictOptions
from detfinetune.models.rcnn.backbones.stages import stage_depths
from detfinetune.prediction import Prediction

# TorchScript compiles Detectron2's own after its first calls, and then rounds gradients
# differently: a resumed run would not be the uninterrupted one.
retinanet.sigmoid_focal_loss_jit = sigmoid_focal_loss

_NORMALIZER = "loss_normalizer"
_FIRST_NORMALIZER = 100.0
# The names of the limit of detections in Detectron2's box predictors and in RetinaNet.
_LIMITS = ("test_topk_per_image", "max_detections_per_image")


class RcnnModel(DetectionModel):
    """A `GeneralizedRCNN` or `RetinaNet`; batches are lists of Detectron2's input dicts."""

    def __init__(self, model: nn.Module, classes: tuple[str, ...]) -> None:
        super().__init__()
        self.model = model
        self.classes = classes
        if isinstance(model, RetinaNet) and not hasattr(model, _NORMALIZER):
            # Detectron2 sets it in the first step, but it belongs to the state from the start.
            setattr(model, _NORMALIZER, _FIRST_NORMALIZER)

    def forward(self, batch: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Return the losses. Detectron2 has none in eval mode, so its heads are switched."""
        if self.training:
            losses: dict[str, Tensor] = self.model(batch)
            return losses
        with self._heads_in_training(), EventStorage():
            validation: dict[str, Tensor] = self.model(batch)
        return validation

    @contextmanager
    def _heads_in_training(self) -> Iterator[None]:
        """Set what chooses between losses and predictions, but no norm or dropout, to training."""
        switched = [
            module
            for name, module in self.model.named_modules()
            if not name.startswith("backbone")
            and not isinstance(module, (nn.modules.batchnorm._BatchNorm, nn.Dropout))
        ]
        for module in switched:
            module.training = True
        retina = isinstance(self.model, RetinaNet)
        if retina:
            # By the objects of these images, not by a moving average over batches of training.
            vars(self.model)["_ema_update"] = lambda name, value, *_: value
        try:
            yield
        finally:
            for module in switched:
                module.training = False
            if retina:
                del vars(self.model)["_ema_update"]

    def predict(self, batch: list[dict[str, Any]], options: PredictOptions) -> list[Prediction]:
        """Return what is found in each image."""
        for module in self.model.modules():
            for name in _LIMITS:
                if hasattr(module, name):
                    setattr(module, name, options.detections_per_image)
        outputs = self.model(batch)
        return [
            self._prediction(output["instances"].to("cpu"), image["height"], image["width"])
            for output, image in zip(outputs, batch, strict=True)
        ]

    def _prediction(self, found: Instances, height: int, width: int) -> Prediction:
        found = found[torch.argsort(found.scores, descending=True, stable=True)]
        masks = None
        if found.has("pred_masks"):
            masks = tuple(entry["segmentation"] for entry in instances_to_coco_json(found, 0))
        return Prediction(
            boxes=found.pred_boxes.tensor.float().numpy(),
            scores=found.scores.float().numpy(),
            class_ids=found.pred_classes.numpy().astype(np.int64),
            classes=self.classes,
            width=width,
            height=height,
            rle_masks=masks,
        )

    def depths(self) -> dict[str, int]:
        """Return the stages of the backbone, counted from the last one."""
        return {f"model.{name}": depth for name, depth in stage_depths(self.model).items()}

    def checkpoint_state(self) -> dict[str, Tensor]:
        """Return all weights, and RetinaNet's moving average of the number of objects."""
        state: dict[str, Tensor] = self.model.state_dict()
        normalizer = getattr(self.model, _NORMALIZER, None)
        if normalizer is not None:
            state[_NORMALIZER] = torch.tensor(float(normalizer), dtype=torch.float64)
        return state

    def load_checkpoint_state(self, state: dict[str, Tensor]) -> None:
        """Load all weights.

        Raises:
            RuntimeError: names or shapes differ.
        """
        weights = {name: value for name, value in state.items() if name != _NORMALIZER}
        self.model.load_state_dict(weights)
        if _NORMALIZER in state:
            setattr(self.model, _NORMALIZER, float(state[_NORMALIZER]))

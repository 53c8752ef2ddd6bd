"""Detectron2 as it comes: its trainer, loader, augmentation and kernels, without our fast paths."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import detectron2
from detectron2.config import CfgNode, get_cfg
from detectron2.data import MetadataCatalog, build_detection_test_loader
from detectron2.data.datasets import register_coco_instances
from detectron2.engine import DefaultTrainer, SimpleTrainer
from detectron2.evaluation.coco_evaluation import instances_to_coco_json
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from torch import nn

from detfinetune.evaluation.metrics import Detection
from detfinetune.models.rcnn.backbones import timm_fpn
from detfinetune.models.rcnn.build import load_base_weights
from detfinetune.models.rcnn.d2_cfg import build_cfg, model_settings
from detfinetune.models.rcnn.weights import find_base_weights
from systems.timed import Data, System, seed_all, warm_up

# Of the tutorial on training with custom data: constant after the default warm-up.
_TUTORIAL_RATE, _TUTORIAL_BATCH, _TUTORIAL_ROIS, _WARMUP_STEPS = 0.00025, 2, 128, 1000
# Of the model zoo's 1x schedule, for 16 images.
_ZOO_RATE, _ZOO_BATCH, _ZOO_DECAYS = 0.02, 16, (60 / 90, 80 / 90)
# A thousand steps are most of a run of minutes: the warm-up takes a tenth of it at most.
_WARMUP_SHARE = 0.1


def stock_cfg(data: Data, *, same: bool, tutorial: bool) -> CfgNode:
    """Return Detectron2's configuration.

    Args:
        data: train and val are registered as `stock_train` and `stock_val`.
        same: build our architecture, with our anchors; else the backbone in Detectron2's own
            Faster R-CNN with FPN: 256 channels, 1024 in the box head, 512 RoIs.
        tutorial: batch size and, with its own architecture, RoIs of the tutorial; else our batch.
    """
    ours = build_cfg(model_settings(data.config, len(data.classes)))
    cfg = ours.clone()
    cfg.defrost()
    if not same:
        cfg = get_cfg()
        configs = Path(detectron2.__file__).parent / "model_zoo" / "configs"
        cfg.merge_from_file(str(configs / "Base-RCNN-FPN.yaml"))
        for key in ("BACKBONE", "TIMM", "PIXEL_MEAN", "PIXEL_STD"):
            cfg.MODEL[key] = ours.MODEL[key]
        cfg.MODEL.FPN.IN_FEATURES = ours.MODEL.FPN.IN_FEATURES
        cfg.MODEL.ROI_HEADS.NUM_CLASSES = len(data.classes)
        if tutorial:
            cfg.MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE = _TUTORIAL_ROIS
    for key in ("FORMAT", "MIN_SIZE_TRAIN", "MAX_SIZE_TRAIN", "MIN_SIZE_TEST", "MAX_SIZE_TEST"):
        cfg.INPUT[key] = ours.INPUT[key]
    cfg.TEST.DETECTIONS_PER_IMAGE = ours.TEST.DETECTIONS_PER_IMAGE
    cfg.MODEL.DEVICE = data.config.hardware.device
    cfg.DATALOADER.NUM_WORKERS = data.config.hardware.num_workers
    cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = True
    cfg.DATASETS.TRAIN = ("stock_train",)
    solver = data.config.solver
    cfg.SOLVER.IMS_PER_BATCH = _TUTORIAL_BATCH if tutorial else solver.images_per_batch
    for split in ("train", "val"):
        name = f"stock_{split}"
        if name not in MetadataCatalog.list():
            path, images = data.split(split)
            register_coco_instances(name, {}, str(path), images)
    return cfg


def build_stock(cfg: CfgNode) -> nn.Module:
    """Build Detectron2's model: NCHW, torchvision's ROIAlign, norms of their own."""
    with patch.object(timm_fpn, "fold_frozen_norms"):
        model: nn.Module = build_model(cfg)
    return model


def stock_system(data: Data, seed: int, *, same: bool, tutorial: bool) -> System:
    """Return the trainer that `DefaultTrainer` makes, with its model, optimizer and loader."""
    seed_all(seed)
    cfg = stock_cfg(data, same=same, tutorial=tutorial)
    model = build_stock(cfg)
    load_base_weights(model, find_base_weights(data.config.model.name, "auto", "bbox"))
    optimizer = DefaultTrainer.build_optimizer(cfg, model)
    trainer = SimpleTrainer(model, DefaultTrainer.build_train_loader(cfg), optimizer)
    storage = EventStorage()
    test_loader = build_detection_test_loader(cfg, "stock_val")

    def step() -> None:
        with storage:
            trainer.iter = storage.iter
            trainer.run_step()
            storage.step()

    def detect() -> list[Detection]:
        return [found for batch in test_loader for found in _results(batch, model(batch))]

    batch = cfg.SOLVER.IMS_PER_BATCH

    def rate(steps: int, share: float) -> float:
        if tutorial:
            return _TUTORIAL_RATE * warm_up(steps / _WARMUP_STEPS)
        decay = 0.1 ** sum(share >= at for at in _ZOO_DECAYS)
        warm = warm_up(max(steps / _WARMUP_STEPS, share / _WARMUP_SHARE))
        return float(_ZOO_RATE * batch / _ZOO_BATCH * decay * warm)

    return System(model, optimizer, step, rate, detect)


def _results(batch: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> list[Detection]:
    """Return COCO results; category ids are 1, 2, ..."""
    return [
        {**found, "category_id": found["category_id"] + 1}
        for image, output in zip(batch, outputs, strict=True)
        for found in instances_to_coco_json(output["instances"], image["image_id"])
    ]

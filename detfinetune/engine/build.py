"""Builds the model of a run and what trains it."""

from __future__ import annotations

from functools import partial

from detfinetune.config.resolved import RunConfig
from detfinetune.data.loaders import build_train_loader, seed_everything
from detfinetune.data.pipeline import build_train_pipeline
from detfinetune.data.register import register_split
from detfinetune.engine.distributed import parallel_model
from detfinetune.engine.ema import AveragedWeights
from detfinetune.engine.optimizer import build_optimizer, learning_rate
from detfinetune.engine.trainer import Trainer
from detfinetune.families import family_of
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.models.detection_model import DetectionModel
from detfinetune.models.family import BaseWeights


def build_model(
    config: RunConfig, classes: tuple[str, ...], base: BaseWeights | None, device: str
) -> DetectionModel:
    """Build the model of a run on its device, with the same random numbers every time."""
    seed_everything(config.seed)
    return family_of(config.model.name).build(config, classes, base).to(device)


def build_trainer(
    config: RunConfig,
    dataset: LabelledDataset,
    model: DetectionModel,
    device: str,
    *,
    start_iter: int = 0,
    averaged: AveragedWeights | None = None,
) -> Trainer:
    """Build the training loop of a run, which begins after `start_iter` steps."""
    solver = config.solver
    batches = build_train_loader(
        register_split(dataset, "train"),
        build_train_pipeline(config, dataset.classes),
        images_per_batch=solver.images_per_batch,
        accumulate=solver.accumulate,
        seed=config.seed,
        start_iter=start_iter,
        num_workers=config.hardware.num_workers,
        repeat_threshold=solver.repeat_threshold,
        empty_share=solver.empty_share,
    )
    return Trainer(
        parallel_model(model),
        batches,
        build_optimizer(model, solver),
        learning_rate=partial(learning_rate, solver),
        device=device,
        precision=config.hardware.precision,
        seed=config.seed,
        clip_norm=solver.clip_norm,
        accumulate=solver.accumulate,
        averaged=averaged,
    )

"""Builds the model of a run and what trains it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from detfinetune.config.resolved import RunConfig
from detfinetune.data.loaders import TrainLoader, seed_everything
from detfinetune.data.pipeline import build_train_pipeline
from detfinetune.data.register import register_split
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


def build_loader(config: RunConfig, dataset: LabelledDataset) -> TrainLoader:
    """Build what loads the training images of a run."""
    solver = config.solver
    return TrainLoader(
        register_split(dataset, "train"),
        build_train_pipeline(config, dataset.classes),
        images_per_batch=solver.images_per_batch,
        seed=config.seed,
        num_workers=config.hardware.num_workers,
        repeat_threshold=solver.repeat_threshold,
        empty_share=solver.empty_share,
    )


def build_trainer(
    config: RunConfig,
    model: DetectionModel,
    loader: TrainLoader,
    device: str,
    *,
    averaged: AveragedWeights | None = None,
    keep_batch: Callable[[int], str] | None = None,
) -> Trainer:
    """Build the training loop of a run; see `Trainer`."""
    solver = config.solver
    return Trainer(
        model,
        loader,
        build_optimizer(model, solver),
        learning_rate=partial(learning_rate, solver),
        device=device,
        precision=config.hardware.precision,
        seed=config.seed,
        clip_norm=solver.clip_norm,
        accumulate=solver.accumulate,
        averaged=averaged,
        keep_batch=keep_batch,
    )

"""The optimizer and its learning rate at a step."""

from __future__ import annotations

import torch

from detfinetune.config.resolved import RunSolver
from detfinetune.engine.schedule import learning_rate_factor
from detfinetune.models.detection_model import DetectionModel


def build_optimizer(model: DetectionModel, solver: RunSolver) -> torch.optim.Optimizer:
    """Return the optimizer for all parameters that are not frozen.

    Each group has its `lr_factor`, by which the trainer multiplies the learning rate.
    """
    groups = [
        {
            "params": group.params,
            "lr_factor": group.lr_factor,
            "weight_decay": solver.weight_decay if group.decays else 0.0,
        }
        for group in model.param_groups(solver.layer_decay)
    ]
    if solver.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=solver.base_lr)
    return torch.optim.SGD(groups, lr=solver.base_lr, momentum=0.9)


def learning_rate(solver: RunSolver, iteration: int) -> float:
    """Return the learning rate of step `iteration`, from 0."""
    return solver.base_lr * learning_rate_factor(
        iteration, solver.max_iter, solver.warmup_iters, solver.decay
    )

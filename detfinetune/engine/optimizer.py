"""The optimizer and its learning rate at a step."""

from __future__ import annotations

import torch
from detectron2.solver.build import get_default_optimizer_params
from torch import nn

from detfinetune.config.schema import SolverConfig
from detfinetune.engine.recipe import settled
from detfinetune.engine.schedule import learning_rate_factor


def build_optimizer(model: nn.Module, solver: SolverConfig) -> torch.optim.Optimizer:
    """Return the optimizer of a resolved configuration for all parameters that are not frozen."""
    rate, decay = settled(solver.base_lr), settled(solver.weight_decay)
    # No weight decay on norms and biases: they do not overfit, and decay drives norms to zero.
    groups = get_default_optimizer_params(
        model, base_lr=rate, weight_decay=decay, weight_decay_norm=0.0, weight_decay_bias=0.0
    )
    if solver.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=rate, weight_decay=decay)
    return torch.optim.SGD(groups, lr=rate, momentum=0.9, weight_decay=decay)


def learning_rate(solver: SolverConfig, iteration: int) -> float:
    """Return the learning rate of step `iteration`, from 0, of a resolved configuration."""
    factor = learning_rate_factor(
        iteration, settled(solver.max_iter), settled(solver.warmup_iters), solver.decay
    )
    return settled(solver.base_lr) * factor

"""The configuration of a run, in which nothing is left to choose.

The same keys as in `schema`, without `None` for what the recipe chooses. It is what a run keeps in
`config.yaml` and in its checkpoints.
"""

from __future__ import annotations

from detfinetune.config.schema import (
    AugmentConfig,
    Decay,
    EvaluationConfig,
    Fraction,
    HardwareConfig,
    NonNegativeFloat,
    NonNegativeInt,
    Optimizer,
    PositiveFloat,
    PositiveInt,
    Precision,
    SolverConfig,
    TrainConfig,
)


class RunAugment(AugmentConfig):
    """Image sizes and augmentation."""

    image_size: PositiveInt
    max_size: PositiveInt
    crop_size: NonNegativeInt


class RunSolver(SolverConfig):
    """Optimizer and schedule."""

    optimizer: Optimizer
    base_lr: PositiveFloat
    weight_decay: NonNegativeFloat
    images_per_batch: PositiveInt
    accumulate: PositiveInt = 1
    max_iter: PositiveInt
    warmup_iters: NonNegativeInt
    decay: Decay
    checkpoint_period: PositiveInt
    # Runs of older versions lack these.
    repeat_threshold: Fraction = 0.0
    empty_share: Fraction = 1.0


class RunHardware(HardwareConfig):
    """Settings of the machine."""

    precision: Precision


class RunEvaluation(EvaluationConfig):
    """How and when to evaluate."""

    eval_period: NonNegativeInt
    detections_per_image: PositiveInt


class RunConfig(TrainConfig):
    """A training run, from `engine.recipe.resolve_recipe`."""

    augment: RunAugment
    solver: RunSolver
    hardware: RunHardware
    evaluation: RunEvaluation

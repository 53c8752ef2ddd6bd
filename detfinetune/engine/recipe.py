"""Fill every `null` of a configuration based on data and hardware, and record the reason.

The model's family chooses first; what it leaves is filled by general rules. The rules are the same
for every data set and never use the test split. Values given by the user are never replaced.
"""

from __future__ import annotations

from detfinetune.config.resolved import RunConfig
from detfinetune.config.schema import TrainConfig
from detfinetune.errors import ConfigError, ModelError
from detfinetune.families import family_of
from detfinetune.labels.dataset.statistics import DatasetStatistics
from detfinetune.models.choices import Choice, Choices
from detfinetune.models.family import ModelFamily


def resolve_recipe(
    config: TrainConfig, statistics: DatasetStatistics, window: tuple[float, float] | None = None
) -> tuple[RunConfig, list[Choice]]:
    """Return the configuration without nulls, and the choices made.

    Args:
        config: as composed, with nulls.
        statistics: of the training split.
        window: grey levels of images with more than 8 bits; None if there are none.

    Raises:
        ModelError: `model.name` is unknown or cannot do the task.
        MissingExtraError: the model needs packages that are not installed.
        ConfigError: the model cannot be trained with `hardware.precision`.
    """
    family = family_of(config.model.name)
    family.require_extra(config.model.name)
    if config.task not in family.tasks:
        raise ModelError(
            f"model.name={config.model.name} cannot be trained for task={config.task}. Use "
            f"task={' or '.join(sorted(family.tasks))}, or another model."
        )
    choices = Choices(config)
    family.recipe(choices, statistics)
    if window is not None:
        choices.choose(
            "augment.window", lambda: (list(window), "99 % of the grey levels of training images")
        )
    precision = choices.choose("hardware.precision", lambda: _choose_precision(family, choices.gpu))
    if precision not in family.precisions:
        raise ConfigError(
            f"hardware.precision={precision}: {choices.get('model.name')} can be trained only with "
            f"{' or '.join(sorted(family.precisions))}."
        )
    _choose_solver(choices, statistics)
    choices.choose(
        "evaluation.eval_period",
        lambda: (-(-choices.get("solver.max_iter") // 4), "4 evaluations per run"),
    )
    choices.choose("evaluation.detections_per_image", lambda: _choose_detections(statistics))
    return RunConfig.model_validate({**config.model_dump(), **choices.values}), choices.made


def _choose_precision(family: ModelFamily, gpu: bool) -> tuple[str, str]:
    if not gpu:
        return "fp32", "usual on a CPU"
    import torch

    if "bf16" in family.precisions and torch.cuda.is_bf16_supported(including_emulation=False):
        return "bf16", "supported by the GPU"
    if "fp16" in family.precisions:
        return "fp16", "the GPU does not support bf16"
    return "fp32", "the model needs it"


def _choose_solver(choices: Choices, statistics: DatasetStatistics) -> None:
    """Choose what the family has not."""
    gpu = choices.gpu
    choices.choose("augment.image_size", lambda: (640 if gpu else 320, "usual"))
    size = choices.get("augment.image_size")
    choices.choose("augment.max_size", lambda: (int(size * 5 / 3), "5/3 of image_size"))
    choices.choose("augment.crop_size", lambda: (0, "train on whole images"))
    choices.choose("solver.optimizer", lambda: ("adamw", "usual"))
    choices.choose("solver.base_lr", lambda: (1e-4, "usual for fine-tuning"))
    choices.choose("solver.weight_decay", lambda: (0.05, "usual for adamw"))
    batch = choices.choose("solver.images_per_batch", lambda: (8 if gpu else 4, "usual"))

    def max_iter() -> tuple[int, str]:
        epochs = 30 if gpu else 8
        low, high = (1000, 20_000) if gpu else (300, 450)
        steps = epochs * statistics.num_images // batch
        chosen = min(max(steps, low), high)
        passes = chosen * batch / max(statistics.num_images, 1)
        return chosen, f"{passes:.0f} epochs of {statistics.num_images} images"

    steps = choices.choose("solver.max_iter", max_iter)
    choices.choose("solver.warmup_iters", lambda: (steps // 10, "10 % of max_iter"))
    choices.choose("solver.decay", lambda: ("cosine", "usual"))
    choices.choose(
        "solver.checkpoint_period", lambda: (500 if gpu else 50, "limits loss at a crash")
    )


def _choose_detections(statistics: DatasetStatistics) -> tuple[int, str]:
    fullest = statistics.fullest_image
    if 2 * fullest <= 100:
        return 100, f"at most {fullest} objects per image"
    return 2 * fullest, f"twice the maximum of {fullest} objects per image"

"""Fill every `null` of a configuration based on data and hardware, and record the reason.

The model's family chooses first; what it leaves is filled by general rules. The rules are the same
for every data set and never use the test split. Values given by the user are never replaced.
"""

from __future__ import annotations

import os

import numpy as np

from detfinetune.checks.objects.classes import FEWEST_OBJECTS
from detfinetune.checks.places import percent
from detfinetune.config.resolved import RunConfig
from detfinetune.config.schema import TrainConfig
from detfinetune.data.loaders import images_per_process
from detfinetune.errors import ConfigError, ModelError
from detfinetune.families import family_of
from detfinetune.labels.dataset.statistics import DatasetStatistics
from detfinetune.models.choices import Choice, Choices
from detfinetune.models.family import ModelFamily
from detfinetune.models.memory import free_memory

# A class in fewer images is shown more often. LVIS has 0.001 for a hundred thousand images.
_RARE = 0.2
_EMPTY_SHARE = 0.5
# Classes that look alike take longer: DeepPCB's six were still improving after 450 steps.
_STEPS_PER_CLASS = 150
# Objects of its rarest class that a run shows: BCCD's was learnt from 1,700.
_SIGHTS = 2000
# Of the memory that is free, for what an estimate misses and for other programs.
_USABLE = 0.8
_GIB = 1 << 30


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
    steps = choices.get("solver.max_iter")
    choices.choose("evaluation.eval_period", lambda: _choose_eval_period(steps))
    choices.choose("evaluation.detections_per_image", lambda: _choose_detections(statistics))
    if config.solver.accumulate is None:
        # Until `choose_accumulate` is called, which needs all the rest.
        choices.values["solver"]["accumulate"] = 1
    # `with_steps` makes steps of them.
    choices.values["solver"]["minutes"] = None
    return RunConfig.model_validate({**config.model_dump(), **choices.values}), choices.made


def with_steps(
    config: RunConfig, choices: list[Choice], steps: int, reason: str
) -> tuple[RunConfig, list[Choice]]:
    """Return configuration and choices with the number of steps that `minutes` are enough for."""
    new = {
        "solver.max_iter": (steps, reason),
        "solver.warmup_iters": _choose_warmup(steps),
        "evaluation.eval_period": _choose_eval_period(steps),
    }
    choices = [Choice(c.key, *new[c.key]) if c.key in new else c for c in choices]
    sections: dict[str, dict[str, object]] = {"solver": {}, "evaluation": {}}
    for choice in choices:
        if choice.key in new:
            section, name = choice.key.split(".")
            sections[section][name] = choice.value
    return config.model_copy(
        update={
            name: getattr(config, name).model_copy(update=values)
            for name, values in sections.items()
        }
    ), choices


def _choose_warmup(steps: int) -> tuple[int, str]:
    return steps // 10, "10 % of max_iter"


def _choose_eval_period(steps: int) -> tuple[int, str]:
    return -(-steps // 4), "4 evaluations per run"


def choose_accumulate(config: RunConfig, num_classes: int) -> Choice:
    """Choose the fewest parts of a batch for which a step fits into the memory that is free."""
    family, solver = family_of(config.model.name), config.solver

    def chosen(parts: int, reason: str) -> Choice:
        return Choice("solver.accumulate", parts, reason)

    on_gpu = config.hardware.device.startswith("cuda")
    free = free_memory(config.hardware.device)
    if free is None:
        return chosen(1, "the memory that is free is unknown")
    if not on_gpu:
        free //= int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    batch = images_per_process(solver.images_per_batch)
    parts = 1
    while True:
        split = solver.model_copy(update={"accumulate": parts})
        needed = family.step_memory(config.model_copy(update={"solver": split}), num_classes)
        if needed is None:
            return chosen(1, "what the model needs is unknown")
        if needed <= _USABLE * free or parts == batch:
            reason = f"a step needs about {needed / _GIB:.1f} GiB, {free / _GIB:.1f} GiB are free"
            return chosen(parts, f"{reason}; untested" if on_gpu else reason)
        parts = next(more for more in range(parts + 1, batch + 1) if batch % more == 0)


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
    gpu, untested = choices.gpu, choices.untested
    choices.choose("augment.image_size", lambda: (640 if gpu else 320, f"usual{untested}"))
    size = choices.get("augment.image_size")
    choices.choose("augment.max_size", lambda: (int(size * 5 / 3), "5/3 of image_size"))
    choices.choose("augment.crop_size", lambda: (0, "train on whole images"))
    choices.choose("solver.optimizer", lambda: ("adamw", "usual"))
    choices.choose("solver.base_lr", lambda: (1e-4, "usual for fine-tuning"))
    choices.choose("solver.weight_decay", lambda: (0.05, "usual for adamw"))
    choices.choose("solver.images_per_batch", lambda: (8 if gpu else 4, f"usual{untested}"))
    choices.choose("solver.repeat_threshold", lambda: _choose_repeats(statistics))
    choices.choose("solver.empty_share", lambda: _choose_empty_share(statistics))
    steps = choices.choose("solver.max_iter", lambda: _choose_steps(choices, statistics))
    choices.choose("solver.warmup_iters", lambda: _choose_warmup(steps))
    choices.choose("solver.decay", lambda: ("cosine", "usual"))
    choices.choose(
        "solver.checkpoint_period", lambda: (500 if gpu else 50, "limits loss at a crash")
    )


def _choose_steps(choices: Choices, statistics: DatasetStatistics) -> tuple[int, str]:
    """Choose enough steps for the images and for the classes, within what a user waits for.

    8 epochs of a few hundred images suffice where each has many objects of all classes. 30 epochs
    on a GPU lie between the 17 and 64 of Detectron2's own recipes for PASCAL VOC and Cityscapes.
    """
    epochs, low, high = (30, 1000, 20_000) if choices.gpu else (8, 300, 1200)
    images, batch = statistics.num_images, choices.get("solver.images_per_batch")
    counts = statistics.objects_of_class
    # A class with too few objects to learn it would only make the run longer.
    counts = counts[counts >= FEWEST_OBJECTS]
    rarest = int(counts.min()) if len(counts) else images
    demands = [
        (epochs * images // batch, f"{epochs} epochs of {images} images"),
        (_STEPS_PER_CLASS * len(counts), f"{_STEPS_PER_CLASS} for each of {len(counts)} classes"),
        (_SIGHTS * images // (rarest * batch), f"shows the rarest class {_SIGHTS:,} times"),
        (low, "the fewest by default"),
    ]
    steps, reason = max(demands, key=lambda demand: demand[0])
    if steps > high:
        steps, reason = high, f"the most by default; {reason}: {steps:,}"
    return steps, f"{reason}{choices.untested}"


def _choose_repeats(statistics: DatasetStatistics) -> tuple[float, str]:
    counts = statistics.images_of_class
    there = counts[counts > 0]
    rare = int((there < _RARE * statistics.num_images).sum())
    if len(there) < 2 or not rare:
        return 0.0, f"every class is in at least {percent(_RARE)} of the images"
    return _RARE, (
        f"{rare} of {len(there)} classes are in fewer than {percent(_RARE)} of the images: "
        "oversample these"
    )


def _choose_empty_share(statistics: DatasetStatistics) -> tuple[float, str]:
    share = float(np.mean(statistics.objects_per_image == 0)) if statistics.num_images else 0.0
    if share <= _EMPTY_SHARE:
        return 1.0, f"{percent(share)} of the images are empty: show all"
    return _EMPTY_SHARE, f"{percent(share)} of the images are empty: show fewer of them"


def _choose_detections(statistics: DatasetStatistics) -> tuple[int, str]:
    fullest = statistics.fullest_image
    if 2 * fullest <= 100:
        return 100, f"at most {fullest} objects per image"
    return 2 * fullest, f"twice the maximum of {fullest} objects per image"

"""Fill every `null` of a configuration based on data and hardware, and record the reason.

The rules are the same for every dataset and never use the test split. Values given by the user are
never replaced.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from detfinetune.checks.anchor_fit import AnchorSettings
from detfinetune.config.anchors import DEFAULT_ANCHOR_SIZES, anchors_per_level
from detfinetune.config.schema import TrainConfig
from detfinetune.errors import ConfigError
from detfinetune.labels.dataset.statistics import DatasetStatistics
from detfinetune.models.d2_cfg import anchor_size_problems, anchor_strides
from detfinetune.models.weights import zoo_reachable, zoo_weights_cached
from detfinetune.models.zoo import PACKAGED_MODEL, check_model_name, model_kind

ZOO_MODELS = {
    "bbox": "COCO-Detection/faster_rcnn_R_50_FPN_3x",
    "segm": "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x",
}

# Side of the median object after resizing that the smallest anchors and P2 (stride 4) can detect.
_SMALL_OBJECT_PX = 32.0
_CPU_SIDE, _GPU_SIDE = 320, 640
_LARGEST_ZOOM = 1.5


T = TypeVar("T")


@dataclass(frozen=True)
class Choice:
    """An automatically chosen value."""

    key: str
    value: Any
    reason: str


def resolved_anchors(config: TrainConfig) -> AnchorSettings:
    """Return the anchors of a resolved configuration.

    Raises:
        ConfigError: `model.anchor_sizes` does not fit the model.
    """
    sizes, strides = config.model.anchor_sizes, anchor_strides(config.model.name)
    if problems := anchor_size_problems(config.model.name, sizes):
        raise ConfigError.from_problems(problems)
    return AnchorSettings(
        settled(config.augment.image_size),
        settled(config.augment.max_size),
        anchors_per_level(config.model.name, sizes or DEFAULT_ANCHOR_SIZES[: len(strides)]),
        strides=strides,
    )


def settled(value: T | None) -> T:
    """Return a value of a resolved configuration, which is not None."""
    if value is None:
        raise ValueError("the configuration must be resolved first (engine.recipe)")
    return value


class _Recipe:
    """Collects choices; each can depend on the values resolved before it."""

    def __init__(self, config: TrainConfig) -> None:
        self.values: dict[str, dict[str, Any]] = {
            name: getattr(config, name).model_dump()
            for name in ("model", "augment", "solver", "hardware", "evaluation")
        }
        self.choices: list[Choice] = []

    def get(self, key: str) -> Any:
        section, name = key.split(".")
        return self.values[section][name]

    def choose(self, key: str, rule: Callable[[], tuple[Any, str]]) -> Any:
        """Fill `key` by `rule` (value and reason) if it is null or auto; return its value."""
        section, name = key.split(".")
        if self.values[section][name] in (None, "auto"):
            value, reason = rule()
            self.values[section][name] = value
            self.choices.append(Choice(key, value, reason))
        return self.values[section][name]


def resolve_recipe(
    config: TrainConfig, statistics: DatasetStatistics
) -> tuple[TrainConfig, list[Choice]]:
    """Return the configuration without nulls, and the choices made.

    Args:
        config: as composed, with nulls.
        statistics: of the training split.

    Raises:
        ModelError: `model.name` is unknown or cannot do the task.
    """
    recipe = _Recipe(config)
    gpu = config.hardware.device.startswith("cuda")
    name = recipe.choose("model.name", lambda: _choose_model(config, gpu))
    check_model_name(name, config.task)
    timm = model_kind(name) == "timm"
    recipe.choose("hardware.precision", lambda: _choose_precision(gpu))
    recipe.choose("model.freeze_at", lambda: _choose_freeze(config))
    _choose_sizes(recipe, statistics, gpu)
    if timm:
        recipe.choose("model.anchor_sizes", lambda: _choose_anchors(recipe, statistics))
    _choose_solver(recipe, statistics, gpu=gpu, timm=timm)
    recipe.choose(
        "evaluation.eval_period",
        lambda: (-(-recipe.get("solver.max_iter") // 4), "4 evaluations per run"),
    )
    recipe.choose("evaluation.detections_per_image", lambda: _choose_detections(statistics))
    return TrainConfig.model_validate({**config.model_dump(), **recipe.values}), recipe.choices


def _choose_model(config: TrainConfig, gpu: bool) -> tuple[str, str]:
    if not gpu:
        return PACKAGED_MODEL, "fast on a CPU; its ImageNet weights are included"
    zoo = ZOO_MODELS[config.task]
    if zoo_weights_cached(zoo):
        return zoo, "GPU available; COCO weights are cached"
    if zoo_reachable():
        return zoo, "GPU available; COCO weights can be downloaded"
    return PACKAGED_MODEL, (
        "GPU available, but COCO weights are neither cached nor downloadable; ImageNet weights "
        "are included"
    )


def _choose_precision(gpu: bool) -> tuple[str, str]:
    if not gpu:
        return "fp32", "autocast is hardly faster on a CPU"
    import torch

    if torch.cuda.is_bf16_supported(including_emulation=False):
        return "bf16", "supported by the GPU"
    return "fp16", "the GPU does not support bf16"


def _choose_freeze(config: TrainConfig) -> tuple[int, str]:
    if config.model.weights == "random":
        return 0, "random weights: train all layers"
    return 2, "keep the low-level features of the first layers"


def _choose_sizes(recipe: _Recipe, statistics: DatasetStatistics, gpu: bool) -> None:
    """Choose image size, maximum size and training crop."""
    side = _GPU_SIDE if gpu else _CPU_SIDE
    sizes = statistics.object_sizes
    median = sizes[len(sizes) // 2] if sizes else 0.25
    native = statistics.median_side or side

    def image_size() -> tuple[int, str]:
        wanted = _SMALL_OBJECT_PX / median if median > 0 else side
        limit = max(native * _LARGEST_ZOOM, side)
        size = int(min(max(side, wanted), limit)) // 32 * 32
        if size <= side:
            return side, f"the median object is {median * side:.0f} px at this size"
        return size, f"objects are small: the median is {median * size:.0f} px at this size"

    size = recipe.choose("augment.image_size", image_size)
    recipe.choose("augment.max_size", lambda: (int(size * 5 / 3), "5/3 of image_size"))

    def crop_size() -> tuple[int, str]:
        if size <= side * 1.25:
            return 0, "images are small enough to train without crops"
        return side, "train on crops of the large images; evaluate on whole images"

    recipe.choose("augment.crop_size", crop_size)


def _choose_anchors(recipe: _Recipe, statistics: DatasetStatistics) -> tuple[list[float], str]:
    """Choose one anchor size per FPN level, each twice the previous one."""
    levels = len(anchor_strides(recipe.get("model.name")))
    size = recipe.get("augment.image_size")
    sizes = [fraction * size for fraction in statistics.object_sizes]
    if not sizes:
        return [16.0 * 2**level for level in range(levels)], "no objects in the data"
    small = sizes[len(sizes) // 20]
    first = float(min(max(2 ** round(math.log2(max(small, 1.0))), 8), 32))
    return [first * 2**level for level in range(levels)], (
        f"95 % of objects are larger than {small:.0f} px"
    )


def _choose_solver(
    recipe: _Recipe, statistics: DatasetStatistics, *, gpu: bool, timm: bool
) -> None:
    optimizer = recipe.choose(
        "solver.optimizer",
        lambda: ("adamw", "usual for timm backbones") if timm else ("sgd", "as in the model zoo"),
    )
    adamw = optimizer == "adamw"
    batch = recipe.choose(
        "solver.images_per_batch", lambda: (8, "fits most GPUs") if gpu else (4, "fast on a CPU")
    )
    recipe.choose(
        "solver.base_lr",
        lambda: (
            (7e-4, "low enough to keep the pretrained features")
            if adamw
            else (0.02 * batch / 16 / 4, "a quarter of the model zoo's rate, scaled to the batch")
        ),
    )
    recipe.choose(
        "solver.weight_decay",
        lambda: (0.05, "usual for adamw") if adamw else (1e-4, "as in the model zoo"),
    )

    def max_iter() -> tuple[int, str]:
        epochs = 30 if gpu else 8
        low, high = (1000, 20_000) if gpu else (300, 450)
        steps = epochs * statistics.num_images // batch
        chosen = min(max(steps, low), high)
        passes = chosen * batch / max(statistics.num_images, 1)
        return chosen, f"{passes:.0f} epochs of {statistics.num_images} images"

    steps = recipe.choose("solver.max_iter", max_iter)
    recipe.choose("solver.warmup_iters", lambda: (steps // 10, "10 % of max_iter"))
    recipe.choose(
        "solver.checkpoint_period", lambda: (500 if gpu else 50, "limits loss at a crash")
    )


def _choose_detections(statistics: DatasetStatistics) -> tuple[int, str]:
    fullest = statistics.fullest_image
    if 2 * fullest <= 100:
        return 100, f"at most {fullest} objects per image"
    return 2 * fullest, f"twice the maximum of {fullest} objects per image"

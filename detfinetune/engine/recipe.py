"""Fill every `null` of a configuration from the data and the hardware, each with its reason.

The rules are few and the same for every data set; none looks at a test split. What the user named
is never replaced.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from detfinetune.checks.anchor_fit import AnchorSettings
from detfinetune.config.anchors import DEFAULT_ANCHOR_SIZES, anchors_per_level
from detfinetune.config.schema import TrainConfig
from detfinetune.labels.dataset.statistics import DatasetStatistics
from detfinetune.models.d2_cfg import anchor_strides
from detfinetune.models.weights import zoo_reachable, zoo_weights_cached
from detfinetune.models.zoo import PACKAGED_MODEL, check_model_name, model_kind

ZOO_MODELS = {
    "bbox": "COCO-Detection/faster_rcnn_R_50_FPN_3x",
    "segm": "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x",
}

# Side of the median object after resizing that the smallest anchors and P2 (stride 4) can find.
_SMALL_OBJECT_PX = 32.0
_CPU_SIDE, _GPU_SIDE = 320, 640
_LARGEST_ZOOM = 1.5


T = TypeVar("T")


@dataclass(frozen=True)
class Choice:
    """One value that was chosen for the user."""

    key: str
    value: Any
    reason: str


def resolved_anchors(config: TrainConfig) -> AnchorSettings:
    """Return the anchors of a resolved configuration."""
    sizes = config.model.anchor_sizes or DEFAULT_ANCHOR_SIZES
    return AnchorSettings(
        settled(config.augment.image_size),
        settled(config.augment.max_size),
        anchors_per_level(config.model.name, sizes),
        strides=anchor_strides(config.model.name),
    )


def settled(value: T | None) -> T:
    """Return a value that `resolve_recipe` has filled."""
    if value is None:
        raise ValueError("the configuration must be resolved first (engine.recipe)")
    return value


class _Recipe:
    """Collects choices; each looks at what was resolved before it."""

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
        """Fill `key` by `rule` (value and reason) when it is null or auto; return its value."""
        section, name = key.split(".")
        if self.values[section][name] in (None, "auto"):
            value, reason = rule()
            self.values[section][name] = value
            self.choices.append(Choice(key, value, reason))
        return self.values[section][name]


def resolve_recipe(
    config: TrainConfig, statistics: DatasetStatistics
) -> tuple[TrainConfig, list[Choice]]:
    """Return the configuration without nulls, and what was chosen why.

    Args:
        config: as composed; nulls are to be filled.
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
        lambda: (-(-recipe.get("solver.max_iter") // 4), "four evaluations in the run"),
    )
    recipe.choose("evaluation.detections_per_image", lambda: _choose_detections(statistics))
    return TrainConfig.model_validate({**config.model_dump(), **recipe.values}), recipe.choices


def _choose_model(config: TrainConfig, gpu: bool) -> tuple[str, str]:
    if not gpu:
        return PACKAGED_MODEL, "quick on a CPU; its ImageNet weights are installed"
    zoo = ZOO_MODELS[config.task]
    if zoo_weights_cached(zoo):
        return zoo, "there is a GPU, and the COCO weights are in the cache"
    if zoo_reachable():
        return zoo, "there is a GPU, and the COCO weights can be downloaded"
    return PACKAGED_MODEL, (
        "there is a GPU, but the COCO weights are neither cached nor to be reached; "
        "ImageNet weights are installed"
    )


def _choose_precision(gpu: bool) -> tuple[str, str]:
    if not gpu:
        return "fp32", "autocast gains little on a CPU"
    import torch

    if torch.cuda.is_bf16_supported(including_emulation=False):
        return "bf16", "the GPU has it"
    return "fp16", "the GPU has no bf16"


def _choose_freeze(config: TrainConfig) -> tuple[int, str]:
    if config.model.weights == "random":
        return 0, "random weights must all be trained"
    return 2, "the first layers see edges and colours; few images would only spoil them"


def _choose_sizes(recipe: _Recipe, statistics: DatasetStatistics, gpu: bool) -> None:
    """Image size, its limit, and the training crop."""
    side = _GPU_SIDE if gpu else _CPU_SIDE
    sizes = statistics.object_sizes
    median = sizes[len(sizes) // 2] if sizes else 0.25
    native = statistics.median_side or side

    def image_size() -> tuple[int, str]:
        wanted = _SMALL_OBJECT_PX / median if median > 0 else side
        limit = max(native * _LARGEST_ZOOM, side)
        size = int(min(max(side, wanted), limit)) // 32 * 32
        if size <= side:
            return side, f"half of the objects are larger than {median * side:.0f} px then"
        return size, f"objects are small: half are below {median * size:.0f} px even then"

    size = recipe.choose("augment.image_size", image_size)
    recipe.choose("augment.max_size", lambda: (int(size * 5 / 3), "5/3 of image_size"))

    def crop_size() -> tuple[int, str]:
        if size <= side * 1.25:
            return 0, "images are small enough to be taken whole"
        return side, "training on crops; whole images are for testing"

    recipe.choose("augment.crop_size", crop_size)


def _choose_anchors(recipe: _Recipe, statistics: DatasetStatistics) -> tuple[list[float], str]:
    """One size a level, each twice the one before, so that most objects have a near one."""
    size = recipe.get("augment.image_size")
    sizes = [share * size for share in statistics.object_sizes]
    if not sizes:
        return [16.0, 32.0, 64.0, 128.0, 256.0], "no objects to measure"
    small = sizes[len(sizes) // 20]
    first = float(min(max(2 ** round(math.log2(max(small, 1.0))), 8), 32))
    return [first * 2**level for level in range(5)], (
        f"19 of 20 objects are larger than {small:.0f} px"
    )


def _choose_solver(
    recipe: _Recipe, statistics: DatasetStatistics, *, gpu: bool, timm: bool
) -> None:
    optimizer = recipe.choose(
        "solver.optimizer",
        lambda: ("adamw", "suits a timm backbone") if timm else ("sgd", "as the zoo was trained"),
    )
    adamw = optimizer == "adamw"
    batch = recipe.choose(
        "solver.images_per_batch", lambda: (8, "fits most GPUs") if gpu else (4, "quick on a CPU")
    )
    recipe.choose(
        "solver.base_lr",
        lambda: (
            (7e-4, "small enough to keep what the backbone knows")
            if adamw
            else (0.02 * batch / 16 / 4, "a quarter of the zoo's rate, scaled to the batch")
        ),
    )
    recipe.choose(
        "solver.weight_decay",
        lambda: (0.05, "usual for adamw") if adamw else (1e-4, "as the zoo was trained"),
    )

    def max_iter() -> tuple[int, str]:
        epochs = 30 if gpu else 8
        low, high = (1000, 20_000) if gpu else (300, 450)
        steps = epochs * statistics.num_images // batch
        chosen = min(max(steps, low), high)
        passes = chosen * batch / max(statistics.num_images, 1)
        return chosen, f"{passes:.0f} passes over {statistics.num_images} images"

    steps = recipe.choose("solver.max_iter", max_iter)
    recipe.choose("solver.warmup_iters", lambda: (steps // 10, "a tenth of max_iter"))
    recipe.choose("solver.checkpoint_period", lambda: (500 if gpu else 50, "so little is lost"))


def _choose_detections(statistics: DatasetStatistics) -> tuple[int, str]:
    fullest = statistics.fullest_image
    if 2 * fullest <= 100:
        return 100, f"the fullest image has {fullest} objects"
    return 2 * fullest, f"twice the {fullest} objects of the fullest image"

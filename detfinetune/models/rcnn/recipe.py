"""What the family chooses for the user: model, freezing, sizes, anchors and schedule.

The rules are the same for every data set and never use the test split.
"""

from __future__ import annotations

from pathlib import Path

from detfinetune.checks.anchor_choice import AnchorSet
from detfinetune.checks.anchors import SMALL_PIXELS
from detfinetune.config.anchors import DEFAULT_ANCHOR_SIZES, DEFAULT_ASPECT_RATIOS
from detfinetune.config.schema import TrainConfig
from detfinetune.errors import DetFinetuneError
from detfinetune.labels.dataset.statistics import DatasetStatistics
from detfinetune.models.anchors import choose_anchor_keys
from detfinetune.models.checkpoint import read_checkpoint
from detfinetune.models.choices import Choices
from detfinetune.models.rcnn.d2_cfg import anchor_strides
from detfinetune.models.rcnn.settings import RcnnSettings
from detfinetune.models.rcnn.weights import zoo_reachable, zoo_weights_cached
from detfinetune.models.rcnn.zoo import PACKAGED_MODEL, check_model_name, model_kind

ZOO_MODELS = {
    "bbox": "COCO-Detection/faster_rcnn_R_50_FPN_3x",
    "segm": "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x",
}

# Side of the median object after resizing that the smallest anchors and P2 (stride 4) can detect.
_SMALL_OBJECT_PX = 32.0
_CPU_SIDE, _GPU_SIDE = 320, 640
_LARGEST_ZOOM = 1.5


def choose(choices: Choices, statistics: DatasetStatistics) -> None:
    """Choose all but what the engine's general rules fill.

    Raises:
        ModelError: `model.name` is unknown or cannot do the task.
    """
    config = choices.config
    name = choices.choose("model.name", lambda: _choose_model(config, choices.gpu))
    check_model_name(name, config.task)
    choices.choose("model.freeze_at", lambda: _choose_freeze(config))
    _choose_sizes(choices, statistics)
    own = _own_anchors(name, choices.get("model.weights"))
    choose_anchor_keys(choices, statistics, name, anchor_strides(name), own)
    if not choices.gpu:
        choices.choose("hardware.precision", _choose_cpu_precision)
    _choose_solver(choices, model_kind(name) == "timm")


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


def _choose_freeze(config: TrainConfig) -> tuple[int, str]:
    if config.model.weights == "random":
        return 0, "random weights: train all layers"
    return 2, "keep the low-level features of the first layers"


def _choose_cpu_precision() -> tuple[str, str]:
    import torch

    found = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    if found.get("avx512_bf16") or found.get("amx_bf16"):
        return "bf16", "supported by the CPU"
    return "fp32", "the CPU has no bf16"


def _choose_sizes(choices: Choices, statistics: DatasetStatistics) -> None:
    """Choose image size, maximum size and training crop."""
    side = _GPU_SIDE if choices.gpu else _CPU_SIDE
    sizes = statistics.object_sizes
    median = float(sizes[len(sizes) // 2]) if len(sizes) else 0.25
    small = float(sizes[len(sizes) // 20]) if len(sizes) else 0.25
    native = statistics.median_side or side

    def image_size() -> tuple[int, str]:
        # Anchors cannot fit what is smaller than two cells of the finest feature map.
        for_small = -(-SMALL_PIXELS / small // 32) * 32
        limit = max(native * _LARGEST_ZOOM, side)
        size = int(min(max(side, _SMALL_OBJECT_PX / median, for_small), limit)) // 32 * 32
        if size <= side:
            return side, f"the median object is {median * side:.0f} px{choices.untested}"
        return size, (
            f"objects are small: the median is {median * size:.0f} px, 95 % are "
            f"{small * size:.0f} px or more{choices.untested}"
        )

    size = choices.choose("augment.image_size", image_size)
    choices.choose("augment.max_size", lambda: (int(size * 5 / 3), "5/3 of image_size"))

    def crop_size() -> tuple[int, str]:
        if size <= side * 1.25:
            return 0, "images are small enough to train without crops"
        return side, "train on crops of the large images; evaluate on whole images"

    choices.choose("augment.crop_size", crop_size)


def _own_anchors(name: str, weights: str) -> AnchorSet | None:
    """Return the anchors that the weights were trained with; None if they know none."""
    path = Path(weights).expanduser()
    if path.is_file():
        try:
            of_run = read_checkpoint(path).config.model
        except DetFinetuneError:
            of_run = None  # weights of another origin; loading them says what is wrong, if anything
        if isinstance(of_run, RcnnSettings):
            sizes = of_run.anchor_sizes or DEFAULT_ANCHOR_SIZES
            ratios = tuple(of_run.anchor_ratios or DEFAULT_ASPECT_RATIOS)
            return AnchorSet(sizes, ratios) if len(sizes) == len(anchor_strides(name)) else None
    if weights == "random" or model_kind(name) == "timm":
        return None
    return AnchorSet(DEFAULT_ANCHOR_SIZES, DEFAULT_ASPECT_RATIOS)


def _choose_solver(choices: Choices, timm: bool) -> None:
    """Choose optimizer, batch and rates; the number of steps depends on them.

    Rates grow with the batch, linearly for SGD (arXiv:1706.02677) and as its square root for AdamW
    (arXiv:2205.10782).
    """
    optimizer = choices.choose(
        "solver.optimizer",
        lambda: ("adamw", "usual for timm backbones") if timm else ("sgd", "as in the model zoo"),
    )
    batch = choices.choose(
        "solver.images_per_batch",
        lambda: (8, f"fits most GPUs{choices.untested}") if choices.gpu else (4, "fast on a CPU"),
    )
    choices.choose(
        "solver.base_lr",
        lambda: (
            (
                float(f"{7e-4 * (batch / 4) ** 0.5:.2g}"),
                f"7e-4 for 4 images, times the root of the batch{choices.untested}",
            )
            if optimizer == "adamw"
            else (
                0.02 * batch / 16 / 4,
                f"a quarter of the model zoo's rate, scaled to the batch{choices.untested}",
            )
        ),
    )
    choices.choose(
        "solver.weight_decay",
        lambda: (
            (0.05, "usual for adamw") if optimizer == "adamw" else (1e-4, "as in the model zoo")
        ),
    )

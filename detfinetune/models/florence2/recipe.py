"""What the family chooses for the user: image size, adapters, batch, rate and its decay."""

from __future__ import annotations

from bisect import bisect_right

from detectron2.utils import comm

from detfinetune.console import warn
from detfinetune.labels.dataset.statistics import DatasetStatistics
from detfinetune.labels.formats.location_bins import COORDINATES
from detfinetune.models.choices import Choices
from detfinetune.models.florence2.settings import Florence2Settings
from detfinetune.models.florence2.weights import model_shape

_LARGE_WIDTH = 1024
# Tokens of a class name: most words have one or two.
_NAME_TOKENS = 3


def choose(choices: Choices, statistics: DatasetStatistics) -> None:
    """Choose all but what the engine's general rules fill, and warn of images with many objects.

    Raises:
        WeightsError: `model.weights` is neither a name nor a folder with Florence-2.
    """
    settings = choices.config.model
    assert isinstance(settings, Florence2Settings)
    shape = model_shape(settings)
    large = shape.width >= _LARGE_WIDTH
    size = choices.choose("augment.image_size", lambda: (768, "the size of the pretraining"))
    choices.choose("augment.max_size", lambda: (size, "images become squares"))
    choices.choose("solver.optimizer", lambda: ("adamw", "usual for transformers"))
    choices.choose(
        "solver.images_per_batch", lambda: (8, "fits most GPUs") if choices.gpu else (2, "for CPUs")
    )
    rank = settings.lora_rank
    if rank:
        choices.choose(
            "model.lora_alpha",
            lambda: (
                (float(rank), "the rank, for the large model")
                if large
                else (2.0 * rank, "twice the rank, for the base model")
            ),
        )
        rate = (1e-4, "for LoRA on the large model") if large else (2e-4, "for LoRA on the base")
    else:
        rate = (5e-6, "for all weights of the large model") if large else (1e-5, "for all weights")
    choices.choose("solver.base_lr", lambda: rate)
    choices.choose("solver.weight_decay", lambda: (0.01, "little, as few weights are trained"))
    choices.choose("solver.decay", lambda: ("cooldown", "constant, then annealed"))
    _warn_of_crowds(statistics, (shape.answer_tokens - 2) // (_NAME_TOKENS + COORDINATES))


def _warn_of_crowds(statistics: DatasetStatistics, limit: int) -> None:
    counts = statistics.objects_per_image
    crowded = len(counts) - bisect_right(counts, limit)
    if crowded and comm.is_main_process():
        warn(
            f"training images with more objects than an answer has room for, about {limit}: "
            f"{crowded} of {statistics.num_images}, with up to {statistics.fullest_image}. The "
            "rest of their objects is left out, and is not found in such images either. Consider "
            "another model."
        )

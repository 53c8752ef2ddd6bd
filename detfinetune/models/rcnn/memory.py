"""Estimates the memory that a training step needs, from a few measured models."""

from __future__ import annotations

from detfinetune.config.resolved import RunConfig
from detfinetune.data.loaders import images_per_process
from detfinetune.models.memory import largest_image
from detfinetune.models.rcnn.zoo import PACKAGED_MODEL

_DIVISOR = 32
# Bytes for each pixel of a batch, above what is for weights (docs/decisions/0020-recipe.md).
_LIGHT, _R50_CPU = 1000, 2200
# 3.0 GB for two images of 800 x 1333 px, in Detectron2's zoo; X101 takes 2.4 times as much.
_R50_GPU = 1200
_X101 = 2.4
_AUTOCAST = 0.7
# Parameters, with gradient and two states of the optimizer in fp32.
_PARAMETERS = {"light": 6e6, "R50": 45e6, "X101": 110e6}
_BYTES_PER_PARAMETER = 16


def estimate_memory(config: RunConfig) -> int:
    """Return the bytes of a training step; backbones that were not measured count as R50.

    Raises:
        DataError: the batch cannot be divided among the processes.
    """
    name, solver = config.model.name, config.solver
    on_gpu = config.hardware.device.startswith("cuda")
    kind = "light" if name == PACKAGED_MODEL else "X101" if "X_101" in name else "R50"
    per_pixel: float = _LIGHT if kind == "light" else _R50_GPU if on_gpu else _R50_CPU
    per_pixel *= _X101 if kind == "X101" else 1
    per_pixel *= 1 if config.hardware.precision == "fp32" else _AUTOCAST
    height, width = largest_image(config.augment, _DIVISOR)
    images = images_per_process(solver.images_per_batch, solver.accumulate) // solver.accumulate
    return round(_PARAMETERS[kind] * _BYTES_PER_PARAMETER + images * height * width * per_pixel)

"""The learning rate as a pure function of the step, so that resuming needs no state."""

from __future__ import annotations

import math

from detfinetune.config.schema import Decay

# A rate of exactly 0 would waste the last steps.
_FINAL_FACTOR = 0.01
_WARMUP_START = 0.1
# Of all steps, as in arXiv:2405.18392.
_COOLDOWN_SHARE = 0.2


def learning_rate_factor(iteration: int, max_iter: int, warmup_iters: int, decay: Decay) -> float:
    """Return the factor of the base learning rate at step `iteration`, in (0, 1].

    Warm-up rises linearly from 0.1. Then `cosine` and `linear` fall to 0.01 at the last step,
    `step` divides by 10 at 70 % and again at 90 % of `max_iter`, `constant` stays at 1, and
    `cooldown` stays at 1 until the last fifth, in which it falls linearly to 0.01. Steps beyond
    `max_iter` keep the last factor.

    Args:
        iteration: finished steps, from 0.
        max_iter: total steps, at least 1.
        warmup_iters: warm-up steps, from 0.
        decay: schedule after warm-up.
    """
    if iteration < warmup_iters:
        return _WARMUP_START + (1 - _WARMUP_START) * (iteration + 1) / (warmup_iters + 1)
    if decay == "constant":
        return 1.0
    if decay == "step":
        progress = iteration / max_iter
        return 1.0 if progress < 0.7 else 0.1 if progress < 0.9 else 0.01
    start = warmup_iters
    if decay == "cooldown":
        start = max(start, max_iter - 1 - round(_COOLDOWN_SHARE * max_iter))
    progress = (iteration - start) / max(max_iter - 1 - start, 1)
    progress = min(max(progress, 0.0), 1.0)
    shape = (1 + math.cos(math.pi * progress)) / 2 if decay == "cosine" else 1 - progress
    return _FINAL_FACTOR + (1 - _FINAL_FACTOR) * shape

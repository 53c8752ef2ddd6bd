"""Which hardware group suits this machine."""

from __future__ import annotations

from typing import Literal


def detect_hardware() -> Literal["cpu", "gpu"]:
    """Return `gpu` when torch sees a CUDA device, else `cpu`.

    torch is imported here and not at the top, so that reading a configuration stays quick where
    no hardware has to be chosen.
    """
    try:
        import torch
    except ImportError:
        return "cpu"
    return "gpu" if torch.cuda.is_available() else "cpu"

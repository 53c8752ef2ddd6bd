"""Detects the hardware group."""

from __future__ import annotations

from typing import Literal


def detect_hardware() -> Literal["cpu", "gpu"]:
    """Return `gpu` if torch finds a CUDA device, otherwise `cpu`.

    torch is imported here, so that reading a configuration is fast if no hardware is to be chosen.
    """
    try:
        import torch
    except ImportError:
        return "cpu"
    return "gpu" if torch.cuda.is_available() else "cpu"

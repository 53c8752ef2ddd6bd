"""What the benchmarks compare: detfinetune, Detectron2 as it comes, torchvision's reference."""

from typing import NamedTuple

import detfinetune  # noqa: F401  # finds the packaged Detectron2, which the modules import first


class Point(NamedTuple):
    """An evaluation on val."""

    seconds: float
    """Of training before it, loading of data included."""

    step: int
    AP: float
    AP50: float

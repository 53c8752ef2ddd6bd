"""Fine-tune Detectron2 detectors on your own images and labels.

    from detfinetune import Detector, ask, check, convert, evaluate, merge, predict, train

They are imported on first use, so `import detfinetune` is fast and needs neither torch nor
Detectron2.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from detfinetune._detectron2 import add_packaged_detectron2

if TYPE_CHECKING:
    from detfinetune.api import Detector, ask, check, convert, evaluate, merge, predict, train
    from detfinetune.prediction import Prediction

__all__ = [
    "Detector", "Prediction", "__version__", "ask", "check", "convert", "evaluate", "merge",
    "predict", "train",
]  # fmt: skip

__version__ = "0.1.0"

_EXPORTS = {name: "detfinetune.api" for name in __all__ if name != "__version__"} | {
    "Prediction": "detfinetune.prediction"
}

add_packaged_detectron2()


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'detfinetune' has no attribute '{name}'")
    value = getattr(import_module(_EXPORTS[name]), name)
    # Cached: this function is called only once for each name.
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS})

"""Fine-tune Detectron2 detectors on your own images and labels.

    from detfinetune import check, convert, evaluate, export, predict, train

They are imported on first use, so `import detfinetune` is fast and needs neither torch nor
Detectron2.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from detfinetune._detectron2 import add_packaged_detectron2

if TYPE_CHECKING:
    from detfinetune.check_dataset import check_dataset as check
    from detfinetune.engine.train import train
    from detfinetune.evaluation.evaluate import evaluate
    from detfinetune.inference.predict import predict
    from detfinetune.labels.convert import convert_dataset as convert
    from detfinetune.labels.export import export_dataset as export

__all__ = ["__version__", "check", "convert", "evaluate", "export", "predict", "train"]

__version__ = "0.1.0"

_EXPORTS = {
    "check": ("detfinetune.check_dataset", "check_dataset"),
    "convert": ("detfinetune.labels.convert", "convert_dataset"),
    "evaluate": ("detfinetune.evaluation.evaluate", "evaluate"),
    "export": ("detfinetune.labels.export", "export_dataset"),
    "predict": ("detfinetune.inference.predict", "predict"),
    "train": ("detfinetune.engine.train", "train"),
}

add_packaged_detectron2()


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'detfinetune' has no attribute '{name}'")
    module, attribute = _EXPORTS[name]
    value = getattr(import_module(module), attribute)
    # Cached: this function is called only once for each name.
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS})

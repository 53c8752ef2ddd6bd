"""The experiment trackers by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from detfinetune.config.schema import TrackerName
from detfinetune.engine.trackers.mlflow import MLflow
from detfinetune.engine.trackers.tensorboard import TensorBoard
from detfinetune.engine.trackers.tracker import Tracker
from detfinetune.engine.trackers.wandb import WandB

TRACKERS: dict[TrackerName, Callable[[], Tracker]] = {
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
    "wandb": WandB,
}


def build_trackers(names: Iterable[TrackerName]) -> dict[str, Tracker]:
    """Return the trackers of `trackers=[...]` by name.

    Raises:
        MissingExtraError: the package of one is not installed.
    """
    return {name: TRACKERS[name]() for name in names}

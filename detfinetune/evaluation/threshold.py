"""Score thresholds: the best one of val, with the highest F1 at IoU 0.5, and figures at any."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from detfinetune.evaluation.metrics import Matches, Metrics
from detfinetune.models.calibration import Calibration


@dataclass(frozen=True)
class Threshold:
    """A score threshold with its F1, precision and recall at IoU 0.5, all in 0-1."""

    score: float
    f1: float
    precision: float
    recall: float
    by_class: dict[str, Threshold] = field(default_factory=dict)
    """The best threshold of each class that has true positives; with a threshold from val, the
    figures of each class that has objects at that one."""

    chosen_on: Literal["this split", "val"] = "this split"
    """The split that the score is the best of; a best score on test would be optimistic."""

    def to_json(self) -> dict[str, Any]:
        """Return the threshold as JSON values."""
        return asdict(self)

    def calibrated(self, calibration: Calibration) -> Threshold:
        """Return the threshold that keeps the same detections once their scores are calibrated."""
        by_class = {name: own.calibrated(calibration) for name, own in self.by_class.items()}
        return replace(self, score=float(calibration(self.score)), by_class=by_class)


def best_threshold(metrics: Metrics) -> Threshold | None:
    """Return the threshold with the highest F1 over all classes, and that of each class.

    It lies halfway between the lowest score kept and the next lower one. If several have the same
    F1, the highest is returned. None without true positives.
    """
    matches = metrics.matches
    num_objects = sum(matches.num_objects.values())
    best = _best(matches, np.ones(len(matches.score), dtype=np.bool_), num_objects)
    if best is None:
        return None
    by_class = {}
    for entry in metrics.classes:
        chosen = matches.category_id == entry.category_id
        own = _best(matches, chosen, matches.num_objects[entry.category_id])
        if own is not None:
            by_class[entry.name] = own
    return Threshold(best.score, best.f1, best.precision, best.recall, by_class)


def figures_at(metrics: Metrics, score: float) -> Threshold | None:
    """Return F1, precision and recall at a threshold that was chosen on val; None without objects.

    Precision without any detection counts as 0.
    """
    matches = metrics.matches

    def at(chosen: npt.NDArray[np.bool_], num_objects: int) -> Threshold:
        kept = chosen & ~matches.ignored & (matches.score >= score)
        found, hits = int(kept.sum()), int(matches.true_positive[kept].sum())
        f1, precision = 2 * hits / (found + num_objects), hits / max(1, found)
        return Threshold(score, f1, precision, hits / num_objects, chosen_on="val")

    num_objects = sum(matches.num_objects.values())
    if num_objects == 0:
        return None
    by_class = {
        entry.name: at(matches.category_id == entry.category_id, entry.num_objects)
        for entry in metrics.classes
        if entry.num_objects
    }
    everything = np.ones(len(matches.score), dtype=np.bool_)
    return replace(at(everything, num_objects), by_class=by_class)


def _best(matches: Matches, chosen: npt.NDArray[np.bool_], num_objects: int) -> Threshold | None:
    """Return the best threshold over the detections in `chosen`, shape [D]."""
    counted = chosen & ~matches.ignored
    order = np.argsort(-matches.score[counted], kind="stable")
    scores = matches.score[counted][order]
    true_positives = np.cumsum(matches.true_positive[counted][order])
    if num_objects == 0 or not true_positives.size or true_positives[-1] == 0:
        return None
    kept = np.arange(1, len(scores) + 1)
    f1 = 2 * true_positives / (kept + num_objects)
    # A threshold keeps all or none of the detections with equal scores: count only the last.
    last_of_score = np.append(scores[1:] < scores[:-1], True)
    at = int(np.argmax(np.where(last_of_score, f1, -1.0)))
    score = scores[at] if at + 1 == len(scores) else (scores[at] + scores[at + 1]) / 2
    return Threshold(
        score=float(score),
        f1=float(f1[at]),
        precision=float(true_positives[at] / kept[at]),
        recall=float(true_positives[at] / num_objects),
    )

"""The score above which detections are worth showing: where F1 at IoU 0.5 is highest."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from detfinetune.evaluation.metrics import Matches, Metrics


@dataclass(frozen=True)
class Threshold:
    """A score threshold and what it gives at IoU 0.5; shares are in 0-1."""

    score: float
    f1: float
    precision: float
    """Share of the detections at or above `score` that find an object."""

    recall: float
    """Share of the objects that are found by detections at or above `score`."""

    by_class: dict[str, Threshold] = field(default_factory=dict)
    """The best threshold of each class alone; classes of which nothing was found are missing."""

    def to_json(self) -> dict[str, Any]:
        """Return the threshold as JSON values."""
        return asdict(self)


def best_threshold(metrics: Metrics) -> Threshold | None:
    """Return the threshold with the highest F1 over all classes together, and one for each.

    It lies half way between the last score that is kept and the next lower one. Among equal F1
    the highest threshold wins. None when no detection finds an object.
    """
    matches = metrics.matches
    best = _best(matches, np.ones(len(matches.score), dtype=np.bool_), _total(matches))
    if best is None:
        return None
    by_class = {}
    for entry in metrics.classes:
        chosen = matches.category_id == entry.category_id
        own = _best(matches, chosen, matches.num_objects[entry.category_id])
        if own is not None:
            by_class[entry.name] = own
    return Threshold(best.score, best.f1, best.precision, best.recall, by_class)


def _total(matches: Matches) -> int:
    return sum(matches.num_objects.values())


def _best(matches: Matches, chosen: npt.NDArray[np.bool_], num_objects: int) -> Threshold | None:
    """Return the best threshold over the detections in `chosen`, shape [D]."""
    counted = chosen & ~matches.ignored
    order = np.argsort(-matches.score[counted], kind="stable")
    scores = matches.score[counted][order]
    hits = np.cumsum(matches.hit[counted][order])
    if num_objects == 0 or not hits.size or hits[-1] == 0:
        return None
    kept = np.arange(1, len(scores) + 1)
    f1 = 2 * hits / (kept + num_objects)
    # Detections of one score stand or fall together: only the last of each counts.
    last_of_score = np.append(scores[1:] < scores[:-1], True)
    at = int(np.argmax(np.where(last_of_score, f1, -1.0)))
    score = scores[at] if at + 1 == len(scores) else (scores[at] + scores[at + 1]) / 2
    return Threshold(
        score=float(score),
        f1=float(f1[at]),
        precision=float(hits[at] / kept[at]),
        recall=float(hits[at] / num_objects),
    )

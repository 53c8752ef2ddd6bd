"""What an evaluation found, and the files that keep it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detfinetune import files
from detfinetune.config.schema import Task
from detfinetune.evaluation.metrics import Detection, Metrics
from detfinetune.evaluation.threshold import Threshold

METRICS_FILE = "metrics.json"
DETECTIONS_FILE = "detections.json"


@dataclass(frozen=True)
class EvaluationResult:
    """What an evaluation found; empty on all processes but the main one."""

    dataset_name: str
    metrics: dict[Task, Metrics] = field(default_factory=dict)
    detections: list[Detection] = field(default_factory=list, repr=False)
    """COCO results with the category ids of the split's JSON."""

    threshold: Threshold | None = None
    """Score with the best F1 at IoU 0.5; None when nothing was found."""

    diagnosis: tuple[str, ...] = ()
    """Known causes of an AP that is 0, near 0 or not a number."""

    notes: tuple[str, ...] = ()
    """What a reader of the figures should know, such as sizes the split lacks."""

    num_images: int = 0
    seconds: float = 0.0

    @property
    def task(self) -> Task:
        """The task that the model is judged by: masks where they were scored."""
        return "segm" if "segm" in self.metrics else "bbox"

    @property
    def ap(self) -> float | None:
        """AP of that task on 0-100; None without figures or objects."""
        metrics = self.metrics.get(self.task)
        return metrics.ap if metrics else None

    @property
    def score_threshold(self) -> float | None:
        """Score above which predictions are best shown, 0-1."""
        return self.threshold.score if self.threshold else None

    def to_json(self) -> dict[str, Any]:
        """Return figures, threshold and messages (no detections) as JSON values."""
        return {
            **{task: metrics.to_json() for task, metrics in self.metrics.items()},
            "score_threshold": self.threshold.to_json() if self.threshold else None,
            "diagnosis": list(self.diagnosis),
            "notes": list(self.notes),
            "images": self.num_images,
            "detections": len(self.detections),
            "seconds": round(self.seconds, 1),
        }


def write_result(
    result: EvaluationResult, output_dir: Path, provenance: Mapping[str, Any] | None = None
) -> None:
    """Write `detections.json` (COCO results), then `metrics.json`, each whole or not at all."""
    files.write_json(output_dir / DETECTIONS_FILE, result.detections, indent=None)
    files.write_json(
        output_dir / METRICS_FILE,
        {"dataset": result.dataset_name, **result.to_json(), "provenance": dict(provenance or {})},
    )

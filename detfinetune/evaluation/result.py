"""The result of an evaluation and the files it is written to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from detfinetune import files
from detfinetune.config.schema import Task
from detfinetune.evaluation.calibrate import calibration_error
from detfinetune.evaluation.metrics import Detection, Metrics
from detfinetune.evaluation.threshold import Threshold
from detfinetune.models.calibration import UNCALIBRATED, Calibration

METRICS_FILE = "metrics.json"
DETECTIONS_FILE = "detections.json"


@dataclass(frozen=True)
class EvaluationResult:
    """The result of an evaluation; empty except on the main process."""

    dataset_name: str
    metrics: dict[Task, Metrics] = field(default_factory=dict)
    detections: list[Detection] = field(default_factory=list, repr=False)
    """COCO results with the category ids of the split's ground truth."""

    threshold: Threshold | None = None
    """Score threshold with the highest F1 at IoU 0.5, on val or else on this split, and its figures
    on this split; None without true positives or objects."""

    calibration: Calibration = UNCALIBRATED
    """Applied to all scores here."""

    calibration_errors: tuple[float | None, float | None] = (None, None)
    """Expected calibration error on this split, 0-1: before and after; None without detections."""

    diagnosis: tuple[str, ...] = ()
    """Known causes of an AP that is 0, near 0 or undefined."""

    notes: tuple[str, ...] = ()
    """Remarks on the metrics, such as object sizes that are not in the split."""

    losses: dict[str, float] = field(default_factory=dict)
    """Means over the images; empty unless asked for."""

    num_images: int = 0
    seconds: float = 0.0

    @property
    def task(self) -> Task:
        """The task whose AP counts: `segm` if masks were scored, else `bbox`."""
        return "segm" if "segm" in self.metrics else "bbox"

    @property
    def ap(self) -> float | None:
        """AP of that task on 0-100; None without metrics or objects."""
        metrics = self.metrics.get(self.task)
        return metrics.ap if metrics else None

    @property
    def score_threshold(self) -> float | None:
        """That score threshold, 0-1."""
        return self.threshold.score if self.threshold else None

    def calibrated(self, calibration: Calibration) -> EvaluationResult:
        """Return the result of a model's own scores with calibrated ones; AP and the like stay."""
        metrics = {}
        for task, each in self.metrics.items():
            scores = calibration(each.matches.score)
            metrics[task] = replace(each, matches=replace(each.matches, score=scores))
        scores = calibration([found["score"] for found in self.detections])
        pairs = zip(self.detections, scores.tolist(), strict=True)
        return replace(
            self,
            metrics=metrics,
            detections=[{**found, "score": score} for found, score in pairs],
            threshold=self.threshold and self.threshold.calibrated(calibration),
            calibration=calibration,
            calibration_errors=(
                calibration_error(self.metrics[self.task].matches),
                calibration_error(metrics[self.task].matches),
            ),
        )

    def to_json(self) -> dict[str, Any]:
        """Return metrics, threshold and messages, without detections, as JSON values."""
        return {
            **{task: metrics.to_json() for task, metrics in self.metrics.items()},
            "score_threshold": self.threshold.to_json() if self.threshold else None,
            "calibration": {
                **asdict(self.calibration),
                **dict(zip(("error_before", "error"), self.calibration_errors, strict=True)),
            },
            "diagnosis": list(self.diagnosis),
            "notes": list(self.notes),
            **({"losses": self.losses} if self.losses else {}),
            "images": self.num_images,
            "detections": len(self.detections),
            "seconds": round(self.seconds, 1),
        }


def write_result(
    result: EvaluationResult, output_dir: Path, provenance: Mapping[str, Any] | None = None
) -> None:
    """Write `detections.json` (COCO results), then `metrics.json`, each atomically."""
    files.write_json(output_dir / DETECTIONS_FILE, result.detections, indent=None)
    files.write_json(
        output_dir / METRICS_FILE,
        {"dataset": result.dataset_name, **result.to_json(), "provenance": dict(provenance or {})},
    )

"""Print an evaluation result as tables and lines of text."""

from __future__ import annotations

from collections.abc import Sequence

from detfinetune import console
from detfinetune.evaluation.result import EvaluationResult
from detfinetune.models.calibration import UNCALIBRATED

_COLUMNS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR")
_ENDS = 20
"""Best and worst classes that are shown of many."""


def figures_table(result: EvaluationResult) -> str:
    """Return one row per task: AP, AP50, AP75, AP by object size, and AR."""
    rows = [
        [task, *(metrics.figures[column] for column in _COLUMNS)]
        for task, metrics in result.metrics.items()
    ]
    return console.table(rows, ["task", *_COLUMNS])


def classes_table(result: EvaluationResult, classes: Sequence[str]) -> str:
    """Return one row per class: objects, detections, and AP and AP50 of each task.

    Of many classes, only those with the best and the worst AP.
    """
    headers = ["class", "objects", "detections"]
    rows: dict[str, list[object]] = {}
    for task, metrics in result.metrics.items():
        headers += [f"{task} AP", f"{task} AP50"]
        for entry in metrics.classes:
            row = rows.setdefault(entry.name, [entry.name, entry.num_objects, entry.num_detections])
            row += [entry.ap, entry.ap50]
    if len(classes) <= 2 * _ENDS:
        return console.table([rows[name] for name in classes], headers)
    figures = result.metrics[result.task].classes
    ranked = sorted((e for e in figures if e.ap is not None), key=lambda e: -(e.ap or 0.0))
    shown = ranked if len(ranked) <= 2 * _ENDS else [*ranked[:_ENDS], *ranked[-_ENDS:]]
    return (
        f"{console.table([rows[entry.name] for entry in shown], headers)}\n"
        f"({len(shown)} of {len(classes)} classes, the best and the worst; metrics.json has all)"
    )


def print_result(result: EvaluationResult, classes: Sequence[str], *, title: str) -> None:
    """Print tables, threshold, calibration, notes, diagnosis; nothing for an empty result."""
    if not result.metrics:
        return
    console.say(f"\n{title}: {result.num_images} images, {result.seconds:.0f} s")
    console.say(figures_table(result))
    console.say("")
    console.say(classes_table(result, classes))
    if result.threshold:
        at = result.threshold
        which = "val's best" if at.chosen_on == "val" else "best"
        console.say(
            f"\n{which} score threshold {at.score:.2f}: recall "
            f"{at.recall:.0%}, precision {at.precision:.0%}, F1 {at.f1:.0%} at IoU 0.5"
        )
    before, after = result.calibration_errors
    if result.calibration != UNCALIBRATED and before is not None and after is not None:
        console.say(
            f"scores are calibrated on val: {after:.1%} expected calibration error ({before:.1%} "
            "before)"
        )
    for note in result.notes:
        console.say(f"note: {note}")
    for cause in result.diagnosis:
        console.warn(cause)

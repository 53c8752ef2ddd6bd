"""An evaluation's figures as tables and lines for the screen."""

from __future__ import annotations

from detfinetune import console
from detfinetune.evaluation.result import EvaluationResult

_COLUMNS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR")


def figures_table(result: EvaluationResult) -> str:
    """Return one row a task: AP at all, half and three-quarter IoU, by object size, and recall."""
    rows = [
        [task, *(metrics.figures[column] for column in _COLUMNS)]
        for task, metrics in result.metrics.items()
    ]
    return console.table(rows, ["task", *_COLUMNS])


def classes_table(result: EvaluationResult) -> str:
    """Return one row a class: objects, detections, AP and AP50 of each task."""
    tasks = list(result.metrics.items())
    headers = ["class", "objects", "detections"]
    for task, _ in tasks:
        headers += [f"{task} AP", f"{task} AP50"]
    rows: list[list[object]] = []
    for at, entry in enumerate(tasks[0][1].classes if tasks else ()):
        row: list[object] = [entry.name, entry.num_objects, entry.num_detections]
        for _, metrics in tasks:
            row += [metrics.classes[at].ap, metrics.classes[at].ap50]
        rows.append(row)
    return console.table(rows, headers)


def show_result(result: EvaluationResult, title: str) -> None:
    """Print the tables, the best threshold, notes and diagnosis; nothing for an empty result."""
    if not result.metrics:
        return
    console.say(f"\n{title}: {result.num_images} images, {result.seconds:.0f} s")
    console.say(figures_table(result))
    console.say("")
    console.say(classes_table(result))
    if result.threshold:
        best = result.threshold
        console.say(
            f"\nbest score threshold {best.score:.2f}: finds {best.recall:.0%} of the objects, "
            f"{best.precision:.0%} of its predictions are right (IoU 0.5)"
        )
    for note in result.notes:
        console.say(f"note: {note}")
    for cause in result.diagnosis:
        console.warn(cause)

"""The simulated annotator: what corrections cost, on hand-made cases, and whole rounds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from detfinetune.labels.formats.json.label_store import Shape

REPO = Path(__file__).resolve().parents[1]
CLASSES = [f"class {number}" for number in range(10)]
QUICK = [
    "hardware=cpu", "augment.image_size=96", "solver.images_per_batch=4",
    "hardware.num_workers=0", "solver.warmup_iters=4", "model.rois_per_image=32",
]  # fmt: skip


@pytest.fixture
def annotator(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script as a module, which is no part of the package."""
    monkeypatch.syspath_prepend(REPO / "benchmarks")
    import annotator

    return annotator


def proposal(number: int, box: tuple[float, ...], class_id: int = 0, score: float = 0.5) -> Shape:
    return Shape(id=f"p{number}", class_id=class_id, box=box, score=score, accepted=False)


def test_an_image_without_proposals_is_drawn(annotator: Any) -> None:
    truth = annotator.Truth(np.array([[0, 0, 9, 9], [20, 0, 9, 9.0]]), np.array([1, 1]))
    done = annotator.correct((), truth, CLASSES)
    # Two boxes of a class that one key chooses, and Enter.
    assert (done.cost, done.inputs) == (6, 4)
    assert [(s.class_id, s.box, s.accepted) for s in done.shapes] == [
        (1, (0, 0, 9, 9), True), (1, (20, 0, 29, 9), True),
    ]  # fmt: skip
    nothing = annotator.correct((), annotator.Truth(np.empty((0, 4)), np.empty(0, int)), CLASSES)
    assert (nothing.shapes, nothing.cost, nothing.inputs) == ((), 0, 1)


def test_proposals_are_accepted_adjusted_and_deleted(annotator: Any) -> None:
    boxes = np.array([[0, 0, 10, 10], [20, 0, 10, 10], [40, 0, 10, 10], [60, 0, 10, 10.0]])
    truth = annotator.Truth(boxes, np.array([0, 0, 1, 9]))
    proposed = [
        proposal(1, (0, 0, 10, 8)),  # IoU 0.8
        proposal(2, (20, 0, 30, 6)),  # IoU 0.6
        proposal(3, (40, 0, 50, 10)),  # the wrong class
        proposal(4, (0, 0, 10, 7.5), score=0.4),  # the object has a better one
        proposal(5, (70, 70, 90, 90)),
    ]
    done = annotator.correct(proposed, truth, CLASSES)
    assert done.cost == 0 + 2 + 2 + 1 + 1 + 3
    # To the first proposal, one key for each, two drags, a class; a box, T, 'class 9' and Enter;
    # Enter.
    assert done.inputs == 1 + 5 + 2 + 1 + (1 + 9) + 1
    assert [(s.id, s.class_id, s.box) for s in done.shapes] == [
        ("p1", 0, (0, 0, 10, 8)), ("p2", 0, (20, 0, 30, 10)), ("p3", 1, (40, 0, 50, 10)),
        ("h3", 9, (60, 0, 70, 10)),
    ]  # fmt: skip
    assert all(shape.accepted for shape in done.shapes)


def test_an_object_of_the_same_class_comes_first(annotator: Any) -> None:
    truth = annotator.Truth(np.array([[0, 0, 10, 10.0]]), np.array([0]))
    proposed = [proposal(1, (0, 0, 10, 10), 1, 0.9), proposal(2, (0, 0, 10, 9), 0, 0.3)]
    done = annotator.correct(proposed, truth, CLASSES)
    assert (done.cost, [shape.id for shape in done.shapes]) == (1, ["p2"])


def test_missing_data_is_said(
    annotator: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["x", "chess", "--data-root", "none"])
    annotator.main()
    assert capsys.readouterr().out == "none: there is no such folder; nothing is measured.\n"


@pytest.mark.slow  # Two trainings of 80 steps, in processes of their own.
def test_rounds_of_training_and_correcting(
    annotator: Any, toy_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["x", "custom", "--data-root", str(toy_dataset), "--first", "16", "--images", "8"]
    words += ["--rounds", "1", "--steps", "80", "--output", str(tmp_path), "--overrides", *QUICK]
    monkeypatch.setattr("sys.argv", words)
    annotator.main()
    first, second = rows = json.loads((tmp_path / "annotator.json").read_text())
    assert [(row["images"], row["labelled"]) for row in rows] == [(16, 16), (8, 24)]
    assert first["cost"] == first["by_hand"] == 3 * first["objects"] > 0
    assert second["by_hand"] == 3 * second["objects"] > 0
    assert second["cost"] < 0.6 * second["by_hand"]
    assert second["ap_test"] > 30
    with Image.open(tmp_path / "annotator.png") as picture:
        assert picture.size[0] > 1000
    # The same command finds all done.
    table = (tmp_path / "annotator.md").read_text()
    monkeypatch.setattr(annotator, "command", None)
    annotator.main()
    assert (tmp_path / "annotator.md").read_text() == table

"""Figures of labelling, by hand."""

from __future__ import annotations

from typing import Any

from detfinetune.annotate.figures import RoundFigures, corrections, round_figures
from detfinetune.labels.formats.json.label_store import ImageDocument, Proposal, Shape


def shape(identity: str, x: float = 0.0, class_id: int = 0) -> Shape:
    return Shape(id=identity, class_id=class_id, box=(x, 0, x + 10, 10))


def save(image: str, state: str = "done", was: str = "todo", **values: Any) -> dict[str, Any]:
    nothing = dict.fromkeys(("shapes", "seconds", "inputs"), 0)
    counts = dict.fromkeys(("accepted", "edited", "deleted", "added"), 0)
    return {
        "event": "save",
        "image": image,
        "state": state,
        "was": was,
        **nothing,
        **counts,
    } | values


def test_corrections_compare_the_shapes_with_what_was_proposed() -> None:
    proposal = Proposal(model="m", round=1, shapes=(shape("a"), shape("b"), shape("c"), shape("d")))
    shapes = (shape("a"), shape("b", x=1), shape("c", class_id=1), shape("new"))
    document = ImageDocument(width=50, height=50, shapes=shapes, proposal=proposal)
    assert corrections(document) == {"accepted": 1, "edited": 2, "deleted": 1, "added": 1}


def test_without_a_proposal_all_shapes_were_added() -> None:
    document = ImageDocument(width=50, height=50, shapes=(shape("a"), shape("b")))
    assert corrections(document) == {"accepted": 0, "edited": 0, "deleted": 0, "added": 2}


def test_an_image_counts_once_with_its_last_shapes_and_all_its_effort() -> None:
    events = [
        save("a", state="todo", shapes=1, seconds=2, inputs=3, added=1),
        save("a", was="todo", shapes=4, seconds=5, inputs=4, added=4),
        save("a", was="done", shapes=3, seconds=1.5, inputs=1, added=3),
        save("b", shapes=0, seconds=1, inputs=1),
    ]
    assert round_figures(events) == [
        RoundFigures(0, images=2, objects=3, seconds=9.5, inputs=9, added=3)
    ]


def test_rounds_end_where_a_model_has_proposed() -> None:
    events = [
        save("a", shapes=2, seconds=10, inputs=8, added=2),
        {"event": "classes", "revision": 1},
        {"event": "round", "round": 1, "ap": 41.5},
        save("a", was="done", shapes=3, seconds=3, inputs=2, added=3),
        save("b", state="proposed", was="todo"),
        save("b", was="proposed", shapes=5, seconds=4, inputs=3, accepted=3, edited=1, deleted=2,
             added=1),
    ]  # fmt: skip
    assert round_figures(events) == [
        RoundFigures(0, images=1, objects=2, seconds=10, inputs=8, added=2, ap=41.5),
        RoundFigures(
            1, images=1, objects=5, seconds=4, inputs=3, accepted=3, edited=1, deleted=2, added=1
        ),
    ]


def test_an_image_that_is_opened_again_counts_when_it_is_done_again() -> None:
    events = [
        save("a", seconds=1, inputs=1),
        save("a", state="unsure", was="done", seconds=1, inputs=1),
    ]
    assert round_figures(events) == [RoundFigures(0)]
    events += [
        {"event": "round", "round": 1, "ap": None},
        save("a", was="unsure", shapes=1, seconds=1, inputs=1, added=1),
    ]
    assert round_figures(events)[1] == RoundFigures(
        1, images=1, objects=1, seconds=3, inputs=3, added=1
    )


def test_images_that_were_done_before_do_not_count() -> None:
    assert round_figures([save("a", was="done", shapes=9, seconds=9, added=9)]) == [RoundFigures(0)]

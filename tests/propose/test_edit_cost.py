"""Thresholds by the cost of editing, on cases worked out by hand."""

from __future__ import annotations

import numpy as np

from detfinetune.propose.edit_cost import Boxes, ClassCost, cheapest, class_costs

# Of a label of 10 x 10 px at 0, 0: IoU 1, 0.75 exactly, 0.6 and 0.4.
SAME, ACCEPTED, ADJUSTED, WRONG = (
    (0, 0, 10, 10), (0, 0, 10, 7.5), (0, 0, 10, 6), (0, 0, 10, 4),
)  # fmt: skip


def boxes(*rows: tuple[tuple[float, ...], int, float]) -> Boxes:
    """Return boxes of (xywh, class id, score)."""
    return Boxes(
        np.array([row[0] for row in rows], dtype=float).reshape(-1, 4),
        np.array([row[1] for row in rows], dtype=int),
        np.array([row[2] for row in rows], dtype=float),
    )


def label(*places: tuple[float, ...], class_id: int = 0) -> Boxes:
    return boxes(*((place, class_id, 1.0) for place in places))


def moved(place: tuple[float, ...], x: float) -> tuple[float, ...]:
    return (place[0] + x, *place[1:])


def cost_of(*pairs: tuple[Boxes, Boxes]) -> ClassCost:
    """Return the cost of class 0."""
    proposals, labels = zip(*pairs, strict=True)
    return class_costs(proposals, labels, 1)[0]


def test_each_correction_has_its_price() -> None:
    assert cost_of((boxes((SAME, 0, 0.9)), label(SAME))) == ClassCost(0.9, 0, 3)
    assert cost_of((boxes((ACCEPTED, 0, 0.9)), label(SAME))) == ClassCost(0.9, 0, 3)
    assert cost_of((boxes((ADJUSTED, 0, 0.9)), label(SAME))) == ClassCost(0.9, 2, 3)
    # Deleting it and drawing the object is dearer than drawing alone.
    assert cost_of((boxes((WRONG, 0, 0.9)), label(SAME))) == ClassCost(None, 3, 3)
    assert cost_of((boxes(), label(SAME))) == ClassCost(None, 3, 3)
    assert cost_of((boxes((SAME, 0, 0.9)), label())) == ClassCost(None, 0, 0)


def test_the_threshold_with_the_least_cost_is_chosen() -> None:
    far = [moved(SAME, 100.0 * number) for number in range(1, 6)]
    proposed = boxes(
        (SAME, 0, 0.9),  # 6 - 3
        (far[1], 0, 0.8),  # + 1
        (far[0], 0, 0.6),  # - 3: the best
        (far[2], 0, 0.5),  # + 1
        (far[3], 0, 0.4),  # + 1
    )
    assert cost_of((proposed, label(SAME, far[0]))) == ClassCost(0.6, 1, 6)


def test_of_equal_costs_the_highest_threshold_is_chosen() -> None:
    far = [moved(SAME, 100.0 * number) for number in range(1, 6)]
    wrong = [(place, 0, 0.8) for place in far[1:4]]
    proposed = boxes((SAME, 0, 0.9), *wrong, (far[0], 0, 0.5))
    assert cost_of((proposed, label(SAME, far[0]))) == ClassCost(0.9, 3, 6)


def test_proposals_of_one_score_are_shown_together() -> None:
    far = [moved(SAME, 100.0 * number) for number in range(1, 6)]
    wrong = [(place, 0, 0.8) for place in far]
    assert cost_of((boxes((SAME, 0, 0.8), *wrong), label(SAME))) == ClassCost(None, 3, 3)
    # In different images too.
    pairs = [(boxes((SAME, 0, 0.8)), label(SAME))] + [(boxes(each), label()) for each in wrong]
    assert cost_of(*pairs) == ClassCost(None, 3, 3)


def test_a_label_is_found_once_and_by_the_best_score() -> None:
    assert cost_of((boxes((SAME, 0, 0.9), (SAME, 0, 0.7)), label(SAME))) == ClassCost(0.9, 0, 3)
    # The better box comes too late for the label that the first one has taken.
    late = boxes((ADJUSTED, 0, 0.9), (SAME, 0, 0.7))
    assert cost_of((late, label(SAME))) == ClassCost(0.9, 2, 3)
    # Each takes the label that it overlaps most, and the next one what is left.
    beside = (0.0, 0.0, 10.0, 6.0)
    both = boxes((SAME, 0, 0.9), (SAME, 0, 0.7))
    assert cost_of((both, label(beside, SAME))) == ClassCost(0.7, 2, 6)


def test_a_threshold_does_not_change_who_takes_a_label() -> None:
    found = boxes((ADJUSTED, 0, 0.9), (SAME, 0, 0.7), (moved(SAME, 50), 0, 0.6))
    labels = label(SAME, moved(SAME, 50))
    # 6 - 1 + 1 - 3
    assert cost_of((found, labels)) == ClassCost(0.6, 3, 6)


def test_classes_are_apart() -> None:
    proposed = boxes((SAME, 1, 0.9), (moved(SAME, 50), 1, 0.4))
    labels = boxes((SAME, 0, 1.0), (moved(SAME, 50), 1, 1.0))
    assert class_costs([proposed], [labels], 3) == [
        ClassCost(None, 3, 3),  # the right box of the wrong class
        ClassCost(0.4, 1, 3),
        ClassCost(None, 0, 0),
    ]


def test_the_cheapest_source_is_chosen() -> None:
    by_hand, good, better = ClassCost(None, 9, 9), ClassCost(0.5, 4, 9), ClassCost(0.2, 3, 9)
    assert cheapest({"zero-shot": [good, good], "own": [better, better]}) == "own"
    assert cheapest({"zero-shot": [good, better], "own": [better, good]}) == "zero-shot"
    assert cheapest({"zero-shot": [by_hand, by_hand], "own": [by_hand, good]}) == "own"

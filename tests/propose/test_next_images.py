"""Which images are labelled next: exact choices on hand-made cases."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from detfinetune.prediction import Prediction
from detfinetune.propose.next_images import choose_diverse, descriptors, uncertainties


def found(scores: list[float], class_ids: list[int]) -> Prediction:
    boxes = np.zeros((len(scores), 4), dtype=np.float32)
    return Prediction(boxes, np.array(scores), np.array(class_ids, int), ("a", "b"), 10, 10)


def test_an_image_is_uncertain_by_all_that_is_found_in_it() -> None:
    images = {"a": found([0.5, 0.9], [0, 1]), "b": found([1.0], [0]), "c": found([], [])}
    assert uncertainties(images) == pytest.approx([0.25 + 0.09, 0, 0])


def test_the_product_of_uncertainty_and_distance_is_chosen() -> None:
    places = np.array([[0.0], [0.1], [1.0], [5.0]])
    uncertainty = np.array([2.0, 1.9, 0.5, 0.3])
    # Too few for one at random. First the most uncertain; then 0.19, 0.5 and 1.5; then what is
    # far from both: 0.19 and 0.5 again.
    assert choose_diverse(uncertainty, places, 2, Random(0)) == [0, 3]
    only = [choose_diverse(uncertainty, places, 2, Random(seed)) for seed in range(5)]
    assert only == [[0, 3]] * 5


def test_two_that_look_alike_are_not_both_chosen() -> None:
    places = np.array([[0.0], [0.0], [1.0]])
    assert choose_diverse(np.array([9.0, 8.0, 0.0]), places, 2, Random(0)) == [0, 2]


def test_a_fifth_is_chosen_at_random_first() -> None:
    uncertainty = np.zeros(100)
    uncertainty[:8] = 1
    places = np.eye(100)
    chosen = choose_diverse(uncertainty, places, 10, Random(3))
    assert chosen[:2] == Random(3).sample(range(100), 2)
    assert set(chosen[2:]) == set(range(8)) - set(chosen[:2])
    assert len(set(chosen)) == 10
    assert choose_diverse(uncertainty, places, 10, Random(3)) == chosen
    assert choose_diverse(uncertainty, places, 100, Random(3)) != list(range(100))
    assert sorted(choose_diverse(uncertainty, places, 100, Random(3))) == list(range(100))


def test_colours_and_expected_objects_have_one_scale() -> None:
    images = {"a": found([0.5, 0.5], [0, 0]), "b": found([1.0], [1]), "c": found([], [])}
    copies = [np.full(12, level, dtype=np.uint8) for level in (0, 100, 200)]
    places = descriptors(images, copies)
    assert places.shape == (3, 14)
    for half in (places[:, :12], places[:, 12:]):
        assert half.sum(axis=0) == pytest.approx(0, abs=1e-9)
        assert (half**2).sum() == pytest.approx(3)
    # Pictures of one colour do not differ in it.
    assert descriptors(images, [copies[0]] * 3)[:, :12].tolist() == [[0] * 12] * 3
    assert descriptors({}, []).shape == (0, 0)

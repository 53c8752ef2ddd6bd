"""Answers to train on, token by token."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from answers import END, START, VOCABULARY, box

from detfinetune.config.schema import DataConfig
from detfinetune.data.sample import Sample
from detfinetune.labels.formats.location_bins import dequantize, quantize
from detfinetune.labels.prepare import prepare_dataset
from detfinetune.models.florence2.targets import answer_tokens

# Pixels of a 100x200 image, so that a bin is 0.1 x 0.2 px; bottom, top right, top left.
BOXES = [[10.0, 100.0, 20.0, 150.0], [50.0, 20.0, 60.0, 40.0], [5.0, 20.0, 30.0, 60.0]]
PARK = [10, 11, *box(100, 500, 200, 750)]
CAR = [10, *box(500, 100, 600, 200)]
BUS = [12, 13, *box(50, 100, 300, 300)]


def sample(boxes: list[list[float]], class_ids: list[int]) -> Sample:
    return Sample(
        np.zeros((200, 100, 3), np.uint8), np.array(boxes).reshape(-1, 4),
        np.array(class_ids, dtype=np.int64), None, 400, 200,
    )  # fmt: skip


def test_objects_are_written_from_top_to_bottom() -> None:
    tokens = answer_tokens(sample(BOXES, [1, 0, 2]), VOCABULARY, "raster", 100)
    assert tokens == [START, *BUS, *CAR, *PARK, END]


def test_an_image_without_objects_has_an_empty_answer() -> None:
    assert answer_tokens(sample([], []), VOCABULARY, "raster", 100) == [START, END]


def test_objects_that_do_not_fit_are_left_out_without_an_end() -> None:
    objects = sample(BOXES, [1, 0, 2])
    assert answer_tokens(objects, VOCABULARY, "raster", 19) == [START, *BUS, *CAR, *PARK, END]
    assert answer_tokens(objects, VOCABULARY, "raster", 18) == [START, *BUS, *CAR]
    assert answer_tokens(objects, VOCABULARY, "raster", 6) == [START]


def test_shuffled_objects_follow_numpys_seed() -> None:
    def drawn(seed: int) -> tuple[int, ...]:
        np.random.seed(seed)
        return tuple(answer_tokens(sample(BOXES, [1, 0, 2]), VOCABULARY, "shuffled", 100))

    assert drawn(3) == drawn(3)
    answers = {drawn(seed) for seed in range(40)}
    assert len(answers) == 6
    assert {tuple(sorted(answer)) for answer in answers} == {
        tuple(sorted([START, *BUS, *CAR, *PARK, END]))
    }


@pytest.mark.benchmark_data
@pytest.mark.parametrize("name", ["chess", "bccd"])
def test_real_labels_make_the_round_trip(shared_data: Path, name: str) -> None:
    dataset = prepare_dataset(DataConfig(root=shared_data / name))
    for table in dataset.tables.values():
        assert table.num_objects
        for number, (width, height) in enumerate(table.sizes):
            rows = table.boxes[table.starts[number] : table.starts[number + 1]]
            boxes = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:]], axis=1)
            again = dequantize(quantize(boxes, (width, height)), (width, height))
            half = np.array([width, height, width, height]) / 2000
            assert (np.abs(again - boxes) <= half + 1e-9).all()

"""Splits are balanced by class, keep groups whole and are the same everywhere."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from detfinetune.errors import ConfigError
from detfinetune.labels.splits import assign
from detfinetune.labels.splits.assign import HELD_OUT, fold_splits
from detfinetune.labels.splits.split_table import split_table

Counts = NDArray[np.int64]
FIFTEEN = {"val": 0.15, "test": 0.15}
QUARTERS = {"val": 0.25, "test": 0.25}
TWELVE = np.array(
    [[3, 0, 0], [1, 1, 0], [0, 0, 0], [2, 0, 1], [5, 0, 0], [0, 2, 0],
     [0, 0, 0], [1, 0, 0], [4, 1, 0], [2, 0, 0], [0, 0, 0], [1, 1, 0]]
)  # fmt: skip


def assign_splits(counts: Counts, **options: Any) -> dict[str, list[int]]:
    return assign.assign_splits(counts, **named(counts), **options)


def assign_folds(counts: Counts, **options: Any) -> list[int]:
    return assign.assign_folds(counts, **named(counts), **options)


def named(counts: Counts) -> dict[str, list[str]]:
    images, classes = counts.shape
    return {
        "names": [f"{number:06}.jpg" for number in range(images)],
        "classes": [f"class {number}" for number in range(classes)],
    }


def scenes(images: int, classes: int, seed: int = 0) -> Counts:
    """Multi-label counts: classes from frequent to rare, a quarter of the images empty."""
    rng = np.random.default_rng(seed)
    rate = 4 / np.arange(1, classes + 1) ** 1.2 * rng.gamma(0.5, 2, size=(images, 1))
    counts = rng.poisson(rate) * rng.integers(0, 2, size=(images, classes))
    return np.asarray(counts, dtype=np.int64)


def points_off(counts: Counts, splits: dict[str, list[int]], wanted: dict[str, float]) -> Counts:
    """Share of each class in each held-out split, minus the wanted share, in points."""
    total = counts.sum(axis=0)
    return np.array(
        [100 * (counts[splits[name]].sum(axis=0) / total - share) for name, share in wanted.items()]
    )[:, total > 0]


def random_splits(images: int, wanted: dict[str, float], seed: int) -> dict[str, list[int]]:
    order = np.random.default_rng(seed).permutation(images).tolist()
    splits = {}
    for name, share in wanted.items():
        number = round(images * share)
        splits[name], order = order[:number], order[number:]
    return splits


# --- exact ---------------------------------------------------------------------------------------


def test_the_same_split_for_ever() -> None:
    """A change of these would give every user another split for the seed that they know."""
    assert assign_splits(TWELVE, fractions=QUARTERS, groups=None, seed=0) == {
        "train": [0, 3, 6, 8, 9], "val": [4, 5, 7, 10], "test": [1, 2, 11],
    }  # fmt: skip
    assert assign_splits(TWELVE, fractions=QUARTERS, groups=None, seed=7) == {
        "train": [1, 3, 4, 9, 10], "val": [2, 8, 11], "test": [0, 5, 6, 7],
    }  # fmt: skip
    groups = list("aabbccddeeff")
    assert assign_splits(TWELVE, fractions=QUARTERS, groups=groups, seed=0) == {
        "train": [2, 3, 8, 9], "val": [6, 7, 10, 11], "test": [0, 1, 4, 5],
    }  # fmt: skip
    assert assign_folds(TWELVE, folds=3, groups=None, seed=0) == [
        0, 2, 2, 1, 0, 1, 1, 0, 0, 1, 0, 2,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("images", "splits"),
    [
        (0, {}),
        (1, {"train": 1}),
        (2, {"train": 1, "val": 1}),
        (3, {"train": 1, "val": 1, "test": 1}),
        (4, {"train": 2, "val": 1, "test": 1}),
    ],
)
@pytest.mark.parametrize("kind", ["one object each", "no objects", "no classes", "own classes"])
def test_small_sets_give_every_split_one_as_long_as_train_keeps_one(
    images: int, splits: dict[str, int], kind: str
) -> None:
    counts = {
        "one object each": np.ones((images, 1)),
        "no objects": np.zeros((images, 2)),
        "no classes": np.zeros((images, 0)),
        "own classes": np.eye(images),
    }[kind].astype(np.int64)
    for seed in range(3):
        found = assign_splits(counts, fractions=FIFTEEN, groups=None, seed=seed)
        assert {name: len(part) for name, part in found.items()} == splits


def test_only_the_splits_asked_for() -> None:
    counts = np.ones((20, 1), dtype=np.int64)
    found = assign_splits(counts, fractions={"val": 0.2, "test": 0}, groups=None, seed=0)
    assert {name: len(part) for name, part in found.items()} == {"train": 16, "val": 4}
    assert assign_splits(counts, fractions={}, groups=None, seed=0) == {"train": list(range(20))}


def test_a_class_of_one_image_is_trained_on_and_one_of_three_is_everywhere() -> None:
    counts = np.zeros((60, 4), dtype=np.int64)
    counts[:, 0] = 2
    counts[17, 1] = 1  # once
    counts[[4, 30], 2] = 3  # twice
    counts[[8, 9, 50], 3] = 1  # as often as there are splits
    for seed in range(20):
        found = assign_splits(counts, fractions=FIFTEEN, groups=None, seed=seed)
        images = {
            name: counts[part].astype(bool).sum(axis=0).tolist() for name, part in found.items()
        }
        assert 17 in found["train"]
        assert images["train"][2] == 1
        assert [images[name][3] for name in ("train", "val", "test")] == [1, 1, 1]
        assert [len(part) for part in found.values()] == pytest.approx([42, 9, 9], abs=3)


def test_a_class_of_one_image_is_trained_on_even_where_train_is_the_smallest_part() -> None:
    rng = np.random.default_rng(0)
    for seed in range(200):
        counts = np.zeros((int(rng.integers(4, 30)), 2), dtype=np.int64)
        counts[:, 0] = rng.integers(1, 50, len(counts))
        counts[(only := int(rng.integers(len(counts)))), 1] = 5
        found = assign_splits(counts, fractions={"val": 0.45, "test": 0.45}, groups=None, seed=seed)
        assert only in found["train"]


def test_another_seed_gives_another_split() -> None:
    counts = scenes(200, 5)
    found = {
        tuple(assign_splits(counts, fractions=FIFTEEN, groups=None, seed=seed)["val"])
        for seed in range(10)
    }
    assert len(found) == 10


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        (
            {"val": 0.6, "test": 0.4},
            r"data\.val_fraction=0\.6 and data\.test_fraction=0\.4: nothing is left",
        ),
        ({"val": 1.0}, r"data\.val_fraction=1\.0: should be 0 or more, and below 1"),
        ({"val": float("nan")}, r"data\.val_fraction=nan: should be"),
        ({"val": -0.1, "test": 2}, "2 problems"),
    ],
)
def test_fractions_that_leave_nothing_to_train_on(
    fractions: dict[str, float], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        assign_splits(TWELVE, fractions=fractions, groups=None, seed=0)


# --- balance -------------------------------------------------------------------------------------


@pytest.mark.parametrize("images", [60, 300, 3000])
def test_every_class_gets_its_share_of_images_with_one_class(images: int) -> None:
    rng = np.random.default_rng(0)
    classes = rng.choice(6, images, p=[0.5, 0.2, 0.15, 0.07, 0.05, 0.03])
    counts = np.eye(6, dtype=np.int64)[classes] * rng.integers(1, 9, images)[:, None]
    found = assign_splits(counts, fractions=FIFTEEN, groups=None, seed=0)
    for name, share in FIFTEEN.items():
        for number in range(6):
            there = (classes == number).sum()
            assert (classes[found[name]] == number).sum() == pytest.approx(share * there, abs=1.01)


@pytest.mark.parametrize("classes", [1, 4, 12])
@pytest.mark.parametrize("share", [0.1, 0.15, 0.2])
def test_an_edit_of_one_image_hardly_moves_others(classes: int, share: float) -> None:
    """So the images that a model was tested on stay out of training when the data grows."""
    wanted = {"val": share, "test": share}
    rng = np.random.default_rng(0)
    moved: list[list[int]] = [[], [], [], []]
    for seed in range(4):
        counts = scenes(200, classes, seed)
        names, words = [f"{number:06}.jpg" for number in range(200)], named(counts)["classes"]
        before = splits_by_name(names, counts, words, wanted, seed)
        for _ in range(40):
            image, number = int(rng.integers(200)), int(rng.integers(classes))
            relabelled = counts.copy()
            relabelled[image, number] += 1
            typo = np.column_stack([np.zeros(200, dtype=np.int64), counts])
            typo[image, 0] = 1
            grown = np.vstack([counts, counts[image]])
            shrunk = names[:image] + names[image + 1 :]
            for number, after in enumerate(
                (
                    splits_by_name(names, relabelled, words, wanted, seed),
                    splits_by_name(names, typo, ["a new class", *words], wanted, seed),
                    splits_by_name([*names, f"new{image}.jpg"], grown, words, wanted, seed),
                    splits_by_name(shrunk, np.delete(counts, image, 0), words, wanted, seed),
                )
            ):
                others = [name for name in names if name != names[image]]
                moved[number].append(sum(before[name] != after[name] for name in others))
    # Two strata with two boundaries each, and a rare class that left a split: four at the most.
    assert np.mean(np.array(moved) > 3) < 0.01
    assert np.max(moved) <= 4
    assert np.mean(moved) < 1


def splits_by_name(
    names: list[str], counts: Counts, classes: list[str], wanted: dict[str, float], seed: int
) -> dict[str, str]:
    found = assign.assign_splits(
        counts, names=names, classes=classes, fractions=wanted, groups=None, seed=seed
    )
    return {names[image]: split for split, images in found.items() for image in images}


def test_unstratified_splits_balance_the_images_alone() -> None:
    counts = scenes(200, 6)
    found = assign_splits(counts, fractions=FIFTEEN, groups=None, seed=0, stratify=False)
    assert [len(part) for part in found.values()] == pytest.approx([140, 30, 30], abs=2)
    blind = assign_splits(counts * 0, fractions=FIFTEEN, groups=None, seed=0, stratify=False)
    assert found == blind


def test_groups_of_all_sizes_are_balanced_and_never_cut() -> None:
    counts = scenes(1200, 8)
    rng = np.random.default_rng(1)
    groups = [f"video {number}" for number in np.sort(rng.geometric(0.02, 1200)).tolist()]
    found = assign_splits(counts, fractions=FIFTEEN, groups=groups, seed=0)
    owners = [{groups[image] for image in part} for part in found.values()]
    assert sum(map(len, owners)) == len(set.union(*owners)) == len(set(groups))
    for name, share in FIFTEEN.items():
        assert len(found[name]) == pytest.approx(share * 1200, abs=60)


@pytest.mark.parametrize("grouped", [False, True])
def test_folds_hold_each_image_once_and_are_alike(grouped: bool) -> None:
    counts = scenes(500, 6)
    groups = [str(image // 5) for image in range(500)] if grouped else None
    fold_of = assign_folds(counts, folds=5, groups=groups, seed=0)
    rounds = [fold_splits(fold_of, fold) for fold in range(5)]
    assert sorted(image for splits in rounds for image in splits["val"]) == list(range(500))
    for splits in rounds:
        assert sorted(splits["train"] + splits["val"]) == list(range(500))
        assert len(splits["val"]) == pytest.approx(100, abs=15 if grouped else 3)
        share = counts[splits["val"]].sum(axis=0) / counts.sum(axis=0)
        assert share[:3] == pytest.approx([0.2] * 3, abs=0.07)
    if groups:
        assert len({(group, fold) for group, fold in zip(groups, fold_of, strict=True)}) == 100


def test_held_out_images_are_in_no_fold() -> None:
    counts = scenes(200, 4)
    groups = [str(image // 4) for image in range(200)]
    fold_of = assign_folds(counts, folds=4, groups=groups, seed=1, test_fraction=0.2)
    assert fold_of.count(HELD_OUT) == pytest.approx(40, abs=8)
    rounds = [fold_splits(fold_of, fold) for fold in range(4)]
    assert {tuple(splits["test"]) for splits in rounds} == {
        tuple(image for image, fold in enumerate(fold_of) if fold == HELD_OUT)
    }
    assert [len(splits["val"]) for splits in rounds] == pytest.approx([40] * 4, abs=8)


@pytest.mark.parametrize(
    ("folds", "groups", "message"),
    [
        (1, None, "data.folds=1: .* at least 2"),
        (13, None, "data.folds=13: this needs at least 13 images, and there are 12"),
        (3, list("aaaabbbbbbbb"), r"3 groups of images, and there are 2.*data\.split_groups"),
    ],
)
def test_impossible_folds(folds: int, groups: list[str] | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        assign_folds(TWELVE, folds=folds, groups=groups, seed=0)


def test_a_fold_that_is_not_there() -> None:
    with pytest.raises(
        ConfigError, match=r"data\.fold=3: there is no such fold; the folds are 0 to 2"
    ):
        fold_splits([0, 1, 2, HELD_OUT], 3)


def test_a_hundred_thousand_images_take_seconds() -> None:
    """Linear in the images: a quadratic method would take hours here."""
    counts = scenes(100_000, 80)
    start = time.process_time()
    found = assign_splits(counts, fractions=FIFTEEN, groups=None, seed=0)
    assert time.process_time() - start < 20
    assert np.abs(points_off(counts, found, FIFTEEN)).mean() < 0.8


# --- properties ----------------------------------------------------------------------------------


@st.composite
def problems(draw: st.DrawFn) -> tuple[Counts, list[str] | None, dict[str, float], int]:
    images = draw(st.integers(0, 25))
    classes = draw(st.integers(0, 5))
    amount = st.one_of(st.just(0), st.integers(0, 3), st.integers(0, 1000))
    rows = st.lists(amount, min_size=classes, max_size=classes)
    counts = draw(st.lists(rows, min_size=images, max_size=images))
    group = st.lists(st.sampled_from("abcdefgh"), min_size=images, max_size=images)
    groups = draw(st.one_of(st.none(), group))
    share = st.floats(0, 0.45)
    fractions = {"val": draw(share), "test": draw(share)}
    array = np.array(counts, dtype=np.int64).reshape(images, classes)
    return array, groups, fractions, draw(st.integers(0, 2**32))


@given(problems(), st.booleans())
def test_any_split_is_a_partition_of_whole_groups(
    problem: tuple[Counts, list[str] | None, dict[str, float], int], by_class: bool
) -> None:
    counts, groups, fractions, seed = problem
    found = assign_splits(counts, fractions=fractions, groups=groups, seed=seed, stratify=by_class)
    again = assign_splits(counts, fractions=fractions, groups=groups, seed=seed, stratify=by_class)
    assert found == again
    assert sorted(image for part in found.values() for image in part) == list(range(len(counts)))
    assert all(part == sorted(part) for part in found.values())
    names = groups or [str(image) for image in range(len(counts))]
    owner: dict[str, str] = {}
    for split, part in found.items():
        assert all(owner.setdefault(names[image], split) == split for image in part)
    # Train is served first, then one group each for the others.
    asked = [name for name, share in fractions.items() if share > 0]
    assert len(found) == min(len(set(names)), 1 + len(asked))
    assert "train" in found or not len(counts)


@given(problems(), st.integers(2, 6))
def test_any_folds_are_a_partition_of_whole_groups(
    problem: tuple[Counts, list[str] | None, dict[str, float], int], folds: int
) -> None:
    counts, groups, _, seed = problem
    names = groups or [str(image) for image in range(len(counts))]
    if len(set(names)) < folds:
        with pytest.raises(ConfigError, match=r"data\.folds=.: this needs at least"):
            assign_folds(counts, folds=folds, groups=groups, seed=seed)
        return
    fold_of = assign_folds(counts, folds=folds, groups=groups, seed=seed)
    assert fold_of == assign_folds(counts, folds=folds, groups=groups, seed=seed)
    assert len(fold_of) == len(counts)
    assert set(fold_of) == set(range(folds))
    assert len(set(zip(names, fold_of, strict=True))) == len(set(names))


# --- the table -----------------------------------------------------------------------------------


def test_the_table_shows_shares_and_what_is_missing() -> None:
    counts = np.array([[9, 1], [1, 0], [0, 0], [10, 0]])
    text = split_table(
        counts, ["bolt", "nut"], {"train": [0, 1, 2], "val": [3]}, {"val": 0.25, "test": 0.0}
    )
    assert text.splitlines() == [
        "objects of                  all    train    % (75)    val    % (25)",
        "------------------------  -----  -------  --------  -----  --------",
        "bolt                         20       10      50.0     10      50.0",
        "nut                           1        1     100.0      0       0.0",
        "(images)                      4        3      75.0      1      25.0",
        "(images without objects)      1        1     100.0      0       0.0",
        "Not in val: nut.",
    ]


def test_the_table_of_many_classes_shows_the_most_frequent() -> None:
    counts = np.ones((10, 50), dtype=np.int64)
    counts[:5, 7] = 5
    names = [f"class {number}" for number in range(50)]
    counts[:5, 40] = 4
    splits = {"train": list(range(5)), "val": list(range(5, 10))}
    text = split_table(counts, names, splits, {"val": 0.5})
    shown = [line.split("  ")[0] for line in text.splitlines()[2:]]
    assert shown[:31] == [*names[:29], "class 40", "(images)"]
    assert "... and 20 rarer classes." in text


# --- real data -----------------------------------------------------------------------------------


@pytest.mark.benchmark_data
@pytest.mark.parametrize(
    ("name", "images", "largest"), [("chess", [109, 24, 23], 6.0), ("bccd", [254, 55, 55], 5.0)]
)
def test_real_labels_are_divided_evenly(
    shared_data: Path, name: str, images: list[int], largest: float
) -> None:
    classes = (shared_data / name / "classes.txt").read_text().split()
    paths = sorted((shared_data / name / "labels").rglob("*.txt"), key=lambda path: path.as_posix())
    counts = np.zeros((len(paths), len(classes)), dtype=np.int64)
    for row, path in zip(counts, paths, strict=True):
        for line in path.read_text().splitlines():
            row[int(line.split()[0])] += 1
    for seed in range(5):
        found = assign_splits(counts, fractions=FIFTEEN, groups=None, seed=seed)
        assert [len(part) for part in found.values()] == pytest.approx(images, abs=3)
        assert np.abs(points_off(counts, found, FIFTEEN)).max() < largest
        assert all(counts[part].sum(axis=0).min() for part in found.values())

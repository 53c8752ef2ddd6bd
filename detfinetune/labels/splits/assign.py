"""Assign images to splits or folds: seeded, stratified by class, groups kept together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from detfinetune.errors import ConfigError
from detfinetune.labels.splits.stratify import stratify as divide_units

HELD_OUT = -1
"""Fold number of test images, which are in no fold."""


def assign_splits(
    class_counts: NDArray[np.int64],
    *,
    fractions: Mapping[str, float],
    groups: Sequence[str] | None,
    seed: int,
    stratify: bool = True,
) -> dict[str, list[int]]:
    """Divide images into train and the splits of `fractions`.

    Objects of each class, images without objects and the number of images are all divided by these
    fractions, as closely as whole groups allow. A split with a fraction gets at least one group as
    long as train keeps one; so does each split of every class that enough groups have. Classes too
    rare for that are in train first. The same input and seed give the same splits on any machine.

    Args:
        class_counts: objects of each class in each image; (images, classes).
        fractions: fraction of the images for each split but train, 0 to 1; together below 1.
        groups: name of each image's group, which stays together; None: no groups.
        seed: of the random choice.
        stratify: whether classes are balanced; else only the number of images is.

    Returns:
        Image indices by split, ascending; splits that got none are left out.

    Raises:
        ConfigError: the fractions leave nothing for train.
    """
    _check_fractions(fractions)
    names = ["train", *(name for name, fraction in fractions.items() if fraction > 0)]
    rest = 1.0
    for name in names[1:]:
        rest -= fractions[name]
    shares = [rest, *(fractions[name] for name in names[1:])]
    part_of = _divide(class_counts, groups, shares, seed, stratify, first_is_train=True)
    splits: dict[str, list[int]] = {name: [] for name in names}
    for image, part in enumerate(part_of):
        splits[names[part]].append(image)
    return {name: images for name, images in splits.items() if images}


def assign_folds(
    class_counts: NDArray[np.int64],
    *,
    folds: int,
    groups: Sequence[str] | None,
    seed: int,
    stratify: bool = True,
    test_fraction: float = 0.0,
) -> list[int]:
    """Divide images into folds of one size for cross-validation, by the method of `assign_splits`.

    Args:
        class_counts: objects of each class in each image; (images, classes).
        folds: how many, at least 2.
        groups, seed, stratify: as in `assign_splits`.
        test_fraction: fraction of the images that is held out of all folds.

    Returns:
        The fold of each image, from 0; `HELD_OUT` for test images.

    Raises:
        ConfigError: fewer than 2 folds, or more folds than groups.
    """
    if folds < 2:
        raise ConfigError(f"data.folds={folds}: cross-validation needs at least 2, usually 5.")
    fold_of = [HELD_OUT] * len(class_counts)
    images = list(range(len(class_counts)))
    if test_fraction > 0:
        images = assign_splits(
            class_counts,
            fractions={"test": test_fraction},
            groups=groups,
            seed=seed,
            stratify=stratify,
        ).get("train", [])
    kept = None if groups is None else [groups[image] for image in images]
    num_groups = len(images) if kept is None else len(set(kept))
    if num_groups < folds:
        what = "images" if groups is None else "groups of images"
        raise ConfigError(
            f"data.folds={folds}: this needs at least {folds} {what}, and there are {num_groups}. "
            f"Use fewer{'' if groups is None else ', or smaller groups with data.split_groups'}."
        )
    parts = _divide(
        class_counts[images], kept, [1.0 / folds] * folds, seed, stratify, first_is_train=False
    )
    for image, part in zip(images, parts, strict=True):
        fold_of[image] = part
    return fold_of


def fold_splits(fold_of: Sequence[int], fold: int) -> dict[str, list[int]]:
    """Return the splits of one round of cross-validation: the fold is val, the others are train.

    Args:
        fold_of: as `assign_folds` returns it.
        fold: from 0.

    Returns:
        Image indices by split, ascending: train, val, and test where images are held out.

    Raises:
        ConfigError: there is no such fold.
    """
    known = sorted(set(fold_of) - {HELD_OUT})
    if fold not in known:
        span = f"the folds are {known[0]} to {known[-1]}" if known else "there are no folds"
        raise ConfigError(f"data.fold={fold}: there is no such fold; {span}.")
    splits: dict[str, list[int]] = {"train": [], "val": [], "test": []}
    for image, own in enumerate(fold_of):
        splits["test" if own == HELD_OUT else "val" if own == fold else "train"].append(image)
    if not splits["test"]:
        del splits["test"]
    return splits


def _check_fractions(fractions: Mapping[str, float]) -> None:
    problems = [
        f"data.{name}_fraction={fraction}: should be 0 or more, and below 1."
        for name, fraction in fractions.items()
        if not 0 <= fraction < 1
    ]
    if not problems and sum(fractions.values()) > 1 - 1e-9:
        keys = " and ".join(f"data.{name}_fraction={value}" for name, value in fractions.items())
        problems.append(f"{keys}: nothing is left for train; lower one of them.")
    if problems:
        raise ConfigError.from_problems(problems)


def _divide(
    class_counts: NDArray[np.int64],
    groups: Sequence[str] | None,
    shares: Sequence[float],
    seed: int,
    by_class: bool,
    *,
    first_is_train: bool,
) -> list[int]:
    """Return the part of each image; see `stratify` for the parts."""
    num_images = len(class_counts)
    if groups is None:
        unit_of = np.arange(num_images)
    else:
        # By first appearance: the order of a set would differ from run to run.
        number: dict[str, int] = {}
        unit_of = np.array(
            [number.setdefault(group, len(number)) for group in groups], dtype=np.int64
        )
        if len(unit_of) != num_images:
            raise ValueError(f"{len(unit_of)} groups for {num_images} images")
    sizes = np.bincount(unit_of, minlength=0)
    kinds = np.ones((num_images, 1), dtype=np.int64)
    if by_class:
        # Images without objects are a kind of their own.
        kinds = np.column_stack([class_counts, class_counts.sum(axis=1) == 0]).astype(np.int64)
    if groups is not None:
        images = kinds
        kinds = np.zeros((len(sizes), images.shape[1]), dtype=np.int64)
        np.add.at(kinds, unit_of, images)
    rows, columns = np.nonzero(kinds)
    starts = np.searchsorted(rows, np.arange(len(sizes) + 1)).tolist()
    pairs = list(zip(columns.tolist(), kinds[rows, columns].tolist(), strict=True))
    part_of = divide_units(
        [pairs[starts[unit] : starts[unit + 1]] for unit in range(len(sizes))],
        sizes.tolist(),
        shares,
        kinds=kinds.shape[1],
        seed=seed,
        first_is_train=first_is_train,
    )
    return [part_of[unit] for unit in unit_of.tolist()]

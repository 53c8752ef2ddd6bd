"""Assign images to splits or folds: balanced by class, groups kept together, stable under edits.

Each unit (an image, or a group of images) has a fixed place between 0 and 1: a hash of its name
and the seed. Units are sorted by that place within each stratum, which is the class that most of
their objects have, and each part takes its share of that order. So an image that is added, removed
or relabelled only shifts a boundary: at most one other unit changes sides at each end of a part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from detfinetune.errors import ConfigError

HELD_OUT = -1
"""Fold number of test images, which are in no fold."""


def assign_splits(
    class_counts: NDArray[np.int64],
    *,
    names: Sequence[str],
    classes: Sequence[str],
    fractions: Mapping[str, float],
    groups: Sequence[str] | None,
    seed: int,
    stratify: bool = True,
) -> dict[str, list[int]]:
    """Divide images into train and the splits of `fractions`.

    A split with a fraction gets at least one group as long as train keeps one; so does each split
    of a class that enough groups have, as far as moving single groups can bring that about. Classes
    too rare for that are in train first. The same input and seed give the same splits on any
    machine.

    Args:
        class_counts: objects of each class in each image; (images, classes).
        names: path of each image, which decides where it goes.
        classes: name of each class.
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
    held_out = [name for name, fraction in fractions.items() if fraction > 0]
    # Train lies in the middle, so that each held-out split borders on train alone.
    order = [*held_out[:1], "train", *held_out[1:]]
    shares = [fractions.get(name, 0.0) for name in order]
    shares[order.index("train")] = 1.0 - sum(fractions[name] for name in held_out)
    served = [order.index(name) for name in ("train", *held_out)]
    part_of = _divide(class_counts, names, classes, groups, shares, seed, stratify, served=served)
    splits: dict[str, list[int]] = {name: [] for name in ("train", *held_out)}
    for image, part in enumerate(part_of):
        splits[order[part]].append(image)
    return {name: images for name, images in splits.items() if images}


def assign_folds(
    class_counts: NDArray[np.int64],
    *,
    names: Sequence[str],
    classes: Sequence[str],
    folds: int,
    groups: Sequence[str] | None,
    seed: int,
    stratify: bool = True,
    test_fraction: float = 0.0,
) -> list[int]:
    """Divide images into folds of one size for cross-validation, by the method of `assign_splits`.

    Args:
        class_counts, names, classes, groups, seed, stratify: as in `assign_splits`.
        folds: how many, at least 2.
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
            names=names,
            classes=classes,
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
    own_names = [names[image] for image in images]
    shares = [1.0 / folds] * folds
    parts = _divide(class_counts[images], own_names, classes, kept, shares, seed, stratify)
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
    names: Sequence[str],
    classes: Sequence[str],
    groups: Sequence[str] | None,
    shares: Sequence[float],
    seed: int,
    by_class: bool,
    served: Sequence[int] | None = None,
) -> list[int]:
    """Return the part of each image.

    Args:
        class_counts, names, classes, groups, seed: as in `assign_splits`.
        shares: the share of each part, above 0, together 1, in their order along the places.
        by_class: whether classes are balanced.
        served: parts in the order in which they get a class that is too rare for all; None: such a
            class may be in any.
    """
    owners = list(names if groups is None else groups)
    units = list(dict.fromkeys(owners))
    number = {unit: at for at, unit in enumerate(units)}
    unit_of = np.array([number[owner] for owner in owners], dtype=np.int64)
    sizes = np.bincount(unit_of, minlength=len(units))
    counts = np.zeros((len(units), class_counts.shape[1]), dtype=np.int64)
    np.add.at(counts, unit_of, class_counts if by_class else 0 * class_counts)
    places = np.array([_place(f"{seed}/{unit}") for unit in units])
    empty = counts.sum(axis=1) == 0
    stratum_of = np.where(empty, -1, counts.argmax(axis=1) if counts.shape[1] else -1)
    part_of = np.zeros(len(units), dtype=np.int64)
    for stratum in np.unique(stratum_of):
        members = np.flatnonzero(stratum_of == stratum)
        members = members[np.argsort(places[members], kind="stable")]
        ends = np.cumsum(sizes[members])
        middles = ends - sizes[members] / 2
        kind = "" if stratum < 0 else classes[stratum]
        for part, share in enumerate(np.cumsum(shares)[:-1]):
            # Shares are rarely whole numbers of units. Rounding up or down by chance, but always
            # alike for a class, gives the right number in all.
            chance = _place(f"{seed}/{part}/{kind}") - 0.5
            part_of[members[middles > share * ends[-1] + chance * ends[-1] / len(members)]] = (
                part + 1
            )
    kinds = np.column_stack([counts > 0, empty, np.ones(len(units), dtype=bool)])
    _fill_gaps(part_of, kinds, places, shares, served)
    return [int(part) for part in part_of[unit_of]]


def _place(text: str) -> float:
    """Return a number from 0 to 1 that depends on a text alone, on any machine."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).digest()
    return int.from_bytes(digest, "big") / 2**48


def _fill_gaps(
    part_of: NDArray[np.int64],
    kinds: NDArray[np.bool_],
    places: NDArray[np.float64],
    shares: Sequence[float],
    served: Sequence[int] | None,
) -> None:
    """Move units into parts that lack a kind which they could have, rarest kinds first.

    Args:
        part_of: part of each unit, changed in place.
        kinds: what each unit is: holding a class, without objects, or just a unit; (units, kinds).
        places: of the units.
        shares, served: as in `_divide`.
    """
    parts = range(len(shares))
    holders = np.array([kinds[part_of == part].sum(axis=0) for part in parts])
    centres = np.cumsum(shares) - np.array(shares) / 2
    total = kinds.sum(axis=0)
    wanted = np.zeros((len(shares), kinds.shape[1]), dtype=bool)
    for kind, units in enumerate(total):
        wanted[(served or parts)[:units] if served or units >= len(shares) else [], kind] = True
    each = len(total) - 1
    settled = np.zeros(len(total), dtype=bool)
    # Last, because no part may stay empty, even where that costs train a class.
    for kind in (*np.argsort(total[:each], kind="stable"), each):
        settled[kind] = True
        for part in served or parts:
            if holders[part, kind] or not wanted[part, kind]:
                continue
            members = np.flatnonzero(kinds[:, kind])
            owners = part_of[members]
            lost = wanted[owners] & kinds[members] & (holders[owners] < 2)
            # How many of the kinds so far its present part would lose with each unit.
            costs = (lost & settled).sum(axis=1)
            far = np.abs(places[members] - centres[part])
            best = np.lexsort((far, costs, lost[:, each] & (kind == each)))[0]
            if kind != each and costs[best]:
                continue
            unit = members[best]
            holders[part_of[unit]] -= kinds[unit]
            holders[part] += kinds[unit]
            part_of[unit] = part

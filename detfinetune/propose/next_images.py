"""Chooses the images that a person labels next: unsure ones that differ, and some at random.

How unsure a detector is of an image is the sum of p (1 - p) over what it finds there, summed as in
Brust et al., "Active learning for deep object detection" (2019). Images are taken one by one, each
with the largest product of that and of the distance to the nearest one taken before: the greedy
choice of k centres of Sener and Savarese, "Active learning for convolutional neural networks: a
core-set approach" (2018), in which a distance counts by the uncertainty, as it does in BADGE (Ash
et al., 2020).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random

import cv2
import numpy as np
from numpy.typing import NDArray

from detfinetune.inference.predictor import read_rgb
from detfinetune.prediction import Prediction
from detfinetune.propose.images import Images
from detfinetune.propose.proposer import Proposer

MOST_CANDIDATES = 500
"""Of more images, so many are drawn at random and looked at."""

RANDOM_SHARE = 0.2
"""Of the images chosen: what a detector overlooks and is sure of is only found in these."""

_SIDE = 8
# Where nothing is found in any image, the distance alone decides.
_LEAST_UNCERTAINTY = 1e-6


def choose_next(
    images: Images, proposer: Proposer, names: Sequence[str], count: int, seed: int
) -> dict[str, Prediction]:
    """Return images to label next, with what was found in them; all if there are fewer.

    Args:
        images: where they are, and what is looked for in them.
        proposer: finds it.
        names: of the images to choose from; those that cannot be read are left out.
        count: how many are chosen.
        seed: the same choice comes from the same images, proposals and seed.
    """
    random = Random(seed)
    if len(names) > MOST_CANDIDATES:
        names = random.sample(names, MOST_CANDIDATES)
    found: dict[str, Prediction] = {}
    copies = []
    for name, each in images.propose(proposer, names, "choose images"):
        pixels = read_rgb(images.root / name, proposer.window)
        copies.append(cv2.resize(pixels, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).ravel())
        found[name] = replace(each, image=None)
    chosen = choose_diverse(
        uncertainties(found), descriptors(found, copies), min(count, len(found)), random
    )
    in_order = list(found)
    return {in_order[at]: found[in_order[at]] for at in chosen}


def uncertainties(found: Mapping[str, Prediction]) -> NDArray[np.float64]:
    """Return the sum of p (1 - p) over the scores p of each image; (n,)."""
    return np.array([float((each.scores * (1 - each.scores)).sum()) for each in found.values()])


def choose_diverse(
    uncertainty: NDArray[np.float64], places: NDArray[np.float64], count: int, random: Random
) -> list[int]:
    """Return the numbers of images in the order in which they are chosen, a fifth at random first.

    Args:
        uncertainty: 0 or more; (n,).
        places: what images look like, as points; (n, dimensions).
        count: from 0 to n.
        random: chooses the first ones.
    """
    weights = uncertainty + _LEAST_UNCERTAINTY
    by_chance = random.sample(range(len(weights)), round(RANDOM_SHARE * count))
    chosen: list[int] = []
    nearest = np.full(len(weights), np.inf)
    while len(chosen) < count:
        if len(chosen) < len(by_chance):
            at = by_chance[len(chosen)]
        else:
            gains = weights * nearest if chosen else weights.copy()
            gains[chosen] = -1
            at = int(gains.argmax())
        chosen.append(at)
        nearest = np.minimum(nearest, np.linalg.norm(places - places[at], axis=1))
    return chosen


def descriptors(
    found: Mapping[str, Prediction], copies: Sequence[NDArray[np.uint8]]
) -> NDArray[np.float64]:
    """Return colours and how many objects of each class are expected, as points of one scale."""
    classes = [
        np.bincount(each.class_ids, each.scores, len(each.classes)) for each in found.values()
    ]
    halves = [np.array(half, dtype=np.float64) for half in (copies, classes)]
    if not found:
        return np.empty((0, 0))
    centred = [half - half.mean(axis=0) for half in halves]
    spreads = [np.sqrt((half**2).sum(axis=1).mean()) for half in centred]
    return np.hstack([half / (spread or 1) for half, spread in zip(centred, spreads, strict=True)])

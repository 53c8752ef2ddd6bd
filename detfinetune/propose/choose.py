"""Chooses what proposes, and from which scores on, by what correcting it would cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from detfinetune.console import say, table
from detfinetune.prediction import Prediction
from detfinetune.propose.edit_cost import Boxes, ClassCost, cheapest, class_costs
from detfinetune.propose.labelled import Labelled
from detfinetune.propose.proposer import Proposer

MEASURED_IMAGES = 20
"""Labelled images that thresholds are chosen on."""


@dataclass(frozen=True)
class Choice:
    """A source of proposals."""

    proposer: Proposer
    thresholds: tuple[float | None, ...]
    """Lowest score by class id; None: objects of this class are drawn by hand."""

    def shows(self, class_id: int, score: float) -> bool:
        """Return whether a proposal is worth showing."""
        threshold = self.thresholds[class_id]
        return threshold is not None and score >= threshold


def choose(
    proposers: Sequence[Proposer],
    found: Mapping[str, Mapping[str, Prediction]],
    labelled: Labelled,
    classes: tuple[str, ...],
) -> Choice:
    """Choose the source with the least cost of editing, and its thresholds; say what was measured.

    A class without labels keeps the usual threshold of its source until 20 images are labelled.

    Args:
        proposers: at least one.
        found: proposals by the name of their source and by image, for the same labelled images.
        labelled: their labels.
        classes: those that are looked for, by class id.
    """
    own_ids = {name: class_id for class_id, name in enumerate(classes)}
    ids = np.array([own_ids.get(name, -1) for name in labelled.classes])
    costs: dict[str, list[ClassCost]] = {}
    for name, images in found.items():
        labels = [labelled.boxes[image] for image in images]
        costs[name] = class_costs(
            [Boxes(each.xywh, each.class_ids, each.scores) for each in images.values()],
            [Boxes(each.xywh, ids[each.class_ids], each.scores) for each in labels],
            len(classes),
        )
    chosen = cheapest(costs)
    proposer = next(each for each in proposers if each.name == chosen)
    num_images = len(found[chosen])
    choice = Choice(
        proposer,
        tuple(
            proposer.usual_threshold
            if num_images < MEASURED_IMAGES and not each.labels
            else each.threshold
            for each in costs[chosen]
        ),
    )
    by_hand = sum(each.by_hand for each in costs[chosen])
    say(
        f"Cost of editing on {num_images} labelled images (drawing a box 3, adjusting one 2, "
        f"deleting one 1): {by_hand} by hand"
    )
    for name, own in costs.items():
        say(f"  {sum(each.cost for each in own)} with proposals of {name}")
    rows = [
        [name, own.labels, own.by_hand, own.cost, "draw by hand" if score is None else score]
        for name, own, score in zip(classes, costs[chosen], choice.thresholds, strict=True)
    ]
    headers = ["class", "labels", "cost by hand", "with proposals", "from score"]
    say(table(rows, headers, digits=2))
    return choice

"""What labelling cost, by round: seconds, inputs and corrections, computed from the journal.

A round begins when a newly trained detector proposes labels for the next images, round 0 with the
first image.
An image counts in the round in which it became done, with its shapes as they were last saved in
that round and all the effort spent on it until then. Images that were done before they were opened,
such as those with labels of another format, do not count.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from detfinetune.annotate.journal import Event
from detfinetune.labels.formats.json.label_store import ImageDocument, Shape


@dataclass
class RoundFigures:
    """Figures of the images that became done in a round."""

    round: int
    images: int = 0
    objects: int = 0
    seconds: float = 0.0
    """Active seconds, as the page measures them."""

    inputs: int = 0
    """Clicks, drags and keys."""

    accepted: int = 0
    """Proposals kept as they were."""

    edited: int = 0
    """Proposals kept with another box or class."""

    deleted: int = 0
    """Proposals rejected."""

    added: int = 0
    """Objects that no proposal was kept for."""

    ap: float | None = None
    """AP on val of the detector trained after this round, 0-100; None where none was."""

    test_ap: float | None = None
    """Its AP on test; None where no image was set aside for that."""


def corrections(document: ImageDocument) -> dict[str, int]:
    """Return how many proposals were accepted, edited and deleted, and how many objects added."""
    proposed = {} if document.proposal is None else {s.id: s for s in document.proposal.shapes}
    kept = [shape for shape in document.shapes if shape.id in proposed]
    same = sum(_same(shape, proposed[shape.id]) for shape in kept)
    return {
        "accepted": same,
        "edited": len(kept) - same,
        "deleted": len(proposed) - len(kept),
        "added": len(document.shapes) - len(kept),
    }


def _same(shape: Shape, proposed: Shape) -> bool:
    return (shape.class_id, shape.box, shape.polygons) == (
        proposed.class_id,
        proposed.box,
        proposed.polygons,
    )


def round_figures(events: Iterable[Event]) -> list[RoundFigures]:
    """Return the figures of each round, from all events of a journal in order."""
    rounds = [RoundFigures(0)]
    effort: dict[str, tuple[float, int]] = {}
    done: dict[str, Event] = {}
    """The last save in state done of each image that became done in this round."""
    for event in events:
        if event["event"] == "round":
            _add(rounds[-1], done, effort)
            rounds[-1].ap, rounds[-1].test_ap = event.get("ap"), event.get("test_ap")
            rounds.append(RoundFigures(event["round"]))
        elif event["event"] == "save":
            image = event["image"]
            seconds, inputs = effort.get(image, (0.0, 0))
            effort[image] = (seconds + event["seconds"], inputs + event["inputs"])
            if event["state"] != "done":
                done.pop(image, None)
            elif event["was"] != "done" or image in done:
                done[image] = event
    _add(rounds[-1], done, effort)
    return rounds


def _add(
    figures: RoundFigures, done: dict[str, Event], effort: dict[str, tuple[float, int]]
) -> None:
    """Add the images of a round that has ended, and forget them."""
    for image, event in done.items():
        seconds, inputs = effort.pop(image)
        figures.images += 1
        figures.objects += event["shapes"]
        figures.seconds += seconds
        figures.inputs += inputs
        for name in ("accepted", "edited", "deleted", "added"):
            setattr(figures, name, getattr(figures, name) + event[name])
    done.clear()

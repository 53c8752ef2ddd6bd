"""The rounds of labelling: label, train, correct what the detector proposes, train again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from detfinetune.annotate.figures import round_figures
from detfinetune.annotate.store import LabelStore
from detfinetune.console import say
from detfinetune.propose.labelled import held_out

_RESULTS = "results.json"


def begin_round(store: LabelStore, run: Path, labelled: Sequence[str]) -> None:
    """Begin a new round in the journal, unless it was begun with this training already.

    A run that saw none of the labelled images, such as one of other data, begins none.

    Args:
        store: the labels.
        run: the trained detector, whose AP ends the round before.
        labelled: the images with labels.

    Raises:
        DataError: the run's list of images cannot be read.
        OSError: the journal cannot be written.
    """
    if len(held_out(run, store.root, labelled)) == len(labelled):
        return
    figures = {"run": str(run.absolute()), "ap": _ap(run, "val"), "test_ap": _ap(run, "test")}
    events = store.events()
    if any(event["event"] == "round" and figures.items() <= event.items() for event in events):
        return
    number = round_figures(events)[-1].round + 1
    store.log("round", round=number, **figures)
    ap = "unknown" if figures["ap"] is None else f"{figures['ap']:.1f}"
    say(f"Round {number} begins; the detector has AP {ap} on val.")


def _ap(run: Path, split: str) -> float | None:
    """Return the AP of a finished run, 0-100, of masks if it has them."""
    try:
        results = json.loads((run / _RESULTS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    metrics = results.get(split, {})
    figures = metrics.get("segm") or metrics.get("bbox") or {}
    return None if figures.get("AP") is None else float(figures["AP"])

"""The ledger: what happened to each label, so that nothing is lost silently."""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from detfinetune.console import escape_name

Action = Literal["fixed", "rejected", "note"]

ANOTHER_SIZE = "another size"
"""Kind of the notes on label files that state another size than their image has."""

IN_NO_SPLIT = "in no split"
"""Kind of the notes on labelled images that no list or folder puts into a split."""

_COLUMNS = ("message", "split", "path", "line", "action", "kind", "text", "annotation")


@dataclass(frozen=True)
class LedgerEntry:
    """One fix, rejection or note."""

    split: str
    path: str
    """Label or image file, relative to the data root if below it."""

    line: int
    """Line number from 1; 0 for the whole file."""

    action: Action
    kind: str
    """Short name of the rule, for counting: `clipped`, `zero size`, ..."""

    reason: str
    text: str = ""
    """The line as written in the file."""

    image: str = ""
    """Image, relative to the split's image root; empty if there is none."""

    annotation: int | None = None
    """The label's own id, where its file gives it (COCO's annotation id)."""

    @property
    def rejects_image(self) -> bool:
        """Whether it leaves a whole image out."""
        return self.action == "rejected" and not self.line

    @property
    def message(self) -> str:
        """`path:line: reason`."""
        return escape_name(f"{place_name(self.path, self.line, self.annotation)}: {self.reason}")


def place_name(
    path: str, line: int, annotation: int | None = None, image: int | None = None
) -> str:
    """Return `path:line`, with an id where there is one: many JSON files have only one line."""
    where = f"{path}:{line}" if line else path
    if annotation is not None:
        return f"{where}: annotation {annotation}"
    return where if image is None else f"{where}: image {image}"


@dataclass
class SplitCounts:
    """Counts of a split; `lines = kept + fixed + rejected`, without blank lines."""

    images: int = 0
    negatives: int = 0
    """Images without any object."""

    unlabelled: int = 0
    """Images without a label file; included in `negatives`."""

    rejected_images: int = 0
    lines: int = 0
    kept: int = 0
    fixed: int = 0
    rejected: int = 0
    blank: int = 0
    """Empty lines, comments and headers; not included in `lines`."""

    objects: Counter[int] = field(default_factory=Counter)
    """Objects written, by contiguous class id."""

    def to_json(self) -> dict[str, int]:
        """Return what metrics are measured against: labels kept, fixed and rejected."""
        names = ("kept", "fixed", "rejected", "rejected_images")
        return {name: getattr(self, name) for name in names}


@dataclass
class Ledger:
    """Entries and counts of a data set."""

    entries: list[LedgerEntry] = field(default_factory=list)
    counts: dict[str, SplitCounts] = field(default_factory=dict)

    def split(self, name: str) -> SplitCounts:
        """Return the counts of a split, created if missing."""
        return self.counts.setdefault(name, SplitCounts())

    def kinds(self, action: Action, split: str | None = None) -> Counter[str]:
        """Count entries about lines by kind, optionally of one split."""
        return Counter(
            entry.kind
            for entry in self.entries
            if entry.action == action and entry.line and split in (None, entry.split)
        )

    def check_sums(self) -> None:
        """Verify that every line read is accounted for.

        Raises:
            RuntimeError: the sums differ, which is a bug of this program.
        """
        for name, counts in self.counts.items():
            entries = {
                action: sum(self.kinds(action, name).values()) for action in ("fixed", "rejected")
            }
            sums_agree = (
                counts.lines == counts.kept + counts.fixed + counts.rejected
                and entries == {"fixed": counts.fixed, "rejected": counts.rejected}
                and sum(counts.objects.values()) == counts.kept + counts.fixed
            )
            if not sums_agree:
                raise RuntimeError(
                    f"internal error: the sums of split '{name}' do not agree: {counts}, "
                    f"ledger {entries}. Please report it with the label files."
                )

    def to_csv(self) -> str:
        """Return the ledger as CSV, one entry a line, `path:line: reason` first."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for entry in self.entries:
            writer.writerow([getattr(entry, column) for column in _COLUMNS])
        return text.getvalue()

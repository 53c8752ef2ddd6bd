"""Findings: what is wrong, how bad it is, where exactly, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from detfinetune.labels.dataset.records import Box, Polygon

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Place:
    """Where a finding was made: an image, a label file and line, an object, or any of them."""

    split: str = ""
    image: str = ""
    """Path relative to the split's image root; empty where the finding is of no image."""

    label_file: str = ""
    """Relative to the data root; empty where the finding is of no label file."""

    line: int = 0
    """Line of the label file, from 1; 0 where the whole file is meant."""

    detail: str = ""
    """What is the matter here, with the figures; the finding's title says the kind."""

    box: Box | None = None
    """Left, top, width, height in pixels of the object meant, for the pictures."""

    polygons: tuple[Polygon, ...] = ()
    """The object's outlines, where it has any."""

    category: int | None = None
    """Contiguous class id of the object meant."""

    other: Place | None = None
    """The other one of a pair, such as of two images alike."""

    @property
    def where(self) -> str:
        """`path:line`, as editors take it."""
        path = self.label_file or self.image
        return f"{path}:{self.line}" if self.line else path


@dataclass(frozen=True)
class Finding:
    """One kind of problem and every place where it is."""

    kind: str
    """Short fixed name, such as `box_outside`; what scripts go by."""

    severity: Severity
    title: str
    """One sentence: what is wrong, with the count."""

    advice: str
    """What to do, and what it costs to leave it."""

    places: tuple[Place, ...] = ()
    figures: dict[str, Any] = field(default_factory=dict)
    """Numbers behind the title, by name; JSON values."""

    fixed_by_conversion: bool = False
    """Whether `--fix`, and any conversion, mends or removes it."""


def sorted_findings(findings: Sequence[Finding]) -> list[Finding]:
    """Return findings by severity: those of the whole data set, then those with most places."""
    return sorted(
        findings,
        key=lambda f: (SEVERITIES.index(f.severity), bool(f.places), -len(f.places), f.kind),
    )

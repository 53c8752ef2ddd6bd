"""Findings: what is wrong, how bad it is, where exactly, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from detfinetune.labels.dataset.ledger import place_name
from detfinetune.labels.dataset.records import Box, Polygon

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Place:
    """Location of a problem: an image, a label file and line, an object, or any of them."""

    split: str = ""
    image: str = ""
    """Path relative to the split's image root; empty if no image is meant."""

    label_file: str = ""
    """Relative to the data root; empty if no label file is meant."""

    line: int = 0
    """Line of the label file, from 1; 0 if the whole file is meant."""

    detail: str = ""
    """What is wrong here, with figures."""

    box: Box | None = None
    """xywh in pixels of the object, for the pictures."""

    polygons: tuple[Polygon, ...] = ()
    """The object's polygons, if it has any."""

    category: int | None = None
    """Contiguous class id of the object."""

    annotation: int | None = None
    """The object's own id in the label file, if it has one (COCO's annotation id)."""

    image_id: int | None = None
    """The image's own id in the label file, if it has one (COCO's image id)."""

    other: Place | None = None
    """The other one of a pair, such as of two duplicate images."""

    @property
    def where(self) -> str:
        """`path:line`, which editors can open, and the id in the label file."""
        if not self.label_file:
            return place_name(self.image, self.line)
        return place_name(self.label_file, self.line, self.annotation, self.image_id)


@dataclass(frozen=True)
class Finding:
    """One kind of problem and all its places."""

    kind: str
    """Short name that does not change, such as `box_outside`; for scripts."""

    severity: Severity
    title: str
    """One sentence: what is wrong, with the count."""

    advice: str
    """What to do, and what happens otherwise."""

    places: tuple[Place, ...] = ()
    figures: dict[str, Any] = field(default_factory=dict)
    """Numbers behind the title, by name; JSON values."""

    fixed_by_conversion: bool = False
    """Whether `--fix`, and any conversion, fixes or removes it."""


def sorted_findings(findings: Sequence[Finding]) -> list[Finding]:
    """Sort findings by severity: those of the whole data set first, then by number of places."""
    return sorted(
        findings,
        key=lambda f: (SEVERITIES.index(f.severity), bool(f.places), -len(f.places), f.kind),
    )


def findings_json(findings: list[Finding]) -> list[dict[str, Any]]:
    """Return findings as JSON values."""
    return [asdict(finding) for finding in findings]

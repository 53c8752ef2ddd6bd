"""Checks images: files that do not decode, pixels that training reads differently from what people
see, unusual sizes, and duplicates.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from detfinetune.checks.findings import Finding, Place
from detfinetune.checks.images.duplicate_findings import ImageEntry, duplicate_findings
from detfinetune.checks.images.image_content import ImageFacts
from detfinetune.checks.images.image_rules import IMAGE_RULES, ImageRule
from detfinetune.checks.places import counted
from detfinetune.labels.dataset.table import LabelTable

_SHORT_SIDE = 32
_LONG_TO_SHORT = 8.0
_AREA_RATIO = 16.0


def image_findings(
    tables: Mapping[str, LabelTable],
    facts: Mapping[Path, ImageFacts],
    root: Path | None = None,
    rejected: Sequence[ImageEntry] = (),
) -> list[Finding]:
    """Return findings about images, and about pairs of images.

    Args:
        tables: labels by split.
        facts: by `image_root / name`, from `scan_images(image_paths(tables))`. Images of no table
            (such as those left out because they cannot be read) belong to no split.
        root: data root, for relative paths of images of no table.
        rejected: images that reading left out of the tables, with their splits.
    """
    entries = image_entries(tables, facts)
    known = {entry.path for entry in (*entries, *rejected)}
    strays = [
        *rejected,
        *(
            ImageEntry("", _relative(path, root), path, fact)
            for path, fact in facts.items()
            if path not in known
        ),
    ]
    total = sum(table.num_images for table in tables.values()) + len(strays)
    left_out = {entry.path for entry in rejected}
    findings = []
    for rule in IMAGE_RULES:
        hits = [
            (entry, detail) for entry in (*entries, *strays) if (detail := rule.detail(entry.facts))
        ]
        if hits:
            places = [Place(entry.split, entry.name, detail=detail) for entry, detail in hits]
            fixed = all(entry.path in left_out for entry, _ in hits)
            findings.append(replace(_finding(rule, places, total), fixed_by_conversion=fixed))
    findings += _size_findings(entries)
    return findings + duplicate_findings(entries)


def image_paths(tables: Mapping[str, LabelTable]) -> list[Path]:
    """Return the path of every image, without repeats."""
    return list(
        dict.fromkeys(table.image_root / name for table in tables.values() for name in table.names)
    )


def image_entries(
    tables: Mapping[str, LabelTable], facts: Mapping[Path, ImageFacts]
) -> list[ImageEntry]:
    """Return the images of all splits that have facts."""
    entries = []
    for split, table in tables.items():
        for index, name in enumerate(table.names):
            path = table.image_root / name
            if path in facts:
                entries.append(ImageEntry(split, name, path, facts[path], table, index))
    return entries


def _relative(path: Path, root: Path | None) -> str:
    inside = root is not None and path.is_relative_to(root)
    return (path.relative_to(root) if inside and root is not None else path).as_posix()


def _finding(rule: ImageRule, places: Sequence[Place], total: int) -> Finding:
    return Finding(
        rule.kind,
        rule.severity,
        f"{counted(len(places), 'image')}: {rule.title}.",
        rule.advice,
        tuple(places),
        {
            "images": len(places),
            "of": total,
            "by_split": dict(Counter(place.split for place in places)),
        },
    )


def _size_findings(entries: Sequence[ImageEntry]) -> list[Finding]:
    """Return a note on images of unusual size or shape."""
    sound = [entry for entry in entries if entry.facts.sound]
    if not sound:
        return []
    median = statistics.median(entry.facts.width * entry.facts.height for entry in sound)
    places = []
    for entry in sound:
        width, height = entry.facts.width, entry.facts.height
        reasons = []
        if min(width, height) < _SHORT_SIDE:
            reasons.append(f"a side below {_SHORT_SIDE} px")
        if max(width, height) > _LONG_TO_SHORT * min(width, height):
            reasons.append(f"a side more than {_LONG_TO_SHORT:.0f} times the other")
        if not median / _AREA_RATIO <= width * height <= median * _AREA_RATIO:
            reasons.append(f"{width * height / median:.2g} times the area of the median image")
        if reasons:
            detail = f"{width}x{height}: {', '.join(reasons)}"
            places.append(Place(entry.split, entry.name, detail=detail))
    if not places:
        return []
    rule = ImageRule(
        "image_size_extreme",
        "note",
        lambda facts: "",
        "unusual size or shape",
        "Check a few: thumbnails, icons or scans among photos are usually mistakes. All images are "
        "resized to one size, so objects on these become tiny or huge.",
    )
    return [_finding(rule, places, len(entries))]

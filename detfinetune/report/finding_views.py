"""Prepares findings for the page: figures, places and pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from detfinetune.checks.findings import Finding, Place, sorted_findings
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.preview.objects import class_name
from detfinetune.pictures import DrawnObject
from detfinetune.report.album import Album, Picture, Shot
from detfinetune.report.wording import figure, shortened, words

ROWS_SHOWN = 20
_MOST_ROWS = 300
_MOST_PICTURED = 6
_PICTURED_IN_ALL = 150
_WHOLE_SIDE, _WHOLE_BYTES = 320, 26_000
_CROP_SIDE, _CROP_BYTES = 240, 16_000
_PAIR_SIDE, _PAIR_BYTES = 360, 30_000


@dataclass(frozen=True)
class PlaceRow:
    """A place as a row of a table."""

    split: str
    splits: str
    """The splits of the place, or of both of a pair, separated by spaces."""

    where: str
    """`path:line`, which editors can open."""

    image: str
    """Empty if `where` is the image."""

    other: str
    category: int | None
    class_name: str
    detail: str


@dataclass(frozen=True)
class Thumbnail:
    """Pictures of a place: close-up and whole image, or two duplicate images."""

    row: PlaceRow
    pictures: tuple[tuple[Picture, str, str], ...]
    """Each with its caption and alternative text."""

    duplicates: bool = False
    """Whether the pictures are two images, each with its caption."""


@dataclass(frozen=True)
class FindingView:
    """A finding, ready for the page."""

    finding: Finding
    figures: tuple[tuple[str, str], ...]
    shown: tuple[PlaceRow, ...]
    folded: tuple[PlaceRow, ...]
    left_out: int
    """Number of places that the page does not list."""

    columns: frozenset[str]
    """Fields that are not empty in all rows."""

    thumbnails: tuple[Thumbnail, ...]


def view_findings(
    dataset: LabelledDataset, findings: Sequence[Finding], album: Album
) -> list[FindingView]:
    """Return all findings, worst first, and request their pictures."""
    ordered = sorted_findings(findings)
    pictured = min(_MOST_PICTURED, max(1, _PICTURED_IN_ALL // max(1, len(ordered))))
    if not dataset.has_images:
        pictured = 0
    return [_view(dataset, finding, pictured, album) for finding in ordered]


def _view(dataset: LabelledDataset, finding: Finding, pictured: int, album: Album) -> FindingView:
    rows = tuple(_row(dataset, place) for place in finding.places[:_MOST_ROWS])
    fields = ("split", "image", "other", "class_name", "detail")
    thumbnails = [
        _thumbnail(dataset, place, album) for place in _pictured_places(finding.places, pictured)
    ]
    return FindingView(
        finding=finding,
        figures=tuple((words(name), figure(value)) for name, value in finding.figures.items()),
        shown=rows[:ROWS_SHOWN],
        folded=rows[ROWS_SHOWN:],
        left_out=len(finding.places) - len(rows),
        columns=frozenset(name for name in fields if any(getattr(row, name) for row in rows)),
        thumbnails=tuple(thumbnails),
    )


def _row(dataset: LabelledDataset, place: Place) -> PlaceRow:
    where = place.where
    named = where == place.image or not place.label_file
    other = place.other
    return PlaceRow(
        split=place.split,
        splits=" ".join({place.split: None, (other or place).split: None}),
        where=where,
        image="" if named else place.image,
        other="" if other is None else _other_where(place, other),
        category=place.category,
        class_name=class_name(dataset.classes, place.category),
        detail=place.detail,
    )


def _other_where(place: Place, other: Place) -> str:
    return f"{other.where} ({other.split})" if other.split not in ("", place.split) else other.where


def _pictured_places(places: Iterable[Place], count: int) -> list[Place]:
    """Choose places with an image: different images first, then others if there are too few."""
    first: list[Place] = []
    more: list[Place] = []
    seen: set[tuple[str, str]] = set()
    for place in places:
        if not place.image:
            continue
        key = (place.split, place.image)
        (more if key in seen else first).append(place)
        seen.add(key)
        if len(first) >= count:
            break
    return [*first, *more][:count]


def _thumbnail(dataset: LabelledDataset, place: Place, album: Album) -> Thumbnail:
    row = _row(dataset, place)
    other = place.other
    if (
        other is not None
        and other.image
        and (other.image, other.split)
        != (
            place.image,
            place.split or other.split,
        )
    ):
        return Thumbnail(
            row,
            (_pair_half(dataset, place, album), _pair_half(dataset, other, album)),
            duplicates=True,
        )
    objects = [_object(place)] if place.box else []
    if other is not None and other.box:
        objects.append(_object(other, beside=place.category))
    path = _image_path(dataset, place)
    name = shortened(place.image)
    whole = album.add(
        Shot(path, tuple(objects), _WHOLE_SIDE, _WHOLE_BYTES, marks=place.box is not None)
    )
    if place.box is None:
        return Thumbnail(row, ((whole, "", f"whole image {name}"),))
    crop = album.add(
        Shot(
            path, tuple(objects), _CROP_SIDE, _CROP_BYTES, focus=place.box, context=2.5, least=48.0
        )
    )
    what = f"{row.class_name or 'object'} in {name}"
    return Thumbnail(
        row, ((crop, "close up", f"{what}, close up"), (whole, "in the image", f"{what}, whole"))
    )


def _pair_half(dataset: LabelledDataset, place: Place, album: Album) -> tuple[Picture, str, str]:
    objects = (_object(place),) if place.box else ()
    shot = Shot(_image_path(dataset, place), objects, _PAIR_SIDE, _PAIR_BYTES)
    caption = f"{place.split}: {place.image}" if place.split else place.image
    return album.add(shot), caption, f"one of two duplicates: {shortened(place.image)}"


def _object(place: Place, beside: int | None = None) -> DrawnObject:
    """Return a place's object in the colour of its class, or another if that equals `beside`."""
    color = place.category or 0
    if beside is not None and beside == place.category:
        color += 1
    return DrawnObject(place.box or (0.0, 0.0, 0.0, 0.0), "", color, place.polygons)


def _image_path(dataset: LabelledDataset, place: Place) -> Path:
    """Return the path of a place's image, whether it exists or not."""
    table = dataset.tables.get(place.split)
    roots = [table.image_root] if table else [t.image_root for t in dataset.tables.values()]
    candidates = [root / place.image for root in [*roots, dataset.root]]
    return next((path for path in candidates if _is_file(path)), candidates[0])


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        # Labels may have names that no file system allows, such as 300 characters.
        return False

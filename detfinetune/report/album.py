"""Pictures of a page: requested first, then drawn image by image, so each is opened once."""

from __future__ import annotations

import base64
import io
import math
import warnings
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from detfinetune import console
from detfinetune.errors import DataError
from detfinetune.labels.dataset.records import Box
from detfinetune.pictures import DrawnObject, draw_objects, open_image

_QUALITIES = (82, 70, 58)
_SMALLEST_SIDE = 48
_LARGEST_ENLARGEMENT = 8.0
# Boxes outside their image are shown up to half an image away.
_MARGIN = 0.5
_ROUNDING_PIXELS = 0.5
_SMALLEST_MARK = 18.0
_LINE_PIXELS = 2
_LONGEST_REASON = 300


@dataclass(frozen=True)
class Shot:
    """A requested picture: the image, the part to show, and the objects to draw."""

    path: Path
    objects: tuple[DrawnObject, ...] = ()
    side: int = 320
    """Longer side in pixels; small parts are enlarged, up to a limit."""

    most_bytes: int = 24_000
    """Maximum size of the JPEG; kept by lowering quality, then size."""

    focus: Box | None = None
    """The part to show, xywh in pixels of the image; None: the whole image."""

    context: float = 1.5
    """Side of the square to show, as a multiple of the longer side of `focus`."""

    least: float = 32.0
    """Minimum side of that square in pixels of the image."""

    marks: bool = False
    """Enlarge boxes that would be too small to see."""


@dataclass
class Picture:
    """A picture of the page, filled by `Album.draw`."""

    uri: str = ""
    """A JPEG as a data URI; empty if the image could not be drawn."""

    width: int = 0
    height: int = 0
    problem: str = ""
    """Why the image could not be drawn."""


class Album:
    """All pictures of a page."""

    def __init__(self) -> None:
        self._pictures: dict[Shot, Picture] = {}
        self._uses: Counter[Shot] = Counter()

    def add(self, shot: Shot) -> Picture:
        """Request a picture; `draw` fills the one that is returned."""
        self._uses[shot] += 1
        return self._pictures.setdefault(shot, Picture())

    def draw(self, most_bytes: int) -> None:
        """Draw all requested pictures, with at most `most_bytes` of JPEG in total.

        A picture that is requested twice is drawn once but counts twice, as in the page. One image
        is open at a time. If one cannot be opened or drawn, its picture gets the reason instead.
        """
        wanted = sum(shot.most_bytes * uses for shot, uses in self._uses.items())
        share = min(1.0, most_bytes / wanted) if wanted else 1.0
        by_path: dict[Path, list[Shot]] = defaultdict(list)
        for shot in self._pictures:
            by_path[shot.path].append(shot)
        paths = sorted(by_path)
        for path in console.progress(paths, description="Drawing pictures", unit="image"):
            self._draw_image(path, by_path[path], share)

    def _draw_image(self, path: Path, shots: Sequence[Shot], share: float) -> None:
        image = None
        for shot in shots:
            picture = self._pictures[shot]
            try:
                if image is None:
                    image = _open(path)
                limit = int(shot.most_bytes * share)
                data, (picture.width, picture.height) = _encoded(_drawn(image, shot), limit)
            except Exception as error:
                # Decoders raise many kinds of errors on damaged images. The page is about such
                # images too, so it shows the reason instead of the picture.
                picture.problem = _reason(error)
            else:
                picture.uri = f"data:image/jpeg;base64,{base64.b64encode(data).decode('ascii')}"
            if image is None:
                for other in shots:
                    self._pictures[other].problem = picture.problem
                return


def _open(path: Path) -> Image.Image:
    if not path.is_file():
        raise DataError(f"{path}: there is no such file.")
    with warnings.catch_warnings():
        # The findings report size and damaged EXIF.
        warnings.simplefilter("ignore")
        return open_image(path)


def _reason(error: Exception) -> str:
    text = str(error) if isinstance(error, DataError) else f"{type(error).__name__}: {error}"
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}…"


def _drawn(image: Image.Image, shot: Shot) -> Image.Image:
    """Return the requested part of `image`, scaled and drawn on."""
    objects = [_bounded(item, image.size) for item in shot.objects if _is_finite(item.bbox)]
    left, top, right, bottom = _window(shot, objects, image.size)
    part = image
    if (left, top, right, bottom) != (0, 0, *image.size):
        part = image.crop((left, top, right, bottom))
    objects = [_moved(item, -left, -top) for item in objects]
    # Reducing by a whole factor first is several times as fast as one large resampling step.
    if (shrink := max(part.size) // (2 * shot.side)) > 1:
        part = part.reduce(shrink)
        objects = [_moved(item, 0, 0, 1 / shrink) for item in objects]
    scale = min(shot.side / max(part.size), _LARGEST_ENLARGEMENT)
    if shot.marks:
        objects = [_with_least_size(item, _SMALLEST_MARK / scale) for item in objects]
    return draw_objects(part, objects, _LINE_PIXELS, scale=scale)


def _window(
    shot: Shot, objects: Sequence[DrawnObject], size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Return xyxy of the part to show, in pixels of the image.

    It extends beyond the image if an object does.
    """
    extent = [0.0, 0.0, float(size[0]), float(size[1])]
    for item in objects:
        x, y, width, height = item.bbox
        outer = (x, y, x + width, y + height)
        for at, edge in enumerate(outer):
            beyond = extent[at] - edge if at < 2 else edge - extent[at]
            if beyond > _ROUNDING_PIXELS:
                extent[at] = edge
    if shot.focus is not None and _is_finite(shot.focus):
        x, y, width, height = shot.focus
        side = max(shot.context * max(abs(width), abs(height)), shot.least)
        for at, centre in ((0, x + width / 2), (1, y + height / 2)):
            length = min(side, extent[at + 2] - extent[at])
            start = min(max(centre - length / 2, extent[at]), extent[at + 2] - length)
            extent[at], extent[at + 2] = start, start + length
    left, top = math.floor(extent[0]), math.floor(extent[1])
    return left, top, max(left + 1, math.ceil(extent[2])), max(top + 1, math.ceil(extent[3]))


def _is_finite(box: Box) -> bool:
    return all(math.isfinite(value) for value in box)


def _bounded(item: DrawnObject, size: tuple[int, int]) -> DrawnObject:
    """Clip a box to the image and its margin: labels may have any values."""
    x, y, width, height = item.bbox
    ends = []
    for start, length, limit in ((x, width, size[0]), (y, height, size[1])):
        low, high = sorted((start, start + length))
        least, most = -_MARGIN * limit, (1 + _MARGIN) * limit
        ends.append((min(max(low, least), most), min(max(high, least), most)))
    (x1, x2), (y1, y2) = ends
    polygons = tuple(p for p in item.polygons if all(math.isfinite(value) for value in p))
    return replace(item, bbox=(x1, y1, x2 - x1, y2 - y1), polygons=polygons)


def _with_least_size(item: DrawnObject, least: float) -> DrawnObject:
    x, y, width, height = item.bbox
    if max(width, height) >= least:
        return item
    wide, high = max(width, least), max(height, least)
    bbox = (x - (wide - width) / 2, y - (high - height) / 2, wide, high)
    return replace(item, bbox=bbox, polygons=())


def _moved(item: DrawnObject, dx: float, dy: float, factor: float = 1.0) -> DrawnObject:
    """Return an object translated by pixels and then scaled."""
    x, y, width, height = item.bbox
    polygons = tuple(
        tuple((value + (dy if at % 2 else dx)) * factor for at, value in enumerate(polygon))
        for polygon in item.polygons
    )
    bbox = ((x + dx) * factor, (y + dy) * factor, width * factor, height * factor)
    return replace(item, bbox=bbox, polygons=polygons)


def _encoded(image: Image.Image, most_bytes: int) -> tuple[bytes, tuple[int, int]]:
    """Return a JPEG of at most `most_bytes` (or of the smallest side allowed), and its size."""
    for quality in _QUALITIES:
        data = _jpeg(image, quality)
        if len(data) <= most_bytes:
            return data, image.size
    while len(data) > most_bytes and max(image.size) > _SMALLEST_SIDE:
        # Bytes are about proportional to the area; aim a little lower to need few attempts.
        factor = min(0.85, max(0.3, 0.95 * math.sqrt(most_bytes / len(data))))
        smaller = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
        image = image.resize(smaller, Image.Resampling.LANCZOS)
        data = _jpeg(image, _QUALITIES[-1])
    return data, image.size


def _jpeg(image: Image.Image, quality: int) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format="JPEG", quality=quality, optimize=True)
    return stream.getvalue()

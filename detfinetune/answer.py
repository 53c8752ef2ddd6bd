"""What a model answers to a prompt about one image: text, and parts of the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from detfinetune.pictures import Box, DrawnObject, Polygon, draw_objects, with_caption

_LEAST_SIDE = 480


@dataclass(frozen=True)
class Region:
    """A part of an image; coordinates in pixels of the image as given."""

    text: str
    """What it shows; empty if the answer does not say."""

    box: Box | None = None
    """x1, y1, x2, y2."""

    polygons: tuple[Polygon, ...] = ()
    """x0, y0, x1, y1, ...; instead of a box."""

    def to_json(self) -> dict[str, Any]:
        """Return JSON values, coordinates rounded to hundredths of a pixel."""
        if self.box is not None:
            return {"text": self.text, "box": _rounded(self.box)}
        return {"text": self.text, "polygons": [_rounded(polygon) for polygon in self.polygons]}


@dataclass(frozen=True)
class Answer:
    """An answer about one image."""

    width: int
    height: int

    text: str = ""
    """The answer to a prompt that asks for text; otherwise empty."""

    regions: tuple[Region, ...] = ()

    invalid: int = 0
    """Regions left out: without area, or with too few coordinates."""

    cut_off: bool = False
    """Whether the answer ended at the model's limit of tokens."""

    def plot(self, image: Image.Image) -> Image.Image:
        """Return the image with the regions drawn on it, and the text below.

        Small images are enlarged, so that text is legible.
        """
        texts = list(dict.fromkeys(region.text for region in self.regions))
        objects = [_drawn(region, texts.index(region.text)) for region in self.regions]
        scale = max(1.0, _LEAST_SIDE / max(image.size))
        drawn = draw_objects(image, objects, scale=scale)
        return with_caption(drawn, self.text) if self.text else drawn

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "width": self.width,
            "height": self.height,
            "text": self.text,
            "regions": [region.to_json() for region in self.regions],
            "invalid": self.invalid,
            "cut_off": self.cut_off,
        }


def _drawn(region: Region, color: int) -> DrawnObject:
    values = region.box or sum(region.polygons, ())
    left, top, right, bottom = (
        min(values[::2]),
        min(values[1::2]),
        max(values[::2]),
        max(values[1::2]),
    )
    box = (left, top, right - left, bottom - top)
    return DrawnObject(box, region.text, color, region.polygons)


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 2) for value in values]

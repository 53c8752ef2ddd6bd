"""Draws boxes and polygons on images, and contact sheets."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from detfinetune.errors import DataError
from detfinetune.image_files import IMAGE_ERRORS, describe_image_error, open_image_file

Color = tuple[int, int, int]
Box = tuple[float, float, float, float]
Polygon = tuple[float, ...]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Okabe and Ito's palette for colour-blind people ("Color Universal Design", 2008), without black,
# which is invisible on dark images.
_PALETTE: tuple[Color, ...] = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0),
    (204, 121, 167),
)  # fmt: skip
_FILL_OPACITY = 80
_MARGIN = 10
_CAPTION_SIZE = 15
_TITLE_SIZE = 20
_BACKGROUND: Color = (250, 250, 250)
_INK: Color = (25, 25, 25)
_LONGEST_TEXT = 60
_NARROWEST_CAPTION = 320


@dataclass(frozen=True)
class DrawnObject:
    """One object to draw; coordinates in pixels of the image before scaling."""

    bbox: Box
    """xywh."""

    text: str = ""
    """Text of a tag at the box; empty: no tag."""

    color_index: int = 0
    polygons: tuple[Polygon, ...] = ()
    """Drawn as translucent areas instead of the box."""


def class_color(index: int) -> Color:
    """Return the colour of a class: seven that are safe for the colour-blind, then shades."""
    color = _PALETTE[index % len(_PALETTE)]
    cycle = index // len(_PALETTE)
    if cycle == 0:
        return color
    hue, lightness, saturation = colorsys.rgb_to_hls(*(value / 255 for value in color))
    # Lighter, darker, even lighter, ..., but never white or black.
    step = (0.18 if cycle % 2 else -0.18) * (1 + (cycle - 1) // 2 % 2)
    shade = colorsys.hls_to_rgb(hue, min(max(lightness + step, 0.2), 0.85), saturation)
    return tuple(round(value * 255) for value in shade)  # type: ignore[return-value]


def open_image(path: Path) -> Image.Image:
    """Open an image as RGB, rotated by its EXIF flag.

    Images with 16 bits or floating-point values are scaled to their own range; transparent pixels
    become white.

    Raises:
        DataError: the file is missing, not an image, or damaged.
    """
    try:
        with open_image_file(path) as image:
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image))
    except IMAGE_ERRORS as error:
        raise DataError(f"{path}: {describe_image_error(error)}.") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        low, high = image.convert("F").getextrema()
        scale = 255 / (high - low) if high > low else 0.0  # type: ignore[operator]
        scaled = image.convert("F").point(lambda value: value * scale - low * scale)  # type: ignore[operator]
        return scaled.convert("L").convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    return _as_rgb(image)


def _as_rgb(image: Image.Image) -> Image.Image:
    """Convert to RGB; an RGB image is returned without a copy."""
    return image if image.mode == "RGB" else image.convert("RGB")


def draw_objects(
    image: Image.Image,
    objects: Sequence[DrawnObject],
    line_width: int | None = None,
    *,
    scale: float = 1.0,
) -> Image.Image:
    """Return an RGB copy of `image`, enlarged by `scale`, with `objects` drawn on it.

    Args:
        image: any mode; it is not changed.
        objects: drawn with larger boxes first, so that none is hidden.
        line_width: pixels of the result; None: depends on its size.
        scale: scale factor before drawing; above 1 keeps text legible.
    """
    canvas = _as_rgb(image)
    if scale != 1.0:
        size = (max(1, round(canvas.width * scale)), max(1, round(canvas.height * scale)))
        canvas = canvas.resize(size, Image.Resampling.BICUBIC)
    elif canvas is image:
        canvas = canvas.copy()
    line = line_width or max(1, round(min(canvas.size) / 200))
    font_size = max(11, round(min(canvas.size) / 36))
    ordered = sorted(objects, key=lambda item: -item.bbox[2] * item.bbox[3])
    canvas = _draw_areas(canvas, ordered, scale)
    draw = ImageDraw.Draw(canvas)
    for item in ordered:
        color = class_color(item.color_index)
        for polygon in item.polygons:
            points = _scaled(polygon, scale)
            if len(points) >= 4:
                draw.line([*points, *points[:2]], fill=color, width=line)
        x, y, width, height = (value * scale for value in item.bbox)
        corners = (round(x), round(y), round(x + width) - 1, round(y + height) - 1)
        if corners[2] < corners[0] or corners[3] < corners[1]:
            corners = (
                corners[0],
                corners[1],
                max(corners[0], corners[2]),
                max(corners[1], corners[3]),
            )
        if not item.polygons:
            _draw_box(draw, corners, color, line)
    for item in ordered:
        if item.text:
            left, top = item.bbox[0] * scale, item.bbox[1] * scale
            _draw_tag(
                draw, canvas.size, (left, top), item.text, class_color(item.color_index), font_size
            )
    return canvas


def with_caption(image: Image.Image, text: str) -> Image.Image:
    """Return an RGB copy of `image` with `text` in lines below it."""
    font = _font(_CAPTION_SIZE, text)
    width = max(image.width, _NARROWEST_CAPTION)
    lines = _wrapped(text, font, width - 2 * _MARGIN)
    line_height = _CAPTION_SIZE + 5
    height = image.height + len(lines) * line_height + _MARGIN
    sheet = Image.new("RGB", (width, height), _BACKGROUND)
    sheet.paste(_as_rgb(image), (0, 0))
    draw = ImageDraw.Draw(sheet)
    for number, line in enumerate(lines):
        place = (_MARGIN, image.height + 4 + number * line_height)
        draw.text(place, line, font=font, fill=_INK)
    return sheet


def _wrapped(text: str, font: Font, width: int) -> list[str]:
    """Divide a text into lines; words that are longer than a line, as of Chinese, are divided."""
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
            continue
        lines.append("")
        for letter in word:
            if lines[-1] and font.getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return lines


def _draw_areas(canvas: Image.Image, objects: Sequence[DrawnObject], scale: float) -> Image.Image:
    if not any(item.polygons for item in objects):
        return canvas
    layer = Image.new("RGBA", canvas.size, (0, 0, 0, 0))
    draw = ImageDraw.Draw(layer)
    for item in objects:
        for polygon in item.polygons:
            if len(polygon) >= 6:
                color = (*class_color(item.color_index), _FILL_OPACITY)
                draw.polygon(_scaled(polygon, scale), fill=color)
    return Image.alpha_composite(canvas.convert("RGBA"), layer).convert("RGB")


def _draw_box(
    draw: ImageDraw.ImageDraw, corners: tuple[int, int, int, int], color: Color, line: int
) -> None:
    """Draw a box with a thin dark border, so that it is visible on any colour."""
    x1, y1, x2, y2 = corners
    if min(x2 - x1, y2 - y1) > 6 * line:
        draw.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=(0, 0, 0), width=1)
    draw.rectangle(corners, outline=color, width=line)


def _draw_tag(
    draw: ImageDraw.ImageDraw,
    size: tuple[int, int],
    corner: tuple[float, float],
    text: str,
    color: Color,
    font_size: int,
) -> None:
    """Draw `text` above a box's top left corner, or nearby if there is no room."""
    text = _one_line(text)
    font = _font(font_size, text)
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    width, height = math.ceil(right - left) + 6, math.ceil(bottom - top) + 5
    x = min(max(0, round(corner[0])), max(0, size[0] - width))
    y = round(corner[1]) - height
    if y < 0:
        y = max(0, round(corner[1]))
    y = min(y, max(0, size[1] - height))
    draw.rectangle((x, y, x + width - 1, y + height - 1), fill=color)
    draw.text((x + 3 - left, y + 2 - top), text, font=font, fill=_text_color(color))


def _text_color(background: Color) -> Color:
    """Return black or white, whichever has more contrast (WCAG's relative luminance)."""
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (channel / 255 for channel in background)
    ]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return (0, 0, 0) if luminance > 0.179 else (255, 255, 255)


def contact_sheet(
    tiles: Sequence[tuple[Image.Image, str]],
    columns: int | None = None,
    tile_width: int = 480,
    title: str = "",
    legend: Sequence[tuple[str, Color]] = (),
) -> Image.Image:
    """Return a sheet of captioned images, each scaled to fit a tile of width `tile_width`.

    Args:
        tiles: images with captions.
        columns: images per row; None: about square, at most four.
        tile_width: pixels; the height of tiles fits the median image.
        title: a line at the top.
        legend: names and colours below the title.
    """
    columns = columns or min(4, max(1, math.ceil(math.sqrt(len(tiles)))))
    rows = math.ceil(len(tiles) / columns)
    ratios = sorted(image.height / image.width for image, _ in tiles) or [0.0]
    tile_height = round(tile_width * min(max(ratios[len(ratios) // 2], 0.4), 1.5)) if tiles else 0
    caption_height = _CAPTION_SIZE + 8
    sheet_width = _MARGIN + columns * (tile_width + _MARGIN)
    legend_lines = _legend_lines(legend, sheet_width - 2 * _MARGIN)
    header = (_TITLE_SIZE + 12 if title else 0) + len(legend_lines) * caption_height
    row_height = tile_height + caption_height + _MARGIN
    sheet = Image.new("RGB", (sheet_width, _MARGIN + header + rows * row_height), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    if title:
        font = _font(_TITLE_SIZE, title)
        draw.text((_MARGIN, _MARGIN), _one_line(title, 200), font=font, fill=_INK)
    y = _MARGIN + (_TITLE_SIZE + 12 if title else 0)
    for line in legend_lines:
        for x, name, color in line:
            draw.rectangle((x, y + 2, x + 14, y + 16), fill=color, outline=_INK)
            draw.text((x + 20, y), name, font=_font(_CAPTION_SIZE, name), fill=_INK)
        y += caption_height
    for number, (image, caption) in enumerate(tiles):
        x = _MARGIN + number % columns * (tile_width + _MARGIN)
        top = y + number // columns * row_height
        fitted = _fitted(image, tile_width, tile_height)
        sheet.paste(fitted, (x + (tile_width - fitted.width) // 2, top))
        text = _cut_to(draw, _one_line(caption, 200), tile_width)
        draw.text((x, top + tile_height + 2), text, font=_font(_CAPTION_SIZE, text), fill=_INK)
    return sheet


def _fitted(image: Image.Image, width: int, height: int) -> Image.Image:
    scale = min(width / image.width, height / image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def _legend_lines(
    legend: Sequence[tuple[str, Color]], width: int
) -> list[list[tuple[int, str, Color]]]:
    """Divide the legend into lines; each entry has its x position in pixels."""
    lines: list[list[tuple[int, str, Color]]] = []
    x = width + 1
    for name, color in legend:
        name = _one_line(name, 40)
        needed = 36 + math.ceil(_font(_CAPTION_SIZE, name).getlength(name))
        if x + needed > width or not lines:
            lines.append([])
            x = _MARGIN
        lines[-1].append((x, name, color))
        x += needed
    return lines


def _cut_to(draw: ImageDraw.ImageDraw, text: str, width: int) -> str:
    """Shorten a caption in the middle: both ends of a file name matter."""
    font = _font(_CAPTION_SIZE, text)
    if draw.textlength(text, font=font) <= width:
        return text
    keep = len(text)
    while (
        keep > 4
        and draw.textlength(f"{text[: keep // 2]}...{text[-keep // 2 :]}", font=font) > width
    ):
        keep -= 2
    return f"{text[: keep // 2]}...{text[-keep // 2 :]}"


def _one_line(text: str, longest: int = _LONGEST_TEXT) -> str:
    text = " ".join(text.split())
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def _font(size: int, text: str = "") -> Font:
    """Return a font for a text; Pillow's own has no letters beyond ASCII."""
    if text.isascii():
        return ImageFont.load_default(size)
    return ImageFont.truetype(_unicode_font(), size)


@cache
def _unicode_font() -> str:
    """Return the file of DejaVu Sans, which comes with matplotlib: Latin, Greek, Cyrillic, ..."""
    import matplotlib

    return str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")


def _scaled(polygon: Polygon, scale: float) -> list[float]:
    return [value * scale for value in polygon]

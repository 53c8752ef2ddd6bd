"""Drawing: pixels where they belong, and images of every mode."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, ImageChops

from detfinetune.errors import DataError
from detfinetune.pictures import (
    DrawnObject,
    class_color,
    contact_sheet,
    draw_objects,
    open_image,
    with_caption,
)

GREY = (128, 128, 128)


def blank(width: int = 100, height: int = 80) -> Image.Image:
    return Image.new("RGB", (width, height), GREY)


def pixel_counts(image: Image.Image) -> dict[tuple[int, int, int], int]:
    """Return how often each colour is there."""
    colors = image.getcolors(image.width * image.height)
    return {color: count for count, color in colors or []}  # type: ignore[misc]


def changed(before: Image.Image, after: Image.Image) -> tuple[int, int, int, int] | None:
    """Return the hull of all pixels that differ."""
    return ImageChops.difference(before, after).getbbox()


def test_box_is_drawn_where_it_is() -> None:
    image = blank()
    drawn = draw_objects(image, [DrawnObject((20, 10, 40, 30), color_index=2)], line_width=1)
    assert drawn.getpixel((20, 10)) == class_color(2)
    assert drawn.getpixel((59, 39)) == class_color(2)
    assert drawn.getpixel((40, 25)) == GREY
    # The dark rim is one pixel wider.
    assert changed(image, drawn) == (19, 9, 61, 41)
    assert image.getpixel((20, 10)) == GREY


def test_scale_enlarges_image_and_box() -> None:
    drawn = draw_objects(blank(), [DrawnObject((20, 10, 40, 30))], 1, scale=3)
    assert drawn.size == (300, 240)
    assert drawn.getpixel((60, 30)) == class_color(0)
    assert drawn.getpixel((179, 119)) == class_color(0)


@pytest.mark.parametrize("corner", [(0, 0), (90, 0), (0, 70), (90, 70), (-20, -20), (150, 150)])
def test_tag_is_never_cut_off(corner: tuple[int, int]) -> None:
    item = DrawnObject((*corner, 10, 10), "class name", 1)
    image = blank()
    drawn = draw_objects(image, [item], 1)
    on_larger = draw_objects(blank(300, 300), [DrawnObject((100, 100, 10, 10), "class name", 1)], 1)

    def tag_pixels(picture: Image.Image) -> int:
        return pixel_counts(picture).get(class_color(1), 0)

    # The whole tag is there: at least as many of its pixels as away from the edges, box apart.
    assert tag_pixels(drawn) >= tag_pixels(on_larger) - 40


def test_polygons_are_filled_translucently() -> None:
    triangle = DrawnObject((10, 10, 60, 60), polygons=((10, 10, 70, 10, 10, 70),))
    drawn = draw_objects(blank(), [triangle], 1)
    inside, outside = drawn.getpixel((25, 25)), drawn.getpixel((65, 65))
    assert outside == GREY
    assert inside not in (GREY, class_color(0))
    assert drawn.getpixel((40, 10)) == class_color(0)


@pytest.mark.parametrize(
    "item",
    [
        DrawnObject((50, 40, 0, 0), "empty"),
        DrawnObject((50, 40, 0.2, 0.2), "tiny"),
        DrawnObject((-500, -500, 2000, 2000), "huge"),
        DrawnObject((10, 10, 5, 5), "日本語 éü 🙂 \n\t weiß" * 5, 123),
        DrawnObject((10, 10, 5, 5), "", polygons=((10, 10), (10, 10, 20, 20), ())),
    ],
)
def test_odd_objects_do_not_crash(item: DrawnObject) -> None:
    assert draw_objects(blank(), [item]).size == (100, 80)


def test_colours_differ_from_class_to_class() -> None:
    colors = [class_color(index) for index in range(28)]
    assert len(set(colors)) == 28
    assert class_color(0) == (230, 159, 0)
    assert all(0 <= value <= 255 for color in colors for value in color)


def test_contact_sheet_holds_every_tile() -> None:
    reds = [(Image.new("RGB", (50, 40), (200 + n, 0, 0)), f"picture {n}") for n in range(5)]
    sheet = contact_sheet(reds, columns=2, tile_width=100, title="A title", legend=[("a", GREY)])
    pixels = pixel_counts(sheet)
    assert all((200 + n, 0, 0) in pixels for n in range(5))
    assert sheet.width == 10 + 2 * 110
    narrow = contact_sheet([(Image.new("RGB", (10, 2000)), "x" * 500)], tile_width=60)
    assert narrow.width == 80
    assert contact_sheet([], title="nothing").height > 20


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I", "I;16", "F"])
def test_open_image_of_every_mode(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.tif" if mode in ("CMYK", "I", "I;16", "F") else "a.png")
    ramp = Image.linear_gradient("L")
    if mode == "I;16":
        ramp.convert("I").point(lambda value: value * 200).convert("I;16").save(path)
    else:
        ramp.convert(mode).save(path)
    image = open_image(path)
    assert (image.mode, image.size) == ("RGB", (256, 256))
    low, high = image.convert("L").getextrema()
    assert low < 20
    assert high > 235


def test_transparent_pixels_are_white(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "a.png")
    assert open_image(tmp_path / "a.png").getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("content", [None, b"", b"junk"])
def test_image_that_cannot_be_opened(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png: (the image cannot be|not an image)"):
        open_image(path)


def test_a_caption_stands_below_the_image_in_lines_that_fit() -> None:
    image = blank(400, 80)
    one, many = with_caption(image, "Short."), with_caption(image, f"many words {'x' * 200} " * 3)
    assert one.size == (400, 80 + 20 + 10)
    assert ImageChops.difference(one.crop((0, 0, 400, 80)), image).getbbox() is None
    assert (many.height - 80 - 10) % 20 == 0
    assert many.height > 80 + 3 * 20
    below = many.crop((0, 80, 400, many.height))
    ink = changed(Image.new("RGB", below.size, below.getpixel((0, 0))), below)
    assert ink is not None
    assert ink[0] >= 9
    assert ink[2] <= 391
    # A narrow image gets a margin at its right.
    assert with_caption(blank(30, 80), "Short.").width == 320


def test_letters_beyond_ascii_are_drawn() -> None:
    """And not all as the same empty square."""
    tags = [
        draw_objects(blank(), [DrawnObject((9, 30, 60, 40), f"Tag {letter}")]) for letter in "üßЖΩ"
    ]
    assert all(changed(tags[0], tag) for tag in tags[1:])

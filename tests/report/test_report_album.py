"""Pictures: the right part of the image, within their bytes, each image opened once."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from detfinetune.labels.dataset.masks import decoded, mask_to_polygons
from detfinetune.labels.dataset.records import RleMask
from detfinetune.pictures import DrawnObject
from detfinetune.report.album import Album, Picture, Shot


def _pixels(picture: Picture) -> np.ndarray:
    data = base64.b64decode(picture.uri.removeprefix("data:image/jpeg;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=int)


def _draw(shot: Shot, most_bytes: int = 10**9) -> Picture:
    album = Album()
    picture = album.add(shot)
    album.draw(most_bytes)
    return picture


@pytest.fixture
def quarters(tmp_path: Path) -> Path:
    """An image of 400 x 200: red, green, blue and white quarters."""
    image = Image.new("RGB", (400, 200), (255, 255, 255))
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 0, 199, 99), fill=(255, 0, 0))
    pen.rectangle((200, 0, 399, 99), fill=(0, 255, 0))
    pen.rectangle((0, 100, 199, 199), fill=(0, 0, 255))
    image.save(tmp_path / "quarters.png")
    return tmp_path / "quarters.png"


def _is(pixel: np.ndarray, color: tuple[int, int, int]) -> bool:
    return bool((abs(pixel - np.array(color)) < 30).all())


def test_whole_image_keeps_its_shape(quarters: Path) -> None:
    picture = _draw(Shot(quarters, side=200))
    assert (picture.width, picture.height) == (200, 100)
    pixels = _pixels(picture)
    assert _is(pixels[25, 50], (255, 0, 0))
    assert _is(pixels[75, 150], (255, 255, 255))


def test_focus_shows_a_square_around_it(quarters: Path) -> None:
    # Centre 100, 150 and side 2 x 40: from (60, 110) to (140, 190), all of it blue.
    picture = _draw(Shot(quarters, side=160, focus=(80, 130, 40, 40), context=2))
    assert (picture.width, picture.height) == (160, 160)
    pixels = _pixels(picture).reshape(-1, 3)
    assert all(_is(pixel, (0, 0, 255)) for pixel in pixels[:: 160 * 8 + 7])


def test_focus_at_an_edge_stays_in_the_image(quarters: Path) -> None:
    # Wanted is (350, -50) to (450, 50); shown is (300, 0) to (400, 100), all of it green.
    picture = _draw(Shot(quarters, side=100, focus=(375, -25, 50, 50), context=2))
    assert (picture.width, picture.height) == (100, 100)
    assert all(_is(_pixels(picture)[y, x], (0, 255, 0)) for x, y in ((2, 97), (97, 2), (50, 50)))


def test_box_outside_is_shown_beside_the_image(quarters: Path) -> None:
    item = DrawnObject((420, 20, 60, 60), color_index=2)
    picture = _draw(Shot(quarters, (item,), side=480))
    assert (picture.width, picture.height) == (480, 200)
    pixels = _pixels(picture)
    assert _is(pixels[50, 410], (0, 0, 0))
    assert _is(pixels[50, 390], (0, 255, 0))
    # The box's line, one pixel wide, bleeds into the black around it.
    assert pixels[50, 420, 1] > 100


def test_far_boxes_are_cut_to_half_an_image_away(quarters: Path) -> None:
    picture = _draw(Shot(quarters, (DrawnObject((1e9, 0, 5, 5)),), side=600))
    assert (picture.width, picture.height) == (600, 200)


@pytest.mark.parametrize("marks", [False, True])
def test_small_boxes_are_marked_when_asked(tmp_path: Path, marks: bool) -> None:
    Image.new("RGB", (4000, 2000), (255, 255, 255)).save(tmp_path / "large.png")
    item = DrawnObject((2000, 1000, 8, 8), color_index=4)
    picture = _draw(Shot(tmp_path / "large.png", (item,), side=400, marks=marks))
    assert (picture.width, picture.height) == (400, 200)
    ink = (_pixels(picture).sum(axis=2) < 600).any(axis=0)
    assert np.flatnonzero(ink).min() >= 190
    assert np.flatnonzero(ink).max() <= 210
    assert (ink.sum() >= 12) == marks


def test_pictures_keep_to_their_bytes(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (400, 600, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    for limit in (60_000, 8_000, 2_000):
        picture = _draw(Shot(tmp_path / "noise.png", side=600, most_bytes=limit))
        size = len(base64.b64decode(picture.uri.removeprefix("data:image/jpeg;base64,")))
        assert limit / 4 < size <= limit
        assert _pixels(picture).shape == (picture.height, picture.width, 3)
        assert picture.width / picture.height == pytest.approx(1.5, abs=0.05)


def test_all_pictures_keep_to_the_bytes_of_the_album(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    album = Album()
    pictures = []
    for at in range(5):
        Image.fromarray(noise).save(tmp_path / f"{at}.png")
        # The page holds each twice.
        pictures += [album.add(Shot(tmp_path / f"{at}.png", most_bytes=50_000)) for _ in range(2)]
    album.draw(100_000)
    assert pictures[0] is pictures[1]
    assert sum(len(p.uri) for p in pictures) * 3 / 4 < 100_500


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "image that Pillow can read"),
        (b"GIF89a", "image that Pillow can read"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "image that Pillow can read"),
        (b"II*\0\x08\0\0\0\xff\xff" + b"\xff" * 60, "image that Pillow can read"),
        (None, "there is no such file"),
    ],
)
def test_what_cannot_be_opened_says_why(tmp_path: Path, content: bytes | None, reason: str) -> None:
    if content is not None:
        (tmp_path / "bad.png").write_bytes(content)
    Image.new("RGB", (20, 20)).save(tmp_path / "good.png")
    album = Album()
    bad = [album.add(Shot(tmp_path / "bad.png", side=side)) for side in (50, 60)]
    good = album.add(Shot(tmp_path / "good.png"))
    album.draw(10**6)
    assert good.uri
    assert not good.problem
    for picture in bad:
        assert picture.uri == ""
        assert reason in picture.problem


def test_masks_become_polygons() -> None:
    # Columns 2 to 4 of six, rows 1 to 3 of five.
    counts = (2 * 5 + 1, 3, 2, 3, 2, 3, 1 + 5)
    (outline,) = mask_to_polygons(decoded(RleMask((5, 6), counts)))
    assert sorted(set(zip(outline[::2], outline[1::2], strict=True))) == [
        (2.5, 1.5), (2.5, 3.5), (4.5, 1.5), (4.5, 3.5)
    ]  # fmt: skip

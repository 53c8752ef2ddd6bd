"""The pictures that browsers get: upright, in 8 bits, at most 2048 pixels wide."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detfinetune.annotate.pixels import Pictures


def served(*paths: Path) -> Image.Image:
    """Return the picture of the first image of a data set."""
    data, media_type = Pictures(paths).picture(paths[0])
    image = Image.open(io.BytesIO(data))
    assert media_type == Image.MIME[str(image.format)]
    return image


def half_red(size: tuple[int, int]) -> Image.Image:
    """Return an image whose left half is red, and the rest blue."""
    image = Image.new("RGB", size, (0, 0, 255))
    image.paste((255, 0, 0), (0, 0, size[0] // 2, size[1]))
    return image


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_a_plain_image_is_served_as_it_is(tmp_path: Path, name: str) -> None:
    half_red((100, 80)).save(tmp_path / name)
    data, _ = Pictures([tmp_path / name]).picture(tmp_path / name)
    assert data == (tmp_path / name).read_bytes()


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
def test_an_image_is_turned_by_its_exif_flag(tmp_path: Path, name: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # The left side of the file is the top.
    half_red((100, 80)).save(tmp_path / name, exif=exif)
    picture = served(tmp_path / name).convert("RGB")
    assert picture.size == (80, 100)
    red, _, blue = picture.getpixel((40, 10))  # type: ignore[misc]
    assert red > 200 > 50 > blue


def test_a_large_image_is_reduced(tmp_path: Path) -> None:
    half_red((5000, 1000)).save(tmp_path / "a.jpg")
    picture = served(tmp_path / "a.jpg")
    assert picture.size == (2048, 410)


def test_a_slightly_too_large_image_is_reduced_to_the_same_size(tmp_path: Path) -> None:
    half_red((100, 2050)).save(tmp_path / "a.png")
    assert served(tmp_path / "a.png").size == (100, 2048)


def test_deep_grey_is_windowed_over_all_images_as_in_training(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(1000, 3000, 101), (40, 1)).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    Image.fromarray(ramp + 2000).save(tmp_path / "b.png")
    low, high = np.percentile(np.concatenate([ramp, ramp + 2000]), (0.5, 99.5))
    expected = np.clip((ramp[0] - low) / (high - low) * 255, 0, 255)
    pixels = np.asarray(served(tmp_path / "a.png", tmp_path / "b.png"))
    assert pixels.shape == (40, 101, 3)
    assert np.abs(pixels[20, :, 0] - expected).max() < 4  # JPEG


@pytest.mark.parametrize(("mode", "name"), [("CMYK", "a.jpg"), ("RGB", "a.bmp"), ("RGB", "a.webp")])
def test_what_browsers_may_not_show_is_converted(tmp_path: Path, mode: str, name: str) -> None:
    half_red((100, 80)).convert(mode).save(tmp_path / name)
    picture = served(tmp_path / name)
    assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (100, 80))
    red, _, blue = picture.getpixel((10, 40))  # type: ignore[misc]
    assert red > 200 > 50 > blue


def test_a_missing_image(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Pictures([]).picture(tmp_path / "none.jpg")

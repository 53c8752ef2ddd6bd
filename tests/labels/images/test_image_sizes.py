"""Sizes from headers: every orientation and type, and files that are damaged."""

from __future__ import annotations

import contextlib
import json
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from detfinetune.errors import DataError
from detfinetune.labels.images.sizes import (
    IMAGE_SUFFIXES,
    UnreadableImage,
    read_image_size,
    read_image_sizes,
    read_size_table,
)
from detfinetune.pictures import open_image


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_size_is_that_of_the_rotated_image(tmp_path: Path, suffix: str, orientation: int) -> None:
    path = tmp_path / f"a{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (30, 20)).save(path, exif=exif)
    expected = (30, 20) if orientation < 5 else (20, 30)
    assert read_image_size(path) == expected
    assert open_image(path).size == expected


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
def test_every_image_type(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"ÄÖ ü{suffix.upper()}"
    Image.new("RGB", (31, 17)).save(path)
    assert read_image_size(path) == (31, 17)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp"])
def test_truncated_image(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.effect_noise((200, 100), 50).convert("RGB").save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnreadableImage):
        read_image_size(path)


def test_jpeg_with_other_bytes_after_its_end_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.new("RGB", (30, 20)).save(path)
    path.write_bytes(path.read_bytes() + b"\0" * 100_000)
    assert read_image_size(path) == (30, 20)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the image file is empty"),
        (b"not an image at all", "not an image that Pillow can read"),
        (b"\xff\xd8\xff\xe0", "not an image that Pillow can read"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "image"),
    ],
)
def test_file_that_is_not_an_image(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(UnreadableImage, match=message):
        read_image_size(path)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    suffix=st.sampled_from([".jpg", ".png", ".tif", ".webp", ".bmp"]),
    at=st.floats(0, 1),
    change=st.one_of(st.none(), st.binary(min_size=1, max_size=3)),
)
def test_any_damage_is_an_unreadable_image_or_none(
    tmp_path: Path, suffix: str, at: float, change: bytes | None
) -> None:
    path = tmp_path / f"a{suffix}"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(path, exif=exif)
    content = path.read_bytes()
    index = int(at * (len(content) - 1))
    rest = b"" if change is None else change + content[index + len(change) :]
    path.write_bytes(content[:index] + rest)
    with contextlib.suppress(UnreadableImage), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert min(read_image_size(path)) > 0


@pytest.mark.benchmark_data
def test_real_images_are_as_large_as_training_sees_them(shared_data: Path) -> None:
    paths = sorted(p for p in shared_data.rglob("*") if p.suffix in (".jpg", ".png"))[::10]
    assert len(paths) > 150
    for path, size in read_image_sizes(paths).items():
        assert open_image(path).size == size, path


def test_many_at_once_keep_their_order_and_their_problems(tmp_path: Path) -> None:
    paths = [tmp_path / f"{n}.png" for n in range(240)]
    for n, path in enumerate(paths):
        Image.new("L", (n + 1, 5)).save(path)
    paths[7].write_bytes(b"")
    sizes = read_image_sizes(paths)
    assert list(sizes) == paths
    assert isinstance(sizes.pop(paths[7]), UnreadableImage)
    assert [width for width, _ in sizes.values()] == [n for n in range(1, 241) if n != 8]


def test_size_tables(tmp_path: Path) -> None:
    coco = tmp_path / "sizes.json"
    coco.write_text(json.dumps({"images": [{"file_name": "a b.jpg", "width": 5, "height": 4}]}))
    assert read_size_table(coco) == {"a b.jpg": (5, 4)}
    table = tmp_path / "sizes.csv"
    table.write_text('file_name, width, height\n"a,b.jpg",5,4\nsub\\c.png, 7 ,8\n\n')
    assert read_size_table(table) == {"a,b.jpg": (5, 4), "sub/c.png": (7, 8)}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "a.jpg,5,4\n", "a.csv:1: there is no column 'file_name'"),
        ("a.csv", "file_name,width,height\na.jpg,5\n", "a.csv:2: 2 cells, and the heading has 3"),
        ("a.csv", "file_name,width,height\na.jpg,5,0\n", "must be positive"),
        ("a.csv", "file_name,width,height\na.jpg,5,x\n", "a.csv:2: not a file name, width and"),
        ("a.csv", "file_name,width,height\n", "holds no image sizes"),
        ("a.json", "{", "not valid JSON"),
        ("a.json", '{"pictures": []}', "holds no list 'images'"),
        ("a.json", '{"images": [{"file_name": "a.jpg"}]}', "images[0]: not a file name, width"),
    ],
)
def test_size_table_that_is_wrong(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(DataError) as raised:
        read_size_table(path)
    assert message in str(raised.value)

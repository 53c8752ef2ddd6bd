"""The direct reader of PNG chunks: wherever it answers, it answers as Pillow does."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from detfinetune.labels.images.png_header import read_png_size
from detfinetune.labels.images.sizes import UnreadableImage, _read_through_pillow, read_image_size

MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


def png(size: tuple[int, int] = (40, 24), mode: str = "RGB", **options: object) -> bytes:
    """Return a PNG with something in it."""
    picture = Image.radial_gradient("L").resize(size)
    picture = picture.convert("I;16" if mode == "I;16" else mode)
    stream = io.BytesIO()
    picture.save(stream, "PNG", **options)
    return stream.getvalue()


def chunk(name: bytes, body: bytes, checksum: int | None = None) -> bytes:
    checksum = zlib.crc32(name + body) if checksum is None else checksum
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum)


def answers(path: Path) -> tuple[object, object]:
    """Return what the reader with its direct way says and what Pillow alone says."""

    def say(read: object) -> object:
        try:
            return read(path)  # type: ignore[operator]
        except UnreadableImage as problem:
            return f"unreadable: {problem}"

    return say(read_image_size), say(_read_through_pillow)


EXIF = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
EXTRA = st.sampled_from(
    [
        b"",
        chunk(b"eXIf", EXIF),
        chunk(b"tEXt", b"Comment\0hello"),
        chunk(b"gAMA", b"\0\0\xb1\x8f"),
        chunk(b"gAMA", b"\0"),
        chunk(b"gAMA", b"\0\0\xb1\x8f", checksum=1),
        chunk(b"sRGB", b"\0"),
        chunk(b"sRGB", b""),
        chunk(b"pHYs", b"\0\0\x0b\x13\0\0\x0b\x13\x01"),
        chunk(b"cHRM", b"\0" * 32),
        chunk(b"tIME", b"\x07\xea\x0b\x15\0\0\0"),
        chunk(b"PLTE", b"\0" * 6),
        chunk(b"tRNS", b"\0\0"),
        chunk(b"iCCP", b"a\0\0" + zlib.compress(b"b")),
        chunk(b"acTL", b"\0\0\0\x02\0\0\0\0"),
        chunk(b"abCd", b"private"),
        chunk(b"IEND", b""),
        chunk(b"IHDR", struct.pack(">IIBBBBB", 5, 6, 8, 2, 0, 0, 0)),
    ]
)


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    mode=st.sampled_from(MODES),
    before=EXTRA,
    behind=EXTRA,
    data=st.data(),
)
def test_same_answer_as_pillow_whatever_the_file(
    tmp_path: Path,
    size: tuple[int, int],
    mode: str,
    before: bytes,
    behind: bytes,
    data: st.DataObject,
) -> None:
    content = png(size, mode)
    content = content[:33] + before + content[33:-12] + behind + content[-12:]
    damage = data.draw(st.sampled_from(["none", "none", "cut", "bytes", "trailing"]))
    if damage == "cut":
        content = content[: data.draw(st.integers(8, len(content)))]
    elif damage == "bytes":
        at = data.draw(st.integers(8, min(len(content), 200) - 1))
        content = content[:at] + data.draw(st.binary(min_size=1, max_size=3)) + content[at + 1 :]
    elif damage == "trailing":
        content += data.draw(st.sampled_from([b"\0", b"\0" * 100_000, content[-12:]]))
    path = tmp_path / "a.png"
    path.write_bytes(content)
    direct, pillow = answers(path)
    assert direct == pillow


@pytest.mark.parametrize("mode", MODES)
def test_usual_files_need_no_pillow(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png((33, 65), mode, dpi=(72, 72)))
    assert read_png_size(path) == (33, 65)


def test_a_file_of_many_chunks_needs_no_pillow(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    noise = Image.effect_noise((700, 500), 90)
    noise.save(path)
    assert path.read_bytes().count(b"IDAT") > 3
    assert read_png_size(path) == (700, 500)


def test_unusual_files_are_left_to_pillow(tmp_path: Path) -> None:
    text = PngInfo()
    text.add_text("Comment", "hello")
    for content in (
        png(pnginfo=text),
        png(save_all=True, append_images=[Image.new("RGB", (40, 24))]),
        png()[:-1],
        png() + b"\0",
        b"\xff\xd8" + png(),
    ):
        path = tmp_path / "a.png"
        path.write_bytes(content)
        assert read_png_size(path) is None


@pytest.mark.benchmark_data
def test_same_answer_as_pillow_on_real_images(shared_data: Path) -> None:
    paths = sorted(shared_data.rglob("*.png"))
    assert len(paths) > 1000
    direct = 0
    for path in paths:
        ours, pillow = answers(path)
        assert ours == pillow, path
        direct += read_png_size(path) is not None
    assert direct > 0.9 * len(paths)

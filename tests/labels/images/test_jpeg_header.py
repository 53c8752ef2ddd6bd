"""The direct reader of JPEG headers: wherever it answers, it answers as Pillow does."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from detfinetune.labels.images.jpeg_header import read_jpeg_size
from detfinetune.labels.images.sizes import UnreadableImage, _read_through_pillow, read_image_size

MODES = ("L", "RGB", "CMYK")


def jpeg(
    size: tuple[int, int] = (40, 24),
    mode: str = "RGB",
    progressive: bool = False,
    restart: int = 0,
    exif: bytes = b"",
    icc_bytes: int = 0,
    comment: bytes = b"",
) -> bytes:
    """Return a JPEG with something in it."""
    stream = io.BytesIO()
    picture = Image.radial_gradient("L").resize(size).convert(mode)
    picture.save(stream, "JPEG", progressive=progressive, restart_marker_blocks=restart)
    content = stream.getvalue()
    # By hand, because Pillow fails to write small images with large profiles now and then.
    added = [segment(0xFFE1, exif)] if exif else []
    profile = [b"\x11" * min(60_000, icc_bytes - at) for at in range(0, icc_bytes, 60_000)]
    added += [
        segment(0xFFE2, b"ICC_PROFILE\0" + bytes([number, len(profile)]) + part)
        for number, part in enumerate(profile, start=1)
    ]
    if comment:
        added.append(segment(0xFFFE, comment))
    start = 20 if content[2:4] == b"\xff\xe0" else 2
    return content[:start] + b"".join(added) + content[start:]


def exif_block(
    orientation: int | None, order: str = "<", thumbnail: int = 0, resolution: bool = False
) -> bytes:
    """Return an APP1 body, with a stand-in for a thumbnail behind its directory."""
    entries = []
    if orientation is not None:
        entries.append(struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0))
    tail = b""
    if resolution:
        at = 8 + 2 + 12 * (len(entries) + 1) + 4
        entries.append(struct.pack(order + "HHII", 0x011A, 5, 1, at))
        tail = struct.pack(order + "II", 72, 1)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    directory = struct.pack(order + "H", len(entries)) + b"".join(entries) + b"\0\0\0\0"
    return b"Exif\0\0" + head + directory + tail + b"\xff\xd8" + b"\x55" * thumbnail


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">HH", marker, len(body) + 2) + body


def answers(path: Path) -> tuple[object, object]:
    """Return what the reader with its direct way says and what Pillow alone says."""

    def say(read: object) -> object:
        try:
            return read(path)  # type: ignore[operator]
        except UnreadableImage as problem:
            return f"unreadable: {problem}"

    return say(read_image_size), say(_read_through_pillow)


SOUND = st.builds(
    jpeg,
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    mode=st.sampled_from(MODES),
    progressive=st.booleans(),
    restart=st.integers(0, 3),
    exif=st.one_of(
        st.just(b""),
        st.builds(
            exif_block,
            orientation=st.one_of(st.none(), st.integers(0, 10)),
            order=st.sampled_from("<>"),
            thumbnail=st.sampled_from([0, 1, 700, 9000]),
            resolution=st.booleans(),
        ),
    ),
    icc_bytes=st.sampled_from([0, 500, 70_000, 300_000]),
    comment=st.binary(max_size=20),
)
EXTRA = st.sampled_from(
    [
        b"",
        b"\xff",
        b"\0",
        segment(0xFFE1, exif_block(6)),
        segment(0xFFE1, exif_block(8, ">")),
        segment(0xFFE1, b'http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation="6"/>'),
        segment(0xFFE1, b"http://ns.adobe.com/xap/1.0/\0<x/>"),
        segment(0xFFE2, b"MPF\0MM\0*\0\0\0\x08"),
        segment(0xFFED, b"Photoshop 3.0\x008BIM\x04"),
        segment(0xFFEE, b"Adobe\0"),
        segment(0xFFE0, b"JFIF"),
        segment(0xFFDB, b"\0" * 65),
        segment(0xFFDB, b"\x10" + b"\0" * 64),
        segment(0xFFC0, b"\x08\0\x05\0\x06\x01\x01\x11\0"),
        segment(0xFFC0, b"\x0c\0\x05\0\x06\x01\x01\x11\0"),
        segment(0xFFCC, b"\0\0"),
        segment(0xFFF0, b"\0\0"),
        segment(0xFFDA, b""),
    ]
)


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=SOUND, extra=EXTRA, data=st.data())
def test_same_answer_as_pillow_whatever_the_file(
    tmp_path: Path, content: bytes, extra: bytes, data: st.DataObject
) -> None:
    content = content[:2] + extra + content[2:]
    damage = data.draw(st.sampled_from(["none", "cut", "bytes", "trailing", "early end"]))
    at = data.draw(st.integers(2, min(len(content), 1500) - 1))
    if damage == "cut":
        content = content[: data.draw(st.integers(2, len(content)))]
    elif damage == "bytes":
        content = content[:at] + data.draw(st.binary(min_size=1, max_size=3)) + content[at + 1 :]
    elif damage == "trailing":
        content += data.draw(st.sampled_from([b"\0", b"\0" * 100_000, b"\xff\xd9", b"a\xff\xd9"]))
    elif damage == "early end":
        content = content[:at] + b"\xff\xd9"
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    direct, pillow = answers(path)
    assert direct == pillow


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", ["<", ">"])
def test_usual_files_need_no_pillow(tmp_path: Path, order: str, orientation: int) -> None:
    path = tmp_path / "a.jpg"
    exif = exif_block(orientation, order, thumbnail=9000, resolution=True)
    path.write_bytes(jpeg((40, 24), exif=exif, icc_bytes=3000))
    assert read_jpeg_size(path) == ((24, 40) if orientation >= 5 else (40, 24))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("progressive", [False, True])
def test_modes_need_no_pillow(tmp_path: Path, mode: str, progressive: bool) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg((33, 65), mode, progressive, restart=1))
    assert read_jpeg_size(path) == (33, 65)


@pytest.mark.parametrize(
    "content",
    [
        jpeg()[:-2],
        jpeg() + b"\0",
        b"\xff\xd8" + segment(0xFFE1, exif_block(6)) * 2 + jpeg()[2:],
        b"\xff\xd8" + segment(0xFFE2, b"MPF\0") + jpeg()[2:],
        b"\x89PNG\r\n\x1a\n" + b"\0" * 40 + b"\xff\xd9",
    ],
    ids=["no end", "behind the end", "two EXIFs", "MPO", "PNG"],
)
def test_unusual_files_are_left_to_pillow(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    assert read_jpeg_size(path) is None


@pytest.mark.benchmark_data
def test_same_answer_as_pillow_on_real_photos(shared_data: Path) -> None:
    paths = sorted(shared_data.rglob("*.jpg"))
    assert len(paths) > 500
    direct = 0
    for path in paths:
        ours, pillow = answers(path)
        assert ours == pillow, path
        direct += read_jpeg_size(path) is not None
    assert direct > 0.9 * len(paths)

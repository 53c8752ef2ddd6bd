"""Image sizes from headers alone, after rotation by the EXIF flag as Detectron2 will apply it."""

from __future__ import annotations

import json
import os
import struct
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image
from tqdm import tqdm

from detfinetune import console
from detfinetune.errors import DataError
from detfinetune.image_files import (
    IMAGE_ERRORS,
    describe_image_error,
    max_megapixels,
    open_image_file,
    refuse_special_file,
)
from detfinetune.labels.csv_text import read_image_rows
from detfinetune.labels.images.size_cache import file_stamps, read_cached, write_cached

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
"""Image types that both Pillow and OpenCV read; in file names, case does not matter."""

_ORIENTATION = 0x0112
# Below this the cache costs as much as it saves.
_FEW = 200
_THREADS = 16
# Per image; a header on a fast disk takes 0.1 ms.
_SLOW_SECONDS = 0.001
_CHUNK = 100
_KIND = "size-1"

Size = tuple[int, int]


class UnreadableImage(Exception):
    """An image file that training could not read; the text says why."""


def is_image(path: Path) -> bool:
    """Whether the file's name is that of an image."""
    return is_image_name(path.name)


def is_image_name(name: str) -> bool:
    """Whether a name or path is that of an image."""
    stem, dot, ending = name.rpartition(".")
    return bool(stem) and not stem.endswith("/") and dot + ending.lower() in IMAGE_SUFFIXES


def read_image_size(path: Path) -> Size:
    """Return width and height in pixels after rotation by the EXIF flag; reads headers only.

    A file whose end is missing is decoded to be sure, because its header alone looks valid.

    Raises:
        UnreadableImage: empty, not an image, truncated, above `max_megapixels`, or unreadable.
    """
    try:
        refuse_special_file(path)
        if path.stat().st_size == 0:
            raise UnreadableImage("the image file is empty")
        with path.open("rb") as stream:
            complete = looks_complete(stream)
            stream.seek(0)
            with open_image_file(stream) as image:
                rotated = exif_orientation(image, stream) >= 5
                if not complete or (rotated and image.format == "TIFF"):
                    # Pillow itself rotates a TIFF: when it is opened or loaded, by version.
                    image.load()
                    rotated = exif_orientation(image, stream) >= 5
                width, height = image.size
    except IMAGE_ERRORS as error:
        raise UnreadableImage(describe_image_error(error)) from error
    return (height, width) if rotated else (width, height)


def looks_complete(stream: BinaryIO) -> bool:
    """Whether a file's end is there, as far as its type marks it."""
    head = stream.read(12)
    num_bytes = stream.seek(0, os.SEEK_END)
    if head.startswith(b"\xff\xd8"):
        return _ends_with(stream, b"\xff\xd9")
    if head.startswith(b"\x89PNG"):
        return _ends_with(stream, b"IEND")
    if head.startswith(b"RIFF"):
        return bool(num_bytes >= int.from_bytes(head[4:8], "little") + 8)
    if head.startswith(b"BM"):
        return bool(num_bytes >= int.from_bytes(head[2:6], "little"))
    return True


def _ends_with(stream: BinaryIO, mark: bytes) -> bool:
    """Whether `mark` is among the last bytes; some programs write a few thousand after it."""
    end = stream.seek(0, os.SEEK_END)
    for num_bytes in (8, 1 << 16):
        stream.seek(max(0, end - num_bytes))
        if mark in stream.read():
            return True
    return False


def exif_orientation(image: Image.Image, stream: BinaryIO) -> int:
    """Return the EXIF orientation, 1 to 8, without decoding a PNG that has none."""
    if image.format == "PNG" and not _png_has_exif(stream):
        return 1
    value = image.getexif().get(_ORIENTATION, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _png_has_exif(stream: BinaryIO) -> bool:
    """Step over a PNG's chunks; Pillow would decode the whole image to look behind its pixels."""
    position = stream.tell()
    try:
        stream.seek(8)
        while len(header := stream.read(8)) == 8:
            length, name = struct.unpack(">I4s", header)
            if name in (b"eXIf", b"iTXt", b"tEXt", b"zTXt"):
                return True
            stream.seek(length + 4, os.SEEK_CUR)
        return False
    finally:
        stream.seek(position)


def read_image_sizes(paths: Sequence[Path]) -> dict[Path, Size | UnreadableImage]:
    """Return for each path its size, or why it cannot be read, with a progress bar.

    Of more than a few images, those that have not changed since they were last read are not
    opened. The others are read by several threads if the disk is slow.
    """
    # Filters are set here, because all threads share them.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if len(paths) < _FEW:
            return dict(zip(paths, _sizes_or_problems(paths), strict=True))
        stamps = file_stamps(paths)
        known = _parse_sizes(read_cached(_KIND, stamps))
        found = _read_all([path for path in paths if path not in known])
    fresh = {p: f"{s[0]} {s[1]}" for p, s in found.items() if not isinstance(s, UnreadableImage)}
    write_cached(_KIND, stamps, fresh)
    return {path: found[path] if path in found else known[path] for path in paths}


def _parse_sizes(texts: Mapping[Path, str]) -> dict[Path, Size]:
    """Return cached sizes, without images that are now too large."""
    most = max_megapixels() * 1e6
    sizes = {}
    for path, text in texts.items():
        width, _, height = text.partition(" ")
        if width.isdigit() and height.isdigit() and int(width) * int(height) <= most:
            sizes[path] = (int(width), int(height))
    return sizes


def _read_all(paths: Sequence[Path]) -> dict[Path, Size | UnreadableImage]:
    sizes: dict[Path, Size | UnreadableImage] = {}
    if not paths:
        return sizes
    chunks = [paths[i : i + _CHUNK] for i in range(0, len(paths), _CHUNK)]
    started = time.perf_counter()
    sizes.update(zip(chunks[0], _sizes_or_problems(chunks[0]), strict=True))
    # A slow disk answers many requests at once; on a fast one threads only wait for each other.
    slow = time.perf_counter() - started > _SLOW_SECONDS * len(chunks[0])
    bar: tqdm[Path] = console.progress(
        description="reading image headers", total=len(paths), unit="image", initial=len(sizes)
    )
    with bar, ThreadPoolExecutor(_THREADS if slow else 1) as pool:
        for chunk, found in zip(chunks[1:], pool.map(_sizes_or_problems, chunks[1:]), strict=True):
            sizes.update(zip(chunk, found, strict=True))
            bar.update(len(chunk))
    return sizes


def _sizes_or_problems(paths: Sequence[Path]) -> list[Size | UnreadableImage]:
    return [_size_or_problem(path) for path in paths]


def _size_or_problem(path: Path) -> Size | UnreadableImage:
    try:
        return read_image_size(path)
    except UnreadableImage as problem:
        return problem


def read_size_table(path: Path) -> dict[str, Size]:
    """Read image sizes from a COCO JSON (its `images`) or a CSV (file_name,width,height).

    Raises:
        DataError: neither, or an entry without a file name or positive sizes.
    """
    rows = _json_rows(path) if path.suffix.lower() == ".json" else _csv_rows(path)
    sizes = {}
    for where, *row in rows:
        try:
            name, width, height = str(row[0]).replace("\\", "/"), int(row[1]), int(row[2])
        except (ValueError, TypeError):
            raise DataError(f"{where}: not a file name, width and height: {row}.") from None
        if not name or width <= 0 or height <= 0:
            raise DataError(f"{where}: width and height of '{name}' must be positive.")
        sizes[name] = (width, height)
    if not sizes:
        raise DataError(f"{path}: holds no image sizes.")
    return sizes


def _csv_rows(path: Path) -> Iterator[list[Any]]:
    columns = ("file_name", "width", "height")
    for row in read_image_rows(path, columns, others_allowed=True):
        yield [f"{path}:{row.line}", row.file_name, row.cells["width"], row.cells["height"]]


def _json_rows(path: Path) -> list[list[Any]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON ({error}).") from error
    images = content.get("images") if isinstance(content, dict) else content
    if not isinstance(images, list) or not all(isinstance(image, dict) for image in images):
        raise DataError(f"{path}: holds no list 'images' with file_name, width and height.")
    return [
        [f"{path}: images[{index}]", *(image.get(key) for key in ("file_name", "width", "height"))]
        for index, image in enumerate(images)
    ]

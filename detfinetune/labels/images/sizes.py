"""Image sizes from headers alone, turned by their EXIF flag as Detectron2 will turn the image."""

from __future__ import annotations

import csv
import json
import os
import struct
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, BinaryIO

from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from detfinetune import console
from detfinetune.errors import DataError
from detfinetune.labels.images.jpeg_header import read_jpeg_size
from detfinetune.labels.images.png_header import read_png_size
from detfinetune.labels.images.size_cache import file_stamps, read_cached, write_cached
from detfinetune.labels.text import read_text_file
from detfinetune.parallel import Workers

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
"""Image types that both Pillow and OpenCV read; in files' names, case does not matter."""

_ORIENTATION = 0x0112
_TAIL_BYTES = 1 << 16
# Below this the cache costs as much as it saves.
_FEW = 200
_PROBED = 256
_SLOW_SECONDS = 1e-3
"""Time for a header from which on it is the disk that takes it: a quick one needs a tenth."""

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
    """Return width and height in pixels as seen after turning by EXIF; reads headers only.

    A file whose end is missing is decoded to be sure, for its header alone looks sound.

    Raises:
        UnreadableImage: empty, no image, cut off, too large for Pillow, or not readable at all.
    """
    read = read_png_size if path.suffix.lower() == ".png" else read_jpeg_size
    try:
        size = read(path)
    except (OSError, ValueError):
        size = None
    return size or _read_through_pillow(path)


def _read_through_pillow(path: Path) -> Size:
    try:
        if path.stat().st_size == 0:
            raise UnreadableImage("the image file is empty")
        with warnings.catch_warnings(), path.open("rb") as stream:
            warnings.simplefilter("ignore")
            complete = looks_complete(stream)
            stream.seek(0)
            with Image.open(stream) as image:
                turned = _orientation(image, stream) >= 5
                if not complete or (turned and image.format == "TIFF"):
                    # Pillow turns a TIFF itself, when it is opened or loaded, as versions have it.
                    image.load()
                    turned = _orientation(image, stream) >= 5
                width, height = image.size
    except UnreadableImage:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImage("not an image that Pillow can read") from error
    except Image.DecompressionBombError as error:
        raise UnreadableImage(f"too large: {error}") from error
    except OSError as error:
        raise UnreadableImage(f"the image cannot be read ({error.strerror or error})") from error
    # Pillow's decoders raise all sorts of errors on damaged files.
    except (
        SyntaxError,
        ValueError,
        IndexError,
        KeyError,
        TypeError,
        struct.error,
        EOFError,
    ) as error:
        raise UnreadableImage(f"the image is damaged ({error})") from error
    return (height, width) if turned else (width, height)


def looks_complete(stream: BinaryIO) -> bool:
    """Whether a file's end is there, as far as its type marks it."""
    head = stream.read(12)
    end = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, end - _TAIL_BYTES))
    if head.startswith(b"\xff\xd8"):
        return b"\xff\xd9" in stream.read()
    if head.startswith(b"\x89PNG"):
        return b"IEND" in stream.read()
    if head.startswith(b"RIFF"):
        return bool(end >= int.from_bytes(head[4:8], "little") + 8)
    if head.startswith(b"BM"):
        return bool(end >= int.from_bytes(head[2:6], "little"))
    return True


def _orientation(image: Image.Image, stream: BinaryIO) -> int:
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


def read_image_sizes(
    paths: Sequence[Path], num_workers: int | None = None, workers: Workers | None = None
) -> dict[Path, Size | UnreadableImage]:
    """Return for each path its size, or why it cannot be read, with a progress bar.

    Of more than a few, those that have not changed since they were last read are not opened.

    One thread reads 100,000 headers of JPEGs or PNGs a second from a quick disk, and more threads
    only wait for one another there (two read 53,000). So more are taken only where the first images
    show that most of the time goes into waiting for the disk.

    Args:
        paths: image files.
        num_workers: threads for a slow disk, 0 for none; None takes two a core, at least 16.
        workers: processes to share the work among, where the disk is quick.
    """
    if len(paths) < _FEW:
        return {path: _size_or_problem(path) for path in paths}
    stamps = file_stamps(paths)
    known = _parse_sizes(read_cached(_KIND, stamps))
    found = _read_all(
        [path for path in paths if path not in known], num_workers, workers or Workers(0)
    )
    write_cached(
        _KIND,
        stamps,
        {p: f"{s[0]} {s[1]}" for p, s in found.items() if not isinstance(s, UnreadableImage)},
    )
    return {path: found[path] if path in found else known[path] for path in paths}


def _parse_sizes(texts: Mapping[Path, str]) -> dict[Path, Size]:
    sizes = {}
    for path, text in texts.items():
        width, _, height = text.partition(" ")
        if width.isdigit() and height.isdigit():
            sizes[path] = (int(width), int(height))
    return sizes


def _size_or_problem(path: Path) -> Size | UnreadableImage:
    try:
        return read_image_size(path)
    except UnreadableImage as problem:
        return problem


def _sizes_or_problems(names: Sequence[str]) -> list[Size | UnreadableImage]:
    return [_size_or_problem(Path(name)) for name in names]


def _read_all(
    paths: Sequence[Path], num_workers: int | None, workers: Workers
) -> dict[Path, Size | UnreadableImage]:
    """Read headers in this thread and `workers`, or in many threads where the disk is slow."""
    sizes: dict[Path, Size | UnreadableImage] = {}
    if not paths:
        return sizes
    bar: tqdm[Path] = console.progress(
        description="reading image headers", total=len(paths), unit="image"
    )
    with bar:
        seconds = []
        for path in paths[:_PROBED]:
            started = time.perf_counter()
            sizes[path] = _size_or_problem(path)
            seconds.append(time.perf_counter() - started)
            bar.update()
        # Sent as text, which is done ten times as quickly as paths are.
        left = paths[_PROBED:]
        names = [[str(path) for path in left[i : i + _CHUNK]] for i in range(0, len(left), _CHUNK)]
        # The median, because a busy machine makes some wait that a quick disk answered at once.
        if num_workers == 0 or median(seconds) < _SLOW_SECONDS:
            _take(sizes, left, workers.map(_sizes_or_problems, names), bar)
            return sizes
        with ThreadPoolExecutor(num_workers or max(16, 2 * (os.cpu_count() or 1))) as pool:
            _take(sizes, left, pool.map(_sizes_or_problems, names), bar)
    return sizes


def _take(
    sizes: dict[Path, Size | UnreadableImage],
    paths: Iterable[Path],
    found: Iterable[list[Size | UnreadableImage]],
    bar: tqdm[Path],
) -> None:
    rest = iter(paths)
    for part in found:
        sizes.update(zip(islice(rest, len(part)), part, strict=True))
        bar.update(len(part))


def read_size_table(path: Path) -> dict[str, Size]:
    """Read image sizes from a COCO JSON (its `images`) or a CSV (file_name,width,height).

    Raises:
        DataError: neither, or an entry without a file name or positive sizes.
    """
    if path.suffix.lower() == ".json":
        rows = _json_rows(path)
    else:
        lines = read_text_file(path).lines
        first = lines[0].lower().replace(" ", "") if lines else ""
        if not first.startswith("file_name,width,height"):
            raise DataError(
                f"{path}:1: the first line of a CSV with image sizes is file_name,width,height, "
                f"not '{first[:60]}'."
            )
        rows = [
            [f"{path}:{number}", *(part.strip() for part in row[:3])]
            for number, row in enumerate(csv.reader(lines[1:]), start=2)
            if row
        ]
    sizes = {}
    for where, *row in rows:
        try:
            name, width, height = str(row[0]).replace("\\", "/"), int(row[1]), int(row[2])
        except (IndexError, ValueError, TypeError):
            raise DataError(f"{where}: not a file name, width and height: {row}.") from None
        if not name or width <= 0 or height <= 0:
            raise DataError(f"{where}: width and height of '{name}' must be positive.")
        sizes[name] = (width, height)
    if not sizes:
        raise DataError(f"{path}: holds no image sizes.")
    return sizes


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

"""Read small text files of any line ending, byte order mark and encoding."""

from __future__ import annotations

import codecs
import os
from dataclasses import dataclass
from pathlib import Path

from detfinetune.errors import DataError

_HEAD_BYTES = 16_384


@dataclass(frozen=True)
class TextFile:
    """A text file, and a note if its encoding had to be guessed."""

    text: str
    """All of it; lines end in a line feed."""

    note: str = ""
    """How it was decoded; empty for UTF-8."""

    @property
    def lines(self) -> tuple[str, ...]:
        """Without line endings and without spaces around them."""
        # Only real line ends count: str.splitlines would also cut at form feeds and the like.
        lines = self.text.split("\n")
        if lines and not lines[-1].strip():
            lines.pop()
        return tuple(line.strip(" \t\0\x1a\ufeff\xa0") for line in lines)


def read_text_file(path: Path | str) -> TextFile:
    """Read `path` as UTF-8, UTF-16 with its mark, or else Latin-1 (every byte is a character).

    Raises:
        DataError: the file cannot be opened, or holds only NUL bytes.
    """
    text, note = _decode(_read(path))
    return TextFile(_one_line_end(text), note)


def read_head(path: Path | str) -> str:
    """Read the first characters of `path` as `read_text_file` would; enough to see its format.

    Raises:
        DataError: the file cannot be opened, or holds only NUL bytes.
    """
    data = _read(path, _HEAD_BYTES)
    return _one_line_end(_decode(data, final=len(data) < _HEAD_BYTES)[0])


def _read(path: Path | str, size: int = -1) -> bytes:
    try:
        # open, because Path.read_bytes takes as long again as the reading of a small file.
        if not os.path.isfile(path) and os.path.exists(path):  # noqa: PTH110, PTH113
            # A named pipe would block for ever.
            raise DataError(f"{path}: cannot be read (not a regular file).")
        with open(path, "rb") as stream:  # noqa: PTH123
            data = stream.read(size)
        if data and not data.strip(b"\0"):
            raise DataError(f"{path}: holds only NUL bytes, as after a crash. Restore it.")
        return data
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error


def _decode(data: bytes, *, final: bool = True) -> tuple[str, str]:
    """Return text and a note; where it is not `final`, the last character may be incomplete."""
    try:
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return codecs.getincrementaldecoder("utf-16")().decode(data, final), "read as UTF-16"
        return codecs.getincrementaldecoder("utf-8-sig")().decode(data, final), ""
    except UnicodeDecodeError:
        return data.decode("latin-1"), "not UTF-8; read as Latin-1"


def _one_line_end(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text

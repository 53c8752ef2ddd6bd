"""Pascal VOC files as LabelImg, Roboflow and PASCAL VOC itself write them, read without a tree.

Nearly all VOC files are made of the same few elements in the same order. Expressions that match
such a file from end to end prove that it is well-formed, and take a third of the time that the
tree takes. Any other file is none of theirs: `parse_plain` returns None, and the tree is built.
"""

from __future__ import annotations

import re

from detfinetune.labels.formats.raw_labels import Document, RawImage, RawLabel
from detfinetune.labels.formats.xml.xml_text import class_name, one_line

_SPACE = "[ \t\n]*"
# No markup, no reference, no character that XML forbids, and no `]`, for `]]>` is forbidden too.
_TEXT = r"[^<&\]\x00-\x1f\ud800-\udfff\ufffe\uffff]*"
_NUMBER = r"(-?[0-9]{1,15}(?:\.[0-9]{1,15})?)"
_PIXELS = "([0-9]{1,9})"


def _leaf(tag: str, content: str = _TEXT) -> str:
    return f"<{tag}>{content}</{tag}>{_SPACE}"


def _group(tag: str, content: str) -> str:
    return f"<{tag}>{_SPACE}{content}</{tag}>{_SPACE}"


def _any_of(*tags: str) -> str:
    return f"(?:{'|'.join(map(_leaf, tags))})*"


_BEFORE_OBJECTS = re.compile(
    f'\ufeff?(?:<\\?xml version="1\\.0"(?: encoding="[A-Za-z][A-Za-z0-9._-]*")?\\?>{_SPACE})?'
    f'<annotation(?: verified="(?:yes|no)")?>{_SPACE}'
    f"(?:{_leaf('folder')})?"
    f"(?:{_leaf('filename', f'({_TEXT})')})?"
    f"(?:{_leaf('path')})?"
    f"(?:{_group('source', _any_of('database', 'annotation', 'image', 'flickrid'))})?"
    f"(?:{_group('owner', _any_of('flickrid', 'name'))})?"
    f"(?:{_group('size', _leaf('width', _PIXELS) + _leaf('height', _PIXELS) + _any_of('depth'))})?"
    f"(?:{_leaf('segmented')})?"
)
_ASIDE = _any_of("pose", "truncated", "occluded")
_DIFFICULT = f"(?:{_leaf('difficult', '([01])')})?"
# Roboflow gives both x before both y.
_BOX = (
    _leaf("xmin", _NUMBER)
    + f"(?:{_leaf('xmax', _NUMBER)})?"
    + _leaf("ymin", _NUMBER)
    + f"(?:{_leaf('xmax', _NUMBER)})?"
    + _leaf("ymax", _NUMBER)
)
_OBJECT = re.compile(
    f"<object>{_SPACE}{_leaf('name', f'({_TEXT})')}{_ASIDE}{_DIFFICULT}{_ASIDE}"
    f"{_group('bndbox', _BOX)}{_ASIDE}{_DIFFICULT}{_ASIDE}</object>{_SPACE}"
)
# What `one_line` leaves as it is, if there is nothing else to it.
_SURELY_SHORT = 80
_END = re.compile(f"</annotation>{_SPACE}\\Z")


def parse_plain(text: str) -> Document | None:
    """Return what `parse_voc` would of a plain file; None for any other.

    Args:
        text: with line feeds alone as line ends.
    """
    head = _BEFORE_OBJECTS.match(text)
    if head is None:
        return None
    filename, width, height = head.groups()
    labels: list[RawLabel] = []
    difficult, line, counted, at = 0, 1, 0, head.end()
    while found := _OBJECT.match(text, at):
        name, before, x1, early, y1, late, y2, after = found.groups()
        if (early is None) == (late is None) or (before and after):
            return None
        x2 = late if early is None else early
        line += text.count("\n", counted, at)
        counted, at = at, found.end()
        difficult += "1" in (before, after)
        name = class_name(name)
        corners = (float(x1), float(y1), float(x2), float(y2))
        shown = f"{name} {x1} {y1} {x2} {y2}"
        if len(shown) > _SURELY_SHORT or "  " in shown or not shown.isascii():
            shown = one_line(shown)
        labels.append(RawLabel(name, corners, line=line, text=shown))
    if not _END.match(text, at):
        return None
    size = (int(width), int(height)) if width and int(width) and int(height) else None
    image = RawImage(last_component(filename), labels, size=size)
    return Document([image], notes=difficult_note(difficult))


def last_component(filename: str | None) -> str:
    """Return the file's own name; some programs write the path on their own disk."""
    return (filename or "").strip().replace("\\", "/").rpartition("/")[2]


def difficult_note(count: int) -> list[str]:
    """Return what to say of `count` objects that are marked difficult."""
    return [f"{count} marked difficult, read like any other"] if count else []

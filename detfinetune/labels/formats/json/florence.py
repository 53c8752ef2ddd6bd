"""Florence-2's JSONL: one JSON object a line with `image`, `prefix` and `suffix` (as in maestro).

The suffix is what the model answers to the prefix. For `<OD>` it is a class name and four locations
`<loc_0>` ... `<loc_999>` a box: x1, y1, x2, y2, each a bin of the image's width or height. Several
boxes may follow one name, as in the model's own answers.
"""

from __future__ import annotations

import re
from collections import Counter

from detfinetune.labels.formats.json.json_text import JsonReader, paths_in
from detfinetune.labels.formats.json.json_values import clean, one_line, shown
from detfinetune.labels.formats.location_bins import BINS
from detfinetune.labels.formats.raw_labels import BadFile, Document, RawImage, RawLabel, RawProblem

DETECTION = "<OD>"
"""The prefix of object detection."""

_KEYS = ("image", "prefix", "suffix")
_LOCATIONS = re.compile(r"((?:<loc_\d+>\s*)+)", re.ASCII)
# Of a longer number the first digits show that it is too large.
_LOCATION = re.compile(r"<loc_0*(\d{1,4})\d*>", re.ASCII)


def detect_florence(head: str) -> str:
    """Return by what the beginning of a file shows Florence-2's JSONL, or nothing."""
    keys = paths_in(head.lstrip().partition("\n")[0])
    return "JSON lines with image, prefix, suffix" if {(key,) for key in _KEYS} <= keys else ""


def parse_florence(text: str) -> Document:
    """Read the lines of object detection; coordinates become normalized, at the bins' centres.

    Lines with another prefix are counted in a note.

    Raises:
        BadFile: a line is not a JSON object with the three texts, or none has the prefix `<OD>`.
    """
    document = Document(normalized=True)
    others: Counter[str] = Counter()
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        image, prefix, suffix = _read_line(line, number)
        if prefix.strip() == DETECTION:
            name = clean(image).replace("\\", "/")
            document.images.append(_read_objects(RawImage(name, line=number), clean(suffix)))
        else:
            others[one_line(clean(prefix))] += 1
    listed = ", ".join(f"{prefix} ({count})" for prefix, count in others.most_common(3))
    if not document.images:
        raise BadFile(f"no line has the prefix {DETECTION}, but {listed or 'it is empty'}", 1)
    if others:
        document.notes.append(
            f"lines with another prefix than {DETECTION}, ignored: {others.total()}, such as "
            f"{listed}"
        )
    return document


def _read_line(line: str, number: int) -> tuple[str, str, str]:
    """Return image, prefix and suffix; raises BadFile."""
    try:
        reader = JsonReader(line)
        entry = reader.value()
        reader.end()
    except BadFile as problem:
        raise BadFile(str(problem), number) from None
    if not isinstance(entry, dict):
        raise BadFile(
            f"the line is {shown(entry)}, not an object with image, prefix, suffix", number
        )
    image, prefix, suffix = map(entry.get, _KEYS)
    for key, value in zip(_KEYS, (image, prefix, suffix), strict=True):
        if not isinstance(value, str) or not (value.strip() or key == "suffix"):
            what = shown(value) if key in entry else "missing"
            raise BadFile(f"{key} is {what}; each line has the texts image, prefix, suffix", number)
    return str(image), str(prefix), str(suffix)


def _read_objects(image: RawImage, suffix: str) -> RawImage:
    """Fill an image with the boxes in a suffix, each a label or a problem."""

    def reject(kind: str, reason: str, text: str) -> None:
        image.problems.append(RawProblem(image.line, kind, reason, one_line(text)))

    *parts, rest = _LOCATIONS.split(suffix)
    for name, locations in zip(map(str.strip, parts[::2]), parts[1::2], strict=True):
        bins = [int(digits) for digits in _LOCATION.findall(locations)]
        text = name + locations
        if not name:
            reject("no class", "no class name before the locations", text)
        elif len(bins) % 4:
            reject("wrong number of values", f"{len(bins)} locations; a box has four", text)
        else:
            for start in range(0, len(bins), 4):
                box = bins[start : start + 4]
                text = name + "".join(f"<loc_{bin_}>" for bin_ in box)
                if max(box) >= BINS:
                    reject("out of range", f"locations run from 0 to {BINS - 1}", text)
                else:
                    x1, y1, x2, y2 = ((bin_ + 0.5) / BINS for bin_ in box)
                    label = RawLabel(name, (x1, y1, x2, y2), line=image.line, text=one_line(text))
                    image.labels.append(label)
    if rest.strip():
        reject("wrong number of values", "no locations after the class name", rest)
    return image

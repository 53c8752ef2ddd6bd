"""What the XML label formats share: a safe parser, the line of every element, numbers.

Reading is left to Python's own ElementTree, in C. It does not keep the lines of elements, so they
are found by a scan of the text for start tags. The scan finds every element and perhaps more (in
comments, say), so when it finds as many as the tree holds, they are the same; else expat says it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NoReturn
from xml.etree import ElementTree
from xml.etree.ElementTree import Element
from xml.parsers import expat

from detfinetune.labels.formats.lines.tokens import is_number, to_number
from detfinetune.labels.formats.raw_labels import BadFile

_LONGEST_SHOWN = 120
_HEAD = 4000
_MOST_TAGS = 50
# Nearly all are; what follows takes three times as long.
_PLAIN_NUMBER = re.compile(r"-?\d{1,15}(?:\.\d{1,15})?", re.ASCII)
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_BEFORE_ROOT = re.compile(r"\s+|<\?.*?\?>|<!DOCTYPE[^<>\[]*(?:\[.*?\]\s*)?>", re.DOTALL)
_START_TAG = re.compile(r"<(?:[\w.-]+:)?([\w.-]+)(?=[\s/>]|\Z)")


def parse_xml(text: str) -> Element:
    """Return the root of the tree of `text`; tags lose their namespaces.

    External entities are never read. Files that declare entities of their own are refused, so
    that none can grow to gigabytes (the billion laughs), whatever the version of expat.

    Raises:
        BadFile: not well-formed, or declares entities; with the line, from 1.
    """
    # As XML has it, and so that lines can be counted by one character.
    text = one_line_end(text)
    if not text.strip("\ufeff \t\n"):
        raise BadFile("the file is empty")
    if "<!ENTITY" in text:
        _refuse_entities(text)
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise BadFile(_what_is_wrong(error), error.position[0]) from error
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        raise BadFile("holds a character that no text can hold (half of a pair)", line) from error
    if _may_have_namespaces(text):
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2]
    return root


def element_lines(root: Element, text: str, tags: frozenset[str]) -> dict[Element, int]:
    """Return the line, from 1, on which each element of `tags` starts, in the file's order.

    Args:
        root: what `parse_xml(text)` gave, with its tags as they were.
    """
    text = one_line_end(text)
    if len(tags) == 1:
        elements = list(root.iter(*tags))
    else:
        elements = [element for element in root.iter() if element.tag in tags]
    # A prefixed element is in the tree, but not in the scan.
    if len(tags) <= _MOST_TAGS and not _may_have_namespaces(text):
        starts = [found.start() for found in _start_tags(tags).finditer(text)]
        if len(starts) == len(elements):
            return dict(zip(elements, _lines_at(text, starts), strict=True))
    return dict(zip(elements, _expat_lines(text, tags), strict=True))


def root_tag(head: str) -> str:
    """Return the first tag in the beginning of a file; empty where it holds none."""
    head = _COMMENT.sub("", head[:_HEAD].lstrip("\ufeff"))
    at = 0
    while found := _BEFORE_ROOT.match(head, at):
        at = found.end()
    start = _START_TAG.match(head, at)
    return start[1] if start else ""


def has_tag(head: str, tag: str) -> bool:
    """Whether the beginning of a file holds an element `tag`, comments passed over."""
    return re.search(rf"<{tag}[\s/>]", _COMMENT.sub("", head[:_HEAD])) is not None


def number(text: str, name: str) -> float:
    """Return `text` as a finite float; a decimal comma (`12,5`) is understood.

    Raises:
        BadLabel: it is none.
    """
    if _PLAIN_NUMBER.fullmatch(text):
        return float(text)
    token = text.strip()
    if _DECIMAL_COMMA.fullmatch(token):
        token = token.replace(",", ".")
    return float(token) if is_number(token) else to_number(one_line(token), name)


def whole_pixels(text: str | None) -> int:
    """Return a width or height as a whole number above 0; 0 where `text` is no such number."""
    token = (text or "").strip()
    if not is_number(token) or not 0.5 <= float(token) < 2**31:
        return 0
    return round(float(token))


def one_line(text: str | None) -> str:
    """Return `text` on one line, cut off where it is too long to be read."""
    if not text:
        return ""
    shown = " ".join(text.split()) if len(text) < 2000 else " ".join(text[:2000].split())
    return shown if len(shown) <= _LONGEST_SHOWN else shown[: _LONGEST_SHOWN - 3] + "..."


def class_name(text: str | None) -> str:
    """Return a class name without the spaces and line ends around and in it that mean nothing."""
    if not text:
        return ""
    return " ".join(text.split()) if "\n" in text or "\t" in text else text.strip()


def one_line_end(text: str) -> str:
    """Return `text` with line feeds alone as line ends, as XML itself reads it."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


@lru_cache(maxsize=16)
def _start_tags(tags: frozenset[str]) -> re.Pattern[str]:
    return re.compile(rf"<(?:{'|'.join(map(re.escape, sorted(tags)))})(?=[\s/>])")


def _may_have_namespaces(text: str) -> bool:
    # The prefix `xml` is bound without a declaration.
    return "xmlns" in text or "<xml:" in text


def _what_is_wrong(error: ElementTree.ParseError) -> str:
    reason, _, _ = str(error).rpartition(": line ")
    reason = reason or str(error)
    cut = reason in ("no element found", "unclosed token", "unclosed CDATA section")
    return f"not readable as XML: {reason}" + ("; is the file cut short?" if cut else "")


def _refuse_entities(text: str) -> None:
    """Raise BadFile when `text` declares an entity; the words may stand in a comment too."""
    parser = expat.ParserCreate()

    def refuse(*_: object) -> NoReturn:
        raise BadFile(
            "declares entities (<!ENTITY ...>), which label files have no need of and which can "
            "be made to fill the memory; write out what they stand for",
            parser.CurrentLineNumber,
        )

    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(text, True)
    except (expat.ExpatError, UnicodeEncodeError):
        # The tree's own parser meets the same fault and says it.
        return


def _lines_at(text: str, starts: list[int]) -> list[int]:
    lines = []
    line, at = 1, 0
    for start in starts:
        line += text.count("\n", at, start)
        at = start
        lines.append(line)
    return lines


def _expat_lines(text: str, tags: frozenset[str]) -> list[int]:
    """Return the line of each element of `tags` as expat counts them (a slower, second pass)."""
    parser = expat.ParserCreate(namespace_separator="}")
    lines: list[int] = []

    def note_line(name: str, _: object) -> None:
        if name.rpartition("}")[2] in tags:
            lines.append(parser.CurrentLineNumber)

    parser.StartElementHandler = note_line
    parser.Parse(text, True)
    return lines

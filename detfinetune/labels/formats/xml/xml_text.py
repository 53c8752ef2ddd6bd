"""What the XML label formats share: a safe parser, the line of every element, numbers."""

from __future__ import annotations

import re
from typing import NoReturn
from xml.etree import ElementTree
from xml.etree.ElementTree import Element
from xml.parsers import expat

from detfinetune.labels.formats.lines.tokens import is_number, to_number
from detfinetune.labels.formats.raw_labels import BadFile

_LONGEST_SHOWN = 120
_HEAD = 4000
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)
_NOT_TAGS = re.compile(r"<!--.*?(?:-->|\Z)|<\?.*?\?>|<!DOCTYPE[^<>\[]*(?:\[.*?\]\s*)?>", re.DOTALL)
_START_TAG = re.compile(r"<(?:[\w.-]+:)?([\w.-]+)(?=[\s/>]|\Z)")


def parse_xml(text: str, root: str, label_format: str) -> tuple[Element, dict[Element, int]]:
    """Return the root of the tree of `text`, and the line, from 1, on which each element starts.

    `root` is the tag that files of `label_format` start with.

    Tags lose their namespaces. External entities are never read. Files that declare entities of
    their own are refused, so that none can grow to gigabytes (the billion laughs attack).

    Raises:
        BadFile: not well-formed, of another kind, or declares entities; with the line, from 1.
    """
    if not text.strip("\ufeff \t\r\n"):
        raise BadFile("the file is empty")
    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    builder = ElementTree.TreeBuilder()
    lines: dict[Element, int] = {}

    def start(tag: str, attributes: dict[str, str]) -> None:
        lines[builder.start(tag.rpartition("}")[2], attributes)] = parser.CurrentLineNumber

    def refuse_declared(*_: object) -> NoReturn:
        raise BadFile(
            "declares entities (<!ENTITY ...>), which label files do not need and which can be "
            "made to fill the memory. Replace them by what they stand for",
            parser.CurrentLineNumber,
        )

    def refuse_undefined(name: str, _: object) -> NoReturn:
        raise BadFile(
            f"not readable as XML: undefined entity &{one_line(name)};", parser.CurrentLineNumber
        )

    parser.StartElementHandler = start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.EntityDeclHandler = refuse_declared
    parser.SkippedEntityHandler = refuse_undefined
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        reason, _, _ = str(error).rpartition(": line ")
        truncated = reason in ("no element found", "unclosed token", "unclosed CDATA section")
        hint = "; is the file truncated?" if truncated else ""
        raise BadFile(f"not readable as XML: {reason}{hint}", error.lineno) from error
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        raise BadFile("holds half of a surrogate pair, which is not a character", line) from error
    finally:
        # The handlers refer to the parser. Such cycles would fill the memory, because thousands of
        # files are read without a search for them.
        parser.StartElementHandler = parser.EntityDeclHandler = parser.SkippedEntityHandler = None
    tree = builder.close()
    if tree.tag != root:
        raise BadFile(
            f"starts with <{one_line(tree.tag)}>; {label_format} starts with <{root}>", lines[tree]
        )
    return tree, lines


def first_tags(head: str) -> list[str]:
    """Return the tags that start in the beginning of a file, the root's first."""
    return _START_TAG.findall(_NOT_TAGS.sub("", head[:_HEAD]))


def number(text: str, name: str) -> float:
    """Return `text` as a finite float; a decimal comma (`12,5`) is understood.

    Raises:
        BadLabel: it is not one.
    """
    token = one_line(text)
    if "," in token and _DECIMAL_COMMA.fullmatch(token):
        token = token.replace(",", ".")
    return to_number(token, name)


def whole_pixels(text: str | None) -> int:
    """Return a width or height as a whole number above 0; 0 where `text` is no such number."""
    token = (text or "").strip()
    if not is_number(token) or not 0.5 <= float(token) < 2**31:
        return 0
    return round(float(token))


def one_line(text: str | None) -> str:
    """Return `text` on one line, shortened where it is too long to be read."""
    shown = " ".join((text or "")[:2000].split())
    return shown if len(shown) <= _LONGEST_SHOWN else shown[: _LONGEST_SHOWN - 3] + "..."


def class_name(text: str | None) -> str:
    """Return a class name with single spaces inside and none around it."""
    return " ".join((text or "").split())

"""Reading JSON from front to back, with the line of every item.

A million annotations are read item by item, each decoded by the C scanner of the standard library,
and are never in memory all at once. Lines are counted on the way, because the position only moves
forward.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from detfinetune.labels.formats.raw_labels import BadFile

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()
_KINDS = {"{": "an object", "[": "a list", '"': "a string", "t": "true", "f": "false", "n": "null"}
_HEAD_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]:]|"', re.DOTALL)
_LONGEST_HEAD = 16_000

KeyPath = tuple[str, ...]


class JsonReader:
    """A place in a JSON text that moves forward, over whole values or into lists and objects."""

    def __init__(self, text: str) -> None:
        """Start before the first value of `text`.

        Raises:
            BadFile: there is none.
        """
        self._text = text
        self._counted = 0
        self._line = 1
        self.position = 0
        """Offset in the text of the value that is read next."""
        self._skip_space(int(text.startswith("\ufeff")))
        if self.position >= len(text):
            raise BadFile("the file is empty", 1)

    @property
    def line(self) -> int:
        """Line, from 1, of the value that is read next."""
        self._line += self._text.count("\n", self._counted, self.position)
        self._counted = self.position
        return self._line

    @property
    def kind(self) -> str:
        """What is read next: `an object`, `a list`, `a string`, `a number`, `null`, ..."""
        return _KINDS.get(self._text[self.position : self.position + 1], "a number")

    def value(self) -> Any:
        """Return the next value, whole, and move past it.

        Raises:
            BadFile: it is not valid JSON.
        """
        try:
            value, end = _DECODER.raw_decode(self._text, self.position)
        except json.JSONDecodeError as error:
            raise self._broken(error.pos, error.msg) from None
        except RecursionError:
            raise BadFile("the JSON is nested too deeply to be labels", self.line) from None
        except ValueError:
            # The interpreter's own limit, against texts that take hours to become a number.
            raise BadFile("the JSON holds a number of thousands of digits", self.line) from None
        self._skip_space(end)
        return value

    def members(self) -> Iterator[str]:
        """Go through the next value, an object; yield each key as often as it is written.

        After each key the reader is at its value. The reader skips what the
        caller does not read.

        Raises:
            BadFile: the value is not an object, or not valid JSON.
        """
        self._step_over("{", "expecting an object")
        if self._next_is("}"):
            self._skip_space(self.position + 1)
            return
        while True:
            if not self._next_is('"'):
                raise self._broken(self.position, "expecting a key in double quotes")
            key: str = self.value()
            self._step_over(":", "expecting a colon after the key")
            start = self.position
            yield key
            if self.position == start:
                self.value()
            if self._next_is("}"):
                self._skip_space(self.position + 1)
                return
            self._step_over(",", "expecting a comma between two keys")

    def items(self) -> Iterator[int]:
        """Go through the next value, a list; yield the line on which each item starts.

        As with `members`, the reader is then at the item.

        Raises:
            BadFile: the value is not a list, or not valid JSON.
        """
        self._step_over("[", "expecting a list")
        if self._next_is("]"):
            self._skip_space(self.position + 1)
            return
        while True:
            start = self.position
            yield self.line
            if self.position == start:
                self.value()
            if self._next_is("]"):
                self._skip_space(self.position + 1)
                return
            self._step_over(",", "expecting a comma between two items")

    def end(self) -> None:
        """Make sure that nothing follows.

        Raises:
            BadFile: something does.
        """
        if self.position < len(self._text):
            raise BadFile(
                "more text follows after the JSON has ended; were two files joined, or is it one "
                "JSON a line?",
                self.line,
            )

    def _skip_space(self, position: int) -> None:
        match = _SPACE.match(self._text, position)
        self.position = match.end() if match else position

    def _next_is(self, character: str) -> bool:
        return self._text.startswith(character, self.position)

    def _step_over(self, character: str, reason: str) -> None:
        if not self._next_is(character):
            raise self._broken(self.position, reason)
        self._skip_space(self.position + 1)

    def _broken(self, position: int, reason: str) -> BadFile:
        line = self._text.count("\n", 0, position) + 1
        column = position - self._text.rfind("\n", 0, position)
        if position >= len(self._text) or reason.startswith("Unterminated"):
            return BadFile("the JSON ends too soon; was the file copied whole?", line)
        reason = reason[:1].lower() + reason[1:]
        return BadFile(
            f"not valid JSON at column {column} ({reason}); was the file copied whole, or edited "
            "by hand?",
            line,
        )


def paths_in(head: str) -> set[KeyPath]:
    """Return the path of every key in the beginning of a JSON text, wherever it is truncated.

    A path is the keys from the outside in, `[]` for an item of any list: the text
    `{"shapes": [{"label": ...` has the paths `("shapes",)` and `("shapes", "[]", "label")`. Only
    the first 16,000 characters are looked at.
    """
    found: set[KeyPath] = set()
    place: list[str] = []
    word = ""
    for match in _HEAD_TOKEN.finditer(head, 0, _LONGEST_HEAD):
        token = match.group()
        if token == '"':
            break  # A string that goes on after the head.
        if token in "{[":
            place.append("[]" if token == "[" else "")
        elif token in "}]":
            if place:
                place.pop()
        elif token != ":":
            word = token[1:-1]
        elif place and place[-1] != "[]":
            place[-1] = word
            found.add(tuple(place))
    return found

"""What every CSV format shares: the delimiter, rows with their lines, numbers as people write them.

Rows come from Python's `csv` module, with two things added that it does not give: the line on
which each row starts, and a limit to what a quote that is never closed can swallow.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from detfinetune.labels.formats.lines.tokens import to_number
from detfinetune.labels.formats.raw_labels import BadFile, BadLabel, RawProblem

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
SHOWN_CHARACTERS = 200
"""How much of a row is kept to be shown."""

HEAD_CHARACTERS = 4000
"""How much of a file a recogniser is given."""

_SAMPLE = 2000
_FEWEST_NAMES = 2
_SAMPLE_CHARACTERS = 100_000
_SEP_LINE = re.compile(r"\s*sep=([,;\t|])\s*", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+", re.ASCII)
# `"1,024"` may be a thousand and more; what is written like these cannot be.
_SURELY_DECIMAL = re.compile(r'"\s*[+-]?(?:0?,\d+|\d+,\d{1,2}|\d+,\d{4,}|\d{4,},\d+)\s*"', re.ASCII)
_EMPTY = frozenset({"", "na", "n/a", "nan", "none", "null", "<na>"})

Row = tuple[int, list[str], str]
"""Line on which a row starts, from 1; its cells; the row as written, cut."""


@dataclass
class DelimitedText:
    """A text cut into lines, with what is known of it before its columns are."""

    lines: list[str]
    """Each with its line end, which quoted cells need."""

    delimiter: str
    first: int
    """Index of the first line that is not blank."""

    decimal_comma: bool
    """Whether a comma inside a cell's number is the decimal point beyond doubt."""

    problems: list[RawProblem] = field(default_factory=list)
    """Rows that are none; `rows` adds to them."""

    def sample(self, first: int, count: int = _SAMPLE) -> list[list[str]]:
        """Return the cells of the first rows that are not blank, from line index `first` on."""
        return list(islice(_sampled(self.lines, self.delimiter, first), count))

    def rows(self, first: int, width: int) -> Iterator[Row]:
        """Yield all rows that are not blank, from line index `first` on.

        Args:
            first: index of the line to start at.
            width: number of cells that a row should have. A row over several lines that has
                another number, or a cell that holds a whole row, comes of a quote that is not
                closed: its first line is a problem, and reading goes on with the second.
        """
        at = first
        while at < len(self.lines):
            # Reading goes on behind a row that failed with a new reader: the old one's state is
            # inside the quotes.
            reader = csv.reader(
                map(self.lines.__getitem__, range(at, len(self.lines))), delimiter=self.delimiter
            )
            base, at = at, len(self.lines)
            begin = base
            try:
                for cells in reader:
                    end = base + reader.line_num
                    if end - begin > 1:
                        if self._swallowed(cells, width):
                            self._reject(begin, "quote not closed", _QUOTE)
                            at = begin + 1
                            break
                        text = "".join(self.lines[begin:end]).rstrip("\n")
                    else:
                        text = self.lines[begin].rstrip("\n")
                    if text and not text.isspace() and any(map(str.strip, cells)):
                        yield begin + 1, cells, text[:SHOWN_CHARACTERS]
                    begin = end
            except csv.Error as error:
                self._reject(begin, "unreadable row", f"this row cannot be read ({error})")
                at = begin + 1

    def _swallowed(self, cells: list[str], width: int) -> bool:
        """Whether a row over several lines holds other rows."""
        return len(cells) != width or any(
            "\n" in cell
            and cell.count(self.delimiter) >= max(1, width - 1)
            and not cell.lstrip().startswith(("{", "["))
            for cell in cells
        )

    def _reject(self, index: int, kind: str, reason: str) -> None:
        text = self.lines[index].rstrip("\n")
        if text.strip():
            self.problems.append(RawProblem(index + 1, kind, reason, text[:SHOWN_CHARACTERS]))

    def number(self, cell: str, name: str) -> float:
        """Return a cell as a finite float.

        Raises:
            BadLabel: it is empty or not a number.
        """
        if not cell.strip():
            raise BadLabel("missing value", f"{name} is empty")
        return to_number(self.plain(cell), name)

    def plain(self, cell: str) -> str:
        """Return a cell without spaces around it and with a decimal point for a decimal comma."""
        token = cell.strip()
        if self.decimal_comma and "," in token and _DECIMAL_COMMA.fullmatch(token):
            return token.replace(",", ".")
        return token


_QUOTE = (
    "a quote opens here that is not closed on this line; write a quote inside a cell twice, or "
    "close it"
)


def open_text(text: str, known_names: Callable[[Sequence[str]], int]) -> DelimitedText:
    """Cut a text into lines and find its delimiter.

    A leading byte order mark, and Excel's `sep=;` in the first line, are taken as what they are.

    Args:
        text: of the whole file, or its beginning.
        known_names: says how many of a row's cells are names that a heading would have.

    Raises:
        BadFile: the text is blank.
    """
    text = text.removeprefix("\ufeff")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    # Only real line ends count: str.splitlines would also cut at form feeds and the like.
    lines = io.StringIO(text, newline="\n").readlines()
    first = _not_blank(lines, 0)
    if told := _SEP_LINE.fullmatch(lines[first]):
        delimiter, first = told[1], _not_blank(lines, first + 1)
    else:
        delimiter = _find_delimiter(lines, first, known_names)
    decimal_comma = delimiter != "," or ('"' in text and bool(_SURELY_DECIMAL.search(text)))
    return DelimitedText(lines, delimiter, first, decimal_comma)


def _not_blank(lines: Sequence[str], first: int) -> int:
    """Return the index of the next line that is not blank; raises BadFile."""
    for index in range(first, len(lines)):
        if lines[index].strip(" \t\n\0,;|"):
            return index
    raise BadFile("the file is empty", 1)


def _find_delimiter(
    lines: Sequence[str], first: int, known_names: Callable[[Sequence[str]], int]
) -> str:
    """Return the delimiter of the heading, else the one that cuts most rows alike and often."""
    # Comments may stand above a heading.
    top = next((line for line in lines[first:] if not line.startswith("#")), "")
    for line in (lines[first], top):
        known = {mark: known_names(next(_sampled([line], mark, 0), [])) for mark in DELIMITERS}
        best = max(known, key=lambda mark: known[mark])
        if known[best] >= _FEWEST_NAMES:
            return best
    scores = {}
    for mark in DELIMITERS:
        widths = Counter(len(cells) for cells in islice(_sampled(lines, mark, first), _SAMPLE))
        width, count = max(widths.items(), key=lambda pair: (pair[1], pair[0]), default=(1, 0))
        scores[mark] = (width > 1) * width * count / max(1, widths.total())
    return max(scores, key=lambda mark: scores[mark])


def _sampled(lines: Sequence[str], delimiter: str, first: int) -> Iterator[list[str]]:
    """Yield cells of rows that are not blank, until some hundred thousand characters are read."""
    left = _SAMPLE_CHARACTERS
    end = first
    while end < len(lines) and left > 0:
        left -= len(lines[end])
        end += 1
    try:
        for cells in csv.reader(lines[first:end], delimiter=delimiter):
            if any(map(str.strip, cells)):
                yield cells
    except csv.Error:
        return


def is_empty(cell: str) -> bool:
    """Whether a cell says that there is no value: blank, or NaN, NA, null, None."""
    return cell.strip().lower() in _EMPTY


class FractionCount:
    """Counts the boxes that could be shares of the image's size."""

    MOSTLY = 0.95

    def __init__(self) -> None:
        self.labels = 0
        self.within = 0
        self.broken = False

    def add(self, a: float, b: float, c: float, d: float) -> None:
        """Take the four numbers of a box as written."""
        self.labels += 1
        if a <= 1 and b <= 1 and c <= 1 and d <= 1 and min(a, b, c, d) >= 0:
            self.within += 1
            self.broken = self.broken or bool(a % 1 or b % 1 or c % 1 or d % 1)

    @property
    def normalized(self) -> bool:
        """Whether at least 95 % lie between 0 and 1, and not all are whole numbers."""
        return self.broken and self.within >= self.MOSTLY * self.labels


def problem_of(bad: BadLabel, line: int, text: str) -> RawProblem:
    """Return what the ledger needs of a row that its rules reject."""
    return RawProblem(line, bad.kind, str(bad), text)

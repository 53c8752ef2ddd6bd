"""A page taken apart, by Python's own parser."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser


class Page(HTMLParser):
    """The elements of a page, and the text outside scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._tag = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._tag = tag

    def handle_endtag(self, tag: str) -> None:
        self._tag = ""

    def handle_data(self, data: str) -> None:
        if self._tag not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str, **attributes: str) -> Iterator[dict[str, str | None]]:
        for name, given in self.elements:
            if name == tag and all(
                given.get(k.replace("_", "-")) == v for k, v in attributes.items()
            ):
                yield given

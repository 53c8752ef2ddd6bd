"""The links in the documents lead somewhere."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def _documents() -> list[Path]:
    folders = [REPO / "docs", REPO / "datasets", REPO / "packaging", REPO / "benchmarks"]
    found = set(REPO.glob("*.md"))
    for folder in folders:
        found |= set(folder.rglob("*.md"))
    return sorted(found)


@pytest.mark.parametrize("document", _documents(), ids=lambda path: str(path.relative_to(REPO)))
def test_links_lead_somewhere(document: Path) -> None:
    links = _LINK.findall(document.read_text(encoding="utf-8"))
    targets = [link.partition("#")[0] for link in links if "://" not in link]
    assert [t for t in targets if t and not (document.parent / t).exists()] == []


def test_make_lists_every_target_that_the_documents_name() -> None:
    run = subprocess.run(["make", "help"], cwd=REPO, capture_output=True, text=True, check=True)
    listed = set(re.findall(r"^  make ([\w-]+)", run.stdout, re.MULTILINE))
    named = {
        target
        for document in _documents()
        for target in re.findall(r"`make ([\w-]+)", document.read_text(encoding="utf-8"))
    }
    assert listed >= named | {"help", "setup", "demo", "test", "check", "format", "clean"}


@pytest.mark.parametrize("document", _documents(), ids=lambda path: str(path.relative_to(REPO)))
def test_no_placeholder_is_left(document: Path) -> None:
    assert "@@" not in document.read_text(encoding="utf-8")

"""Every kind of finding is in docs/check.md, and every kind in there exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

_MAKERS = {"Finding", "ImageRule", "_Rule", "_finding", "_differ", "_unusual"}
_KIND = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")


def _constants(tree: ast.Module) -> set[str]:
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def _kinds(tree: ast.Module) -> set[str]:
    """Return what the makers of findings are given as a kind."""
    kinds = set()
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            continue
        if node.func.id in _MAKERS:
            named = [word.value for word in node.keywords if word.arg == "kind"]
            for given in named or node.args[:1]:
                if isinstance(given, ast.Constant) and isinstance(given.value, str):
                    kinds.add(given.value)
    return kinds


def test_kinds_of_findings_and_their_documentation_agree(repo: Path) -> None:
    trees = [ast.parse(path.read_text()) for path in (repo / "detfinetune/checks").rglob("*.py")]
    in_code = set().union(*map(_kinds, trees))
    anywhere = set().union(*map(_constants, trees))
    rows = re.findall(r"^\| (`[^|]+) \|", (repo / "docs/check.md").read_text(), re.MULTILINE)
    documented = {
        kind for row in rows for kind in re.findall(r"`([^`]+)`", row) if _KIND.fullmatch(kind)
    }
    assert len(in_code) > 80
    assert in_code - documented == set()
    assert documented - anywhere == set()

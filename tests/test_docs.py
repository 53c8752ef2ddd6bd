"""The links, commands, keys and paths in the documents exist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from detfinetune.config.keys import config_keys, unknown_key
from detfinetune.config.load import config_groups
from detfinetune.config.schema import (
    AskConfig,
    CheckConfig,
    ConvertConfig,
    EvaluateConfig,
    LabelConfig,
    MergeConfig,
    PredictConfig,
    ProposeConfig,
    Section,
    TrainConfig,
)

REPO = Path(__file__).resolve().parents[1]
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_OPTION = re.compile(r"(?<![\w./?&$-])\+?([a-z_]+(?:\.\w+)*)=(\S*)")
_DOTTED = re.compile(r"(?:data|model|augment|solver|hardware|evaluation)\.[a-z_]+(?:\.\w+)*")
_PATH = re.compile(r"[\w.-]+(?:/[\w.-]+)+/?")
_TOOLS: dict[str, tuple[str, type[Section]]] = {
    "train_net": ("train", TrainConfig),
    "check_dataset": ("check", CheckConfig),
    "convert_labels": ("convert", ConvertConfig),
    "evaluate": ("evaluate", EvaluateConfig),
    "predict": ("predict", PredictConfig),
    "propose": ("propose", ProposeConfig),
    "ask": ("ask", AskConfig),
    "label": ("label", LabelConfig),
    "merge": ("merge", MergeConfig),
}
# Words that stand for any name, and `config`, which is a file of keys.
_PLACEHOLDERS = {"section.key", "group", "key", "config"}
# Folders that the tools write, and that may lie in a checkout.
_OUTPUTS = {"checks", "datasets", "predictions", "runs"}


def _documents() -> list[Path]:
    folders = [REPO / "docs", REPO / "datasets", REPO / "packaging", REPO / "benchmarks"]
    found = set(REPO.glob("*.md"))
    for folder in folders:
        found |= set(folder.rglob("*.md"))
    return sorted(found)


def _guides() -> list[Path]:
    """The documents that describe the present, unlike the changelog and the decisions."""
    return [REPO / "README.md", *sorted((REPO / "docs").glob("*.md"))]


def _name(document: Path) -> str:
    return str(document.relative_to(REPO))


def _code_of(document: Path) -> list[str]:
    """Return the spans and the lines of blocks that are not Python, YAML or shell scripts."""
    text = document.read_text(encoding="utf-8")
    blocks = [block for kind, block in _FENCE.findall(text) if not kind]
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [*lines, *_CODE.findall(_FENCE.sub("", text))]


def _unknown_options(code: str) -> list[str]:
    """Return a problem for each `key=value` in `code` that its tool, or any tool, does not know."""
    named = [_TOOLS[tool] for tool in re.findall(r"tools/(\w+)\.py", code) if tool in _TOOLS]
    schemas = named or list(_TOOLS.values())
    problems = []
    for key, value in _OPTION.findall(code):
        if key in _PLACEHOLDERS:
            continue
        found: list[str | None] = []
        for name, schema in schemas:
            groups = config_groups(name)
            if key not in groups:
                found.append(unknown_key(key, config_keys(schema), groups))
            elif value.isidentifier() and value.islower() and value not in groups[key]:
                found.append(f"{key}={value}: there is no such file")
            else:
                found.append(None)
        if all(found):
            problems.append(str(found[0]))
    return problems


@pytest.mark.parametrize("document", _documents(), ids=_name)
def test_links_lead_somewhere(document: Path) -> None:
    links = _LINK.findall(document.read_text(encoding="utf-8"))
    targets = [link.partition("#")[0] for link in links if "://" not in link]
    assert [t for t in targets if t and not (document.parent / t).exists()] == []


@pytest.mark.parametrize("document", _documents(), ids=_name)
def test_anchors_are_headings(document: Path) -> None:
    wrong = []
    for link in _LINK.findall(document.read_text(encoding="utf-8")):
        target, _, anchor = link.partition("#")
        if anchor and "://" not in link:
            text = (document.parent / target if target else document).read_text(encoding="utf-8")
            headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", text), re.MULTILINE)
            slugs = [re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in headings]
            wrong += [link] if anchor not in slugs else []
    assert wrong == []


@pytest.mark.parametrize("document", _guides(), ids=_name)
def test_options_are_keys(document: Path) -> None:
    assert [problem for code in _code_of(document) for problem in _unknown_options(code)] == []


@pytest.mark.parametrize("document", _guides(), ids=_name)
def test_dotted_names_are_keys(document: Path) -> None:
    known = {key for _, schema in _TOOLS.values() for key in config_keys(schema)}
    spans = [code for code in _code_of(document) if _DOTTED.fullmatch(code)]
    others = (".json", ".yaml", ".md", ".py")
    if document.name == "architecture.md":  # names modules
        others = (*others, "data.register", "evaluation.metrics")
    assert [span for span in spans if span not in known and not span.endswith(others)] == []


@pytest.mark.parametrize("document", _guides(), ids=_name)
def test_paths_exist(document: Path) -> None:
    """Those that begin with a folder of the repository or of the package."""
    missing = []
    for code in _code_of(document):
        words = code.split() if "tools/" in code else [code]
        for path in filter(_PATH.fullmatch, words):
            for base in (REPO, REPO / "detfinetune"):
                first = base / path.split("/")[0]
                if first.is_dir() and first.name not in _OUTPUTS:
                    missing += [path] if not (base / path).exists() else []
                    break
    assert missing == []


@pytest.mark.parametrize("document", _guides(), ids=_name)
def test_scripts_parse(document: Path) -> None:
    for kind, block in _FENCE.findall(document.read_text(encoding="utf-8")):
        if kind == "bash":
            subprocess.run(["bash", "-n"], input=block, text=True, check=True)
        elif kind == "python":
            compile(block, _name(document), "exec")


def test_the_dockerfile_names_what_exists() -> None:
    text = (REPO / "Dockerfile").read_text(encoding="utf-8")
    paths = re.findall(r"(?:tools|docs)/\w+\.\w+", text)
    assert paths
    assert [path for path in paths if not (REPO / path).exists()] == []
    commands = [line for line in text.splitlines() if "tools/train_net.py" in line]
    assert [problem for line in commands for problem in _unknown_options(line)] == []


def test_make_lists_every_target_that_the_documents_name() -> None:
    run = subprocess.run(["make", "help"], cwd=REPO, capture_output=True, text=True, check=True)
    listed = set(re.findall(r"^  make ([\w-]+)", run.stdout, re.MULTILINE))
    named = {
        target
        for document in _documents()
        for target in re.findall(r"`make ([\w-]+)", document.read_text(encoding="utf-8"))
    }
    assert listed >= named | {"help", "setup", "demo", "test", "check", "format", "clean"}


@pytest.mark.parametrize("document", _documents(), ids=_name)
def test_no_placeholder_is_left(document: Path) -> None:
    assert "@@" not in document.read_text(encoding="utf-8")

"""The notebook of docs/, which a test runs as a reader would."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

NOTEBOOK = Path(__file__).resolve().parents[1] / "docs" / "quickstart.ipynb"
FEW = 'DATA = None\nSCENES = 20\nAUGMENT = "aerial"\nSTEPS = 8'


@pytest.fixture
def notebook() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def parameters(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    return cell


def test_it_is_stored_without_outputs_in_one_form(notebook: nbformat.NotebookNode) -> None:
    nbformat.validate(notebook)
    assert nbformat.writes(notebook) + "\n" == NOTEBOOK.read_text(encoding="utf-8")
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.id for cell in code if cell.outputs or cell.execution_count is not None] == []
    assigned = re.compile(r"^(\w+) = ", re.MULTILINE)
    assert assigned.findall(parameters(notebook).source) == assigned.findall(FEW)


def test_its_links_lead_somewhere(notebook: nbformat.NotebookNode) -> None:
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    links = re.findall(r"\]\(([^)#]+)", text)
    assert links
    assert [link for link in links if not (NOTEBOOK.parent / link).is_file()] == []


def text_of(cell: nbformat.NotebookNode) -> str:
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def pictures_of(cell: nbformat.NotebookNode) -> list[Image.Image]:
    shown = [output.data for output in cell.outputs if output.output_type == "display_data"]
    encoded = [data.get("image/png") or data["image/jpeg"] for data in shown]
    return [Image.open(io.BytesIO(base64.b64decode(text))) for text in encoded]


@pytest.mark.slow  # starts a kernel, which imports torch, trains and evaluates
def test_it_runs_from_top_to_bottom(notebook: nbformat.NotebookNode, tmp_path: Path) -> None:
    parameters(notebook).source = FEW
    # Raises if a cell fails.
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    cells = {cell.id: cell for cell in notebook.cells}
    assert "In all: 0 errors" in text_of(cells["check"])
    for heading in ("task +AP +AP50", "class +objects +detections +bbox AP"):
        assert re.search(heading, text_of(cells["evaluate"])), heading
    shown = {name: pictures_of(cells[name]) for name in ("labels", "curves", "predict", "compare")}
    assert {name: len(pictures) for name, pictures in shown.items()} == {
        "labels": 1, "curves": 1, "predict": 2, "compare": 1,
    }  # fmt: skip
    assert all(min(picture.size) > 200 for pictures in shown.values() for picture in pictures)
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert written >= {
        "scenes_20/classes.txt", "labels/labels_train.jpg", "checks/custom/report.html",
        "runs/custom/checkpoints/best.pth", "runs/custom/evaluation/test/worst_first.jpg",
    }  # fmt: skip

"""Boxes in another form or unit than their format defines are refused, whatever the format."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detfinetune.checks.run import dataset_findings
from detfinetune.config.schema import DataConfig
from detfinetune.errors import DataError
from detfinetune.labels.convert import convert_dataset
from detfinetune.labels.export import export_dataset
from detfinetune.labels.prepare import prepare_dataset
from detfinetune.labels.read import read_dataset

SIZE = 640, 480
Numbers = tuple[float, float, float, float]

FORMS: dict[str, Callable[[Numbers], Numbers]] = {
    "x,y,w,h in absolute": lambda b: b,
    "x1,y1,x2,y2 in absolute": lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]),
    "x,y,w,h in normalized": lambda b: (b[0] / 640, b[1] / 480, b[2] / 640, b[3] / 480),
    "x1,y1,x2,y2 in normalized": lambda b: (
        b[0] / 640, b[1] / 480, (b[0] + b[2]) / 640, (b[1] + b[3]) / 480,
    ),
    "cx,cy,w,h in normalized": lambda b: (
        (b[0] + b[2] / 2) / 640, (b[1] + b[3] / 2) / 480, b[2] / 640, b[3] / 480,
    ),
}  # fmt: skip


def _write(folder: Path, label_format: str, form: str) -> DataConfig:
    """Write 12 images of 5 boxes, whose numbers are in `form` whatever the format says."""
    generator = np.random.default_rng(0)
    content: dict[str, list[dict[str, object]]] = {
        "images": [], "annotations": [], "categories": [{"id": 1, "name": "cell"}],
    }  # fmt: skip
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    for image in range(12):
        name = f"{image:02d}.png"
        Image.new("L", SIZE).save(folder / "images" / name)
        content["images"].append({"id": image, "file_name": name, "width": 640, "height": 480})
        lines = []
        for _ in range(5):
            w, h = generator.uniform(15, 80, 2)
            x, y = generator.uniform(0, 640 - w), generator.uniform(0, 480 - h)
            box = FORMS[form]((float(x), float(y), float(w), float(h)))
            content["annotations"].append(
                {"id": len(content["annotations"]), "image_id": image, "category_id": 1,
                 "bbox": box}
            )  # fmt: skip
            lines.append("0 " + " ".join(f"{value:.6f}" for value in box))
        if label_format == "yolo":
            (folder / "labels" / f"{image:02d}.txt").write_text("\n".join(lines))
    if label_format == "coco":
        (folder / "ann.json").write_text(json.dumps(content))
        return DataConfig(root=folder, images="images")
    return DataConfig(root=folder, format="yolo", classes=["cell"])


@pytest.mark.parametrize(
    ("label_format", "form"),
    [
        ("coco", "x1,y1,x2,y2 in absolute"),
        ("coco", "x,y,w,h in normalized"),
        ("coco", "x1,y1,x2,y2 in normalized"),
        ("yolo", "x1,y1,x2,y2 in normalized"),
    ],
)
def test_training_and_conversion_refuse_in_the_words_of_the_check(
    tmp_path: Path, label_format: str, form: str
) -> None:
    data = _write(tmp_path, label_format, form)
    messages = []
    for use in (
        lambda: prepare_dataset(data),
        lambda: convert_dataset(data, tmp_path / "out"),
        lambda: export_dataset(data, tmp_path / "out", "voc"),
    ):
        with pytest.raises(DataError) as caught:
            use()
        messages.append(str(caught.value))
    assert not (tmp_path / "out").exists()
    assert len(set(messages)) == 1
    assert f"% are as {form} coordinates, read with data.format={label_format}" in messages[0]
    (finding,) = [f for f in dataset_findings(read_dataset(data), None) if "fits_as" in f.figures]
    assert finding.title.removesuffix(".") in messages[0]


@pytest.mark.parametrize(
    ("label_format", "form"),
    [("coco", "x,y,w,h in absolute"), ("yolo", "cx,cy,w,h in normalized")],
)
def test_the_formats_own_form_is_taken(tmp_path: Path, label_format: str, form: str) -> None:
    dataset = prepare_dataset(_write(tmp_path, label_format, form))
    assert sum(table.num_objects for table in dataset.tables.values()) == 60

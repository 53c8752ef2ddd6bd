"""Any text as labels, through the whole of `read_dataset`: sums agree, nothing else goes wrong.

Each example writes label files, some lines of them valid, some broken, beside three images that
are there once for all examples.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import write_image
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detfinetune.config.schema import DataConfig
from detfinetune.errors import DetFinetuneError
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.read import read_dataset

IMAGES = {"a.png": (64, 48), "b.png": (30, 90), "c.png": (200, 10)}
EXAMPLES = settings().max_examples

STEMS = st.sampled_from(["a", "b", "c", "gone"])
ODD = st.sampled_from(
    ["", "nan", "inf", "-1", "1e400", "0x1", "½", "1,5", "7", "-0", "1e-9", "99999999999", "None",
     "\u0000", "'", '"', "<a>", "&", "é", ";", "#", "{", "]"]
)  # fmt: skip
CLASSES = st.sampled_from(["0", "1", "2", "9", "-1", "cat", "dog", "Cat", "white pawn", "1.0"])
SHARES = st.floats(0.05, 0.95).map(lambda value: f"{value:.4f}")
PIXELS = st.integers(-5, 205).map(str)
NORMALIZED = st.floats(-50, 250).map(lambda value: f"{value:.2f}")


def lines(*columns: st.SearchStrategy[str], separator: str = " ") -> st.SearchStrategy[str]:
    """Return text of a few lines: rows of the columns, of which some are broken, or anything."""
    good = st.tuples(*columns).map(separator.join)
    broken = st.lists(st.one_of(*columns, ODD), max_size=12).map(separator.join)
    anything = st.text(max_size=30)
    return st.lists(st.one_of(good, good, good, broken, anything), max_size=8).map("\n".join)


def file_per_image(texts: st.SearchStrategy[str], suffix: str) -> st.SearchStrategy[dict[str, str]]:
    return st.dictionaries(STEMS.map(lambda stem: f"{stem}{suffix}"), texts, max_size=4)


YOLO = file_per_image(lines(CLASSES, SHARES, SHARES, SHARES, SHARES), ".txt")
OUTLINES = file_per_image(lines(CLASSES, *[SHARES] * 6), ".txt")
TXT = file_per_image(lines(CLASSES, *[PIXELS | NORMALIZED] * 4), ".txt")
DOTA = file_per_image(lines(*[PIXELS] * 8, CLASSES, st.sampled_from(["0", "1"])), ".txt")

# Some files are no XML at all, but not most.
IN_XML = ODD.filter(lambda text: not set(text) & set("<&\0"))
BOX_TAGS = st.tuples(CLASSES | IN_XML, *[PIXELS | NORMALIZED | IN_XML] * 4).map(
    lambda v: (
        f"<object><name>{v[0]}</name><bndbox><xmin>{v[1]}</xmin><ymin>{v[2]}</ymin>"
        f"<xmax>{v[3]}</xmax><ymax>{v[4]}</ymax></bndbox></object>"
    )
)
GOOD_VOC = (
    "<annotation><object><name>cat</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax>"
    "<ymax>9</ymax></bndbox></object></annotation>"
)
VOC = file_per_image(
    st.lists(
        st.one_of(
            *[BOX_TAGS] * 9, st.sampled_from(["<object/>", "text", "<object><name>x</name>"])
        ),
        max_size=6,
    ).map(
        lambda boxes: "<annotation><filename>x</filename>\n" + "\n".join(boxes) + "</annotation>"
    ),
    ".xml",
).map(lambda texts: {"b.xml": GOOD_VOC, **texts})

NAMES = st.sampled_from(
    ["a.png", "a.png", "b.png", "b.png", "x/c.png", "c", "gone.png", ""]
)  # fmt: skip
# A table or JSON with one good object, so that most examples get beyond the class list.
CSV = lines(NAMES, CLASSES, *[PIXELS | NORMALIZED] * 4, separator=",").map(
    lambda rows: {"boxes.csv": f"filename,class,xmin,ymin,xmax,ymax\na.png,cat,1,2,30,40\n{rows}"}
)

NUMBERS = st.one_of(
    st.integers(-5, 205), st.floats(-50, 250), st.none(), st.just("7"), st.booleans(),
    st.just(float("nan")), st.just(10**30),
)  # fmt: skip
IDS: st.SearchStrategy[Any] = st.one_of(
    st.integers(1, 4), st.integers(1, 4), st.sampled_from([0, "1", None, 2.5, []])
)
SHAPES = st.one_of(
    st.just([]),
    st.lists(st.lists(NUMBERS, max_size=9), max_size=3),
    st.fixed_dictionaries(
        {"size": st.just([48, 64]) | st.lists(NUMBERS, max_size=3),
         "counts": st.lists(st.integers(-2, 3072), max_size=5) | st.text(max_size=9)}
    ),
    st.none(),
)  # fmt: skip
ENTRIES = st.fixed_dictionaries(
    {"id": IDS, "image_id": IDS, "category_id": IDS,
     "bbox": st.lists(st.integers(0, 60), min_size=4, max_size=4) | st.lists(NUMBERS, max_size=5)},
    optional={"segmentation": SHAPES, "iscrowd": st.sampled_from([0, 1, True, "x", None]),
              "area": NUMBERS},
)  # fmt: skip
COCO = st.lists(ENTRIES | ENTRIES | st.sampled_from([{}, None, 3]), max_size=8).map(
    lambda entries: {
        "boxes.json": json.dumps(
            {
                "images": [
                    {"id": number, "file_name": name, "width": size[0], "height": size[1]}
                    for number, (name, size) in enumerate(
                        [*IMAGES.items(), ("gone.png", (5, 5))], start=1
                    )
                ],
                "annotations": entries,
                "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
            }
        )
    }
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("any")
    for name, size in IMAGES.items():
        write_image(root / "images" / name, size)
    return root


def read(folder: Path, texts: dict[str, str], options: dict[str, Any]) -> LabelledDataset | None:
    """Return what is read, or None where it is refused, as a user would be told."""
    labels = folder / "labels"
    shutil.rmtree(labels, ignore_errors=True)
    labels.mkdir()
    for name, text in texts.items():
        (labels / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        return read_dataset(DataConfig(root=folder, **options))
    except DetFinetuneError:
        return None


def check(dataset: LabelledDataset) -> None:
    """Make sure that what was read is right as it is, and that every label is accounted for."""
    dataset.ledger.check_sums()
    for split, table in dataset.tables.items():
        counts = dataset.ledger.counts[split]
        assert counts.images == table.num_images == len(table.sizes)
        assert counts.lines == counts.kept + counts.fixed + counts.rejected
        assert table.num_objects == counts.kept + counts.fixed
        assert table.starts[-1] == table.num_objects
        assert set(table.names) <= set(IMAGES)
        assert table.sizes.tolist() == [list(IMAGES[name]) for name in table.names]
        if table.num_objects:
            assert 0 <= table.categories.min() <= table.categories.max() < dataset.num_classes
            assert np.isfinite(table.boxes).all()
            assert (table.boxes[:, :2] >= 0).all()
            assert (table.boxes[:, 2:] > 0).all()
            ends = table.boxes[:, :2] + table.boxes[:, 2:]
            assert (ends <= table.sizes[table.image_of] + 1e-6).all()
            assert table.lines.min() >= 1
    for entry in dataset.ledger.entries:
        assert entry.reason
        assert entry.path


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "on_problem": st.sampled_from(["fix", "reject", "stop"]),
        "first_class": st.sampled_from([0, 1]),
        "first_pixel": st.sampled_from([0, 1]),
        "classes": st.just(["cat", "dog", "white pawn"]),
        "coordinates": st.sampled_from(["absolute", "normalized"]),
        "folds": st.just(2),
        "stratify": st.booleans(),
        "val_fraction": st.sampled_from([0.0, 0.4]),
    },
)


@pytest.mark.parametrize(
    ("texts", "label_format"),
    [
        (YOLO, "yolo"), (OUTLINES, "yolo"), (TXT, "txt"), (DOTA, "dota"), (VOC, "voc"),
        (CSV, "csv"), (COCO, "coco"),
    ],
    ids=["yolo", "outlines", "txt", "dota", "voc", "csv", "coco"],
)  # fmt: skip
def test_any_text_is_read_or_refused(
    folder: Path, texts: st.SearchStrategy[dict[str, str]], label_format: str
) -> None:
    """Most examples are read; a word that a user can use is all that the others may end in."""
    read_at_all = [0]

    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(texts, OPTIONS, st.booleans())
    def examine(texts: dict[str, str], options: dict[str, Any], auto: bool) -> None:
        dataset = read(folder, texts, options if auto else {**options, "format": label_format})
        if dataset is not None:
            check(dataset)
            read_at_all[0] += 1

    examine()
    assert read_at_all[0] > EXAMPLES / 4

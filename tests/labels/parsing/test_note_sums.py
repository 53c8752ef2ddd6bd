"""Notes of many files become few."""

from __future__ import annotations

from pathlib import Path

from detfinetune.config.schema import DataConfig
from detfinetune.labels.parsing.note_sums import NoteSums, add_notes, join_sums, summed_notes
from detfinetune.labels.read import read_dataset

VOC = (
    "<annotation><object><name>cat</name><difficult>{}</difficult><bndbox><xmin>1</xmin>"
    "<ymin>1</ymin><xmax>30</xmax><ymax>40</ymax></bndbox></object></annotation>"
)


def test_numbers_add_up_and_words_stay() -> None:
    first: NoteSums = {}
    second: NoteSums = {}
    add_notes(first, ["3 marked difficult", "5 into 2 of frame_7", "flags passed over: v2"])
    add_notes(second, ["4 marked difficult"])
    add_notes(second, ["1 marked difficult", "1 into 1 of frame_7"])
    assert summed_notes(join_sums([first, second])) == [
        "8 marked difficult (in 3 label files)",
        "6 into 3 of frame_7 (in 2 label files)",
        "flags passed over: v2 (in 1 label file)",
    ]


def test_the_notes_of_voc_files_reach_the_user(make_dataset) -> None:
    names = [f"{number}" for number in range(4)]
    root: Path = make_dataset(
        [f"images/{name}.jpg" for name in names],
        {f"labels/{name}.xml": VOC.format(int(name != "3")) for name in names},
    )
    notes = read_dataset(DataConfig(root=root)).notes
    assert "3 marked difficult, read like any other (in 3 label files)" in notes

"""Bad input, each kind with the message that a user sees.

`{root}` stands for the data folder. The first table holds single lines among good ones: they are
rejected (or fixed) into the ledger, or stop the conversion when told to. The second holds what
stops a conversion in any case.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from detfinetune.config.schema import DataConfig
from detfinetune.errors import ConfigError, DataError, LabelError
from detfinetune.labels.convert import convert_dataset
from detfinetune.labels.read import read_dataset

GOOD_TXT = "0 10 10 20 20\n1 11 10 20 20\n0 12 10 20 20\n"
GOOD_YOLO = "0 0.5 0.5 0.2 0.2\n1 0.5 0.5 0.3 0.2\n0 0.5 0.5 0.4 0.2\n"

# The bad line, its good company, what becomes of it, and the message in the ledger.
LINES = {
    "too few values": ("0 1 2 3", GOOD_TXT, "rejected",
        "labels/a.txt:4: 4 values where data.columns names 5 (class,x1,y1,x2,y2)"),
    "too many values": ("0 1 2 3 4 0.9", GOOD_TXT, "rejected",
        "labels/a.txt:4: 6 values where data.columns names 5 (class,x1,y1,x2,y2)"),
    "words for numbers": ("0 left top 30 40", GOOD_TXT, "rejected",
        "labels/a.txt:4: x1 is 'left', not a number"),
    "NaN": ("0 nan 2 30 40", GOOD_TXT, "rejected",
        "labels/a.txt:4: x1 is 'nan', not a finite number"),
    "infinity": ("0 1 2 inf 40", GOOD_TXT, "rejected",
        "labels/a.txt:4: x2 is 'inf', not a finite number"),
    "number too large for a float": ("0 1 2 30 1e999", GOOD_TXT, "rejected",
        "labels/a.txt:4: y2 is '1e999', not a finite number"),
    "class out of range": ("2 1 2 30 40", GOOD_TXT, "rejected",
        "labels/a.txt:4: class 2 is out of range: the 2 classes are numbered 0 to 1"),
    "negative class": ("-1 1 2 30 40", GOOD_TXT, "rejected",
        "labels/a.txt:4: class -1 is out of range: the 2 classes are numbered 0 to 1"),
    "unknown class name": ("dgo 1 2 30 40", GOOD_TXT, "rejected",
        "labels/a.txt:4: unknown class 'dgo'. Did you mean 'dog'?"),
    "class that is no whole number": ("0.5 1 2 30 40", GOOD_TXT, "rejected",
        "labels/a.txt:4: unknown class '0.5'."),
    "swapped corners": ("0 30 40 1 2", GOOD_TXT, "fixed",
        "labels/a.txt:4: corners are swapped: the first is not the top left one"),
    "partly outside": ("0 90 70 120 90", GOOD_TXT, "fixed",
        "labels/a.txt:4: box 90.0,70.0 to 120.0,90.0 extends outside the 100x80 image: clipped"),
    "wholly outside": ("0 120 70 140 90", GOOD_TXT, "rejected",
        "labels/a.txt:4: box 120.0,70.0 to 140.0,90.0 lies entirely outside the 100x80 image"),
    "no width": ("0 10 10 10 40", GOOD_TXT, "rejected",
        "labels/a.txt:4: width 0 and height 30 px: no area"),
    "duplicate": ("1 11 10 20 20", GOOD_TXT, "rejected",
        "labels/a.txt:4: the same object as line 2"),
    "four YOLO columns": ("0 0.5 0.5 0.2", GOOD_YOLO, "rejected",
        "labels/a.txt:4: 4 values; a YOLO line has 5 (class cx cy w h) or, for a polygon, an odd "
        "number from 7 on (class x1 y1 x2 y2 ...)"),
    "YOLO line with a score": ("0 0.5 0.5 0.2 0.2 0.9", GOOD_YOLO, "rejected",
        "labels/a.txt:4: 6 values; a YOLO line has 5 (class cx cy w h) or, for a polygon, an odd "
        "number from 7 on (class x1 y1 x2 y2 ...)"),
    "negative YOLO width": ("0 0.5 0.5 -0.2 0.2", GOOD_YOLO, "rejected",
        "labels/a.txt:4: width -20 and height 16 px are negative"),
    "YOLO centre at 1.5": ("0 1.5 0.5 0.2 0.2", GOOD_YOLO, "rejected",
        "labels/a.txt:4: box 140.0,32.0 to 160.0,48.0 lies entirely outside the 100x80 image"),
    "YOLO box over the edge": ("0 0.95 0.5 0.2 0.2", GOOD_YOLO, "fixed",
        "labels/a.txt:4: box 85.0,32.0 to 105.0,48.0 extends outside the 100x80 image: clipped"),
    "degenerate YOLO box": ("0 0.282813 0.685417 0.000000 0.000000", GOOD_YOLO, "rejected",
        "labels/a.txt:4: width 0 and height 0 px: no area"),
    "outline on a line": ("0 0.1 0.1 0.2 0.2 0.3 0.3", GOOD_YOLO, "rejected",
        "labels/a.txt:4: the polygon has no area inside the 100x80 image"),
    "outline of two points": ("0 0.1 0.1 0.2 0.2 0.1 0.1", GOOD_YOLO, "rejected",
        "labels/a.txt:4: a polygon of 2 different points has no area"),
}  # fmt: skip


def line_dataset(make_dataset, bad: str, good: str) -> Path:
    return make_dataset(
        ["images/a.jpg"], {"labels/a.txt": good + bad + "\n", "classes.txt": "cat\ndog\n"}
    )


@pytest.mark.parametrize("kind", LINES)
def test_bad_line(make_dataset, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    bad, good, action, message = LINES[kind]
    root = line_dataset(make_dataset, bad, good)
    data = DataConfig(root=root, val_fraction=0, test_fraction=0)
    ledger = convert_dataset(data, root.parent / "out").ledger
    assert [(entry.action, entry.message) for entry in ledger.entries] == [(action, message)]
    counts = ledger.counts["train"]
    assert (counts.lines, counts.kept) == (4, 3)
    assert (counts.fixed, counts.rejected) == ((1, 0) if action == "fixed" else (0, 1))
    assert ledger.entries[0].kind in capsys.readouterr().out


@pytest.mark.parametrize("kind", LINES)
def test_bad_line_stops_when_told_to(make_dataset, kind: str) -> None:
    bad, good, _, message = LINES[kind]
    root = line_dataset(make_dataset, bad, good)
    data = DataConfig(root=root, on_problem="stop", val_fraction=0, test_fraction=0)
    with pytest.raises(LabelError) as raised:
        convert_dataset(data, root.parent / "out")
    assert str(raised.value) == (
        f"{message}\n  {bad}\nFix it, or continue past it with data.on_problem=fix or "
        "data.on_problem=reject."
    )
    assert not (root.parent / "out").exists()


# Files, options and the beginning or a part of the message.
STOPS = {
    "no root": (None, {}, ConfigError,
        "data.root is missing: the folder with your images and labels. Give it on the command "
        "line, such as data.root=/path/to/folder. Download 'custom' from: somewhere."),
    "wrong root": ({}, {"root": "daat"}, DataError, "Did you mean 'data'?"),
    "root is a file": ({"a.txt": ""}, {"root": "data/a.txt"}, DataError,
        "a.txt is a file; give the folder that holds the data set."),
    "empty folder": ({}, {}, DataError,
        "{root}: no known layout of images and labels was found. Found 0 images and 0 "
        ".txt files; the folder holds nothing."),
    "labels without images": ({"labels/a.txt": GOOD_TXT}, {}, DataError,
        "{root}: there are label files but no images"),
    "images without labels": ({"images/a.jpg": None}, {}, DataError,
        "{root}: there are images but no label files"),
    "other names": ({"images/a.jpg": None, "labels/b.txt": GOOD_TXT}, {}, DataError,
        "no label file has the name of an image (a.txt for a.jpg)"),
    "wrong images folder": ({"images/a.jpg": None, "labels/a.txt": GOOD_TXT},
        {"images": "imagse"}, ConfigError, "data.images=imagse matches nothing under {root}."),
    "wrong class file": ({"images/a.jpg": None, "labels/a.txt": GOOD_TXT},
        {"classes": Path("names.txt")}, DataError,
        "data.classes: there is no file {root}/names.txt."),
    "class twice": ({"images/a.jpg": None, "labels/a.txt": GOOD_TXT, "classes.txt": "a\na\n"}, {},
        DataError, "{root}/classes.txt: class name 'a' is repeated (classes 0 and 1)"),
    "unknown column": ({"images/a.jpg": None, "labels/a.txt": GOOD_TXT},
        {"columns": "class,x1,y1,x2,hight"}, ConfigError,
        "data.columns: unknown column 'hight'."),
    "columns without a box": ({"images/a.jpg": None, "labels/a.txt": GOOD_TXT},
        {"columns": "class,x1,y1"}, ConfigError, "data.columns: 'class,x1,y1' does not make"),
    "all images damaged": ({"images/a.jpg": b"junk", "labels/a.txt": GOOD_TXT}, {}, DataError,
        "images/a.jpg: not an image that Pillow can read"),
    "image list of other images": ({"images/a.jpg": None, "labels/train/a.txt": GOOD_TXT,
        "train.txt": "x\ny\n"}, {}, DataError,
        "train.txt: 2 of 2 listed images are not in {root}/images, such as 'x'."),
    "COCO JSON that is cut short": ({"images/a.jpg": None, "train.json":
        b'{"images": [{"id": 1, "file_name": "a.jpg"}],\n"annotations": [{"id": 1, "ima'}, {},
        DataError, "{root}/train.json:2: "),
    "COCO JSON without images": ({"train.json":
        b'{"images": [], "annotations": [], "categories": []}'}, {}, DataError,
        "{root}: train.json lists no images"),
    "class last": ({"images/a.jpg": None, "classes.txt": "cat\ndog",
        "labels/a.txt": "".join(f"{n} 10 60 50 {n % 2}\n" for n in range(2, 22))}, {}, DataError,
        "make sense as data.format=txt data.columns=x1,y1,x2,y2,class data.coordinates=absolute"),
    "x y w h read as corners": ({"images/a.jpg": None, "classes.txt": "cat\ndog",
        "labels/a.txt": "".join(f"0 {n + 40} {n + 30} 8 9\n" for n in range(20))}, {}, DataError,
        "data.format=txt data.columns=class,x1,y1,w,h data.coordinates=absolute: rerun with that"),
    "pixels read as YOLO": ({"images/a.jpg": None, "classes.txt": "cat\ndog",
        "labels/a.txt": "".join(f"0 {n + 40} {n + 30} 8 90\n" for n in range(20))},
        {"format": "yolo"}, DataError, "20 of 20 labels are wrong, read with data.format=yolo"),
    "mostly nonsense": ({"images/a.jpg": None, "classes.txt": "cat",
        "labels/a.txt": "0 1 1 9 9\n" + "hello\n" * 3}, {}, DataError,
        "{root}: 3 of 4 labels are wrong, read with data.format=txt "
        "data.columns=class,x1,y1,x2,y2 data.coordinates=absolute:\n  3 x too few columns\n"
        "      labels/a.txt:2: 1 value where data.columns names 5 (class,x1,y1,x2,y2)   [hello]"),
    "no class names in sight": ({"images/a.jpg": None, "labels/a.txt": "hello\n"}, {}, DataError,
        "there is no class list"),
    "sizes for other images": ({"labels/a.txt": GOOD_TXT, "s.csv":
        "file_name,width,height\nb.jpg,9,9\n"}, {"image_sizes": Path("s.csv")}, DataError,
        "no label file has the name of an image"),
}  # fmt: skip


@pytest.mark.parametrize("kind", STOPS)
def test_what_stops_a_conversion(make_dataset, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    contents, options, error, message = STOPS[kind]
    contents = contents or {}
    root = make_dataset(
        [name for name, content in contents.items() if content is None],
        {name: content for name, content in contents.items() if content is not None},
    )
    root.mkdir(exist_ok=True)
    monkeypatch.chdir(root.parent)
    options = {"root": None if kind == "no root" else root, "source": "somewhere"} | options
    with pytest.raises(error) as raised:
        convert_dataset(DataConfig(**options), root.parent / "out")
    assert message.replace("{root}", str(root)) in str(raised.value)
    assert not (root.parent / "out").exists()


def test_what_label_files_hold_beside_objects_is_counted_over_all_of_them(make_dataset) -> None:
    voc = (
        "<annotation><object><name>cat</name><difficult>{}</difficult><bndbox><xmin>1</xmin>"
        "<ymin>1</ymin><xmax>30</xmax><ymax>40</ymax></bndbox></object></annotation>"
    )
    names = [f"{number}" for number in range(4)]
    root = make_dataset(
        [f"images/{name}.jpg" for name in names],
        {f"labels/{name}.xml": voc.format(int(name != "3")) for name in names},
    )
    notes = read_dataset(DataConfig(root=root)).notes
    assert "objects marked difficult, read like any other: 3" in notes
    assert not any("<part>" in note for note in notes)

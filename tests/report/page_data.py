"""A small labelled data set with findings of every sort, made by hand."""

from __future__ import annotations

from pathlib import Path

from label_tables import table_of
from PIL import Image, ImageDraw

from detfinetune.checks.findings import Finding, Place
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.dataset.ledger import Ledger, LedgerEntry
from detfinetune.labels.dataset.records import Annotation, ImageRecord, RleMask
from detfinetune.labels.dataset.table import LabelTable

SIZE = (120, 90)
HOSTILE_CLASS = "<script>alert('class')</script>"
QUOTED_NAME = 'it\'s "quoted" & <b>.png'
FOREIGN_NAME = "Bäume/日本語 №1.png"
LONG_NAME = f"{'deep folder/' * 20}{'n' * 90}.png"


def draw_image(path: Path, color: tuple[int, int, int] = (90, 120, 90)) -> None:
    """Write a picture with a bright square from (20, 30) to (60, 60)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", SIZE, color)
    ImageDraw.Draw(image).rectangle((20, 30, 59, 59), fill=(240, 230, 40))
    image.save(path)


def record(name: str, *annotations: Annotation, label_file: str = "") -> ImageRecord:
    return ImageRecord(name, *SIZE, annotations, label_file)


def box(category: int, *corners: float, line: int = 1) -> Annotation:
    x, y, width, height = corners
    return Annotation(category, (x, y, width, height), line=line)


def make_dataset(root: Path) -> LabelledDataset:
    """Write images below `root` and return their labels: six in train, three in val.

    Train: one negative, one damaged file, one missing file, a polygon, a mask, a crowd region.
    """
    polygon = Annotation(1, (20, 30, 40, 30), ((20, 30, 60, 30, 60, 60, 20, 60),), line=2)
    # Ten columns of ninety pixels, of which the first five are set.
    mask = Annotation(0, (0, 0, 5, 90), mask=RleMask((90, 120), (0, 450, 10350)), line=3)
    crowd = Annotation(0, (60, 10, 50, 70), crowd=True, line=4)
    train = [
        record(QUOTED_NAME, box(0, 20, 30, 40, 30), polygon, label_file="labels/quoted.txt"),
        record(FOREIGN_NAME, box(1, 20, 30, 40, 30), mask, crowd, label_file="labels/foreign.txt"),
        record(LONG_NAME, box(0, 5, 5, 6, 4), label_file="labels/long.txt"),
        record("empty.png", label_file="labels/empty.txt"),
        record("damaged.png", box(0, 1, 1, 10, 10), label_file="labels/damaged.txt"),
        record("missing.png", box(0, 1, 1, 10, 10), label_file="labels/missing.txt"),
    ]
    val = [record(f"val {at}.png", box(at % 2, 20, 30, 40 - at, 30)) for at in range(3)]
    for item in [*train, *val]:
        draw_image(root / "images" / item.file_name)
    (root / "images" / "missing.png").unlink()
    content = (root / "images" / "damaged.png").read_bytes()
    (root / "images" / "damaged.png").write_bytes(content[: len(content) // 2])
    tables = {"train": table_of(root / "images", train), "val": table_of(root / "images", val)}
    return LabelledDataset(
        name="hostile <i>set</i>",
        root=root,
        format="yolo",
        evidence="every line holds a class & four numbers",
        classes=(HOSTILE_CLASS, "square", "never seen"),
        classes_from="classes.txt",
        tables=tables,
        ledger=_ledger(tables),
        notes=("a note with <em>markup</em>",),
    )


def _ledger(tables: dict[str, LabelTable]) -> Ledger:
    ledger = Ledger()
    for split, table in tables.items():
        counts = ledger.split(split)
        counts.images, counts.lines = table.num_images, table.num_objects
        counts.kept = table.num_objects
    train = ledger.split("train")
    train.lines, train.kept, train.fixed, train.rejected = 9, 7, 1, 1
    ledger.entries.append(
        LedgerEntry("train", "labels/long.txt", 1, "fixed", "clipped", "reaches out", "0 1")
    )
    ledger.entries.append(
        LedgerEntry("train", "labels/long.txt", 2, "rejected", "zero size", "no area", "<b>0</b>")
    )
    return ledger


def make_findings() -> list[Finding]:
    """Return five findings, worst last, with every field that a page can show."""
    many = tuple(
        Place("train", QUOTED_NAME, "labels/quoted.txt", at + 1, f"number {at}", (20, 30, 40, 30),
              category=0)
        for at in range(45)
    )  # fmt: skip
    return [
        Finding("rare_class", "note", "A class is rare", "Look.", figures={"objects": [3, 0]}),
        Finding("too_many", "warning", "45 boxes are odd", "Look at them.", many),
        Finding(
            "duplicate_images", "warning", "1 pair of duplicates", "Keep both in one split.",
            (Place("train", FOREIGN_NAME, detail="2 bits", other=Place("val", "val 0.png")),),
        ),
        Finding(
            "unreadable", "error", "2 images cannot be read", "Replace them.",
            (Place("train", "damaged.png"), Place("train", "x" * 300 + ".png")),
        ),
        Finding(
            "box_outside", "error", "1 box is outside <img src=x onerror=alert(1)>", "Fix it.",
            (Place("val", "val 1.png", "labels/val 1.txt", 7, "170 px away", (290, 10, 30, 30),
                   category=1),),
            {"largest_px": 170.25, "share": {"of_boxes": 0.1}}, fixed_by_conversion=True,
        ),
    ]  # fmt: skip

"""What the page chooses and counts, on cases small enough to count by hand."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from label_tables import table_of
from page_data import box, make_dataset, record

from detfinetune.checks.anchor_fit import AnchorSettings
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.dataset.ledger import Ledger, LedgerEntry
from detfinetune.labels.dataset.records import Annotation, ImageRecord
from detfinetune.report.album import Album
from detfinetune.report.columns import split_columns
from detfinetune.report.plots import all_plots
from detfinetune.report.samples import choose_galleries, choose_samples
from detfinetune.report.summary import class_rows, ledger_kinds
from detfinetune.report.svg import linear_ticks, log_ticks, short
from detfinetune.report.wording import figure, number, plural, shortened

ANCHORS = AnchorSettings(90, 150, (32.0, 64.0, 128.0, 256.0, 512.0))


def dataset_of(root: Path, **splits: list[ImageRecord]) -> LabelledDataset:
    tables = {name: table_of(root, records) for name, records in splits.items()}
    return LabelledDataset("d", root, "txt", "", ("a", "b"), "", tables, Ledger())


def test_columns_of_a_split() -> None:
    first = ImageRecord("a", 200, 100, (box(0, 0, 0, 40, 20), box(0, 100, 50, 0, 10)))
    second = ImageRecord("b", 100, 400, (box(0, 50, 300, 10, 40),))
    table = table_of(Path(), [first, second, ImageRecord("c", 10, 10)])
    columns = split_columns("train", table, None)
    # The box without width is left out.
    assert columns.wide.tolist() == [40, 10]
    assert columns.ratio.tolist() == [2, 0.25]
    assert columns.share == pytest.approx([0.2, 0.1])
    assert columns.centres.tolist() == [[0.1, 0.1], [0.55, 0.8]]
    assert columns.per_image.tolist() == [2, 1, 0]
    resized = split_columns("train", table, AnchorSettings(300, 500, ()))
    # 100 to 300 pixels is a factor of 3 unless the longer side would pass 500.
    assert resized.wide == pytest.approx([40 * 2.5, 10 * 1.25])
    assert resized.high == pytest.approx([20 * 2.5, 40 * 1.25])


def _titles(chart: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(chart).iter("title")]


def test_charts_count_every_object_and_image(tmp_path: Path) -> None:
    train = [record("a", box(0, 10, 10, 40, 40), box(1, 80, 50, 40, 40)), record("b")]
    val = [record("c", box(0, 10, 10, 20, 80))]
    plots = {
        plot.title: plot for plot in all_plots(dataset_of(tmp_path, train=train, val=val), ANCHORS)
    }
    sizes = _titles(str(plots["Box sizes and anchors"].chart))
    assert sum("2 objects" in title for title in sizes) == 1
    assert sum("1 object" in title for title in sizes) == 1
    assert sum(title.startswith("anchor") for title in sizes) == 15
    assert "anchor 64 \N{MULTIPLICATION SIGN} 64" in sizes
    per_image = _titles(str(plots["Objects per image"].chart))
    assert per_image == [
        "0 objects: train 1 (50.0 %); val 0 (0.0 %)",
        "1 object: train 0 (0.0 %); val 1 (100.0 %)",
        "2 objects: train 1 (50.0 %); val 0 (0.0 %)",
    ]
    assert plots["Objects per image"].summary == "Median 1, most 2; 1 image without any."
    positions = _titles(str(plots["Object positions"].chart))
    assert len(positions) == 3
    ratios = _titles(str(plots["Aspect ratios"].chart))
    assert len(ratios) % 2 == 1
    assert [t for t in ratios if "train 2 (100.0 %); val 0" in t] == [ratios[len(ratios) // 2]]


def test_anchors_after_resizing_are_said(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, train=[record("a", box(0, 0, 0, 40, 20))])
    (plot, *_) = all_plots(dataset, AnchorSettings(180, 300, (16.0,), (1.0,), (4,)))
    assert "Median 80 \N{MULTIPLICATION SIGN} 40 pixels after resizing to 180" in plot.summary
    assert _titles(str(plot.chart))[1:] == ["anchor 16 \N{MULTIPLICATION SIGN} 16"]
    (plot, *_) = all_plots(dataset, None)
    assert plot.summary == "Median 40 \N{MULTIPLICATION SIGN} 20 pixels."


def test_extreme_boxes_make_charts(tmp_path: Path) -> None:
    records = [
        ImageRecord("a", 30000, 20000, (box(0, 0, 0, 30000, 0.01), box(0, 0, 0, 0.01, 20000))),
        ImageRecord("b", 1, 1, (box(0, 0, 0, 1, 1),)),
    ]
    plots = all_plots(dataset_of(tmp_path, train=records), ANCHORS)
    assert len(plots) == 6
    for plot in plots:
        root = ElementTree.fromstring(str(plot.chart))
        assert root.get("role") == "img"
        assert plot.summary in (root.get("aria-label") or "")
        assert "nan" not in str(plot.chart)
        assert "inf" not in str(plot.chart)
        widths = [float(r.get("width", "1")) for r in root.iter("rect")]
        assert all(width >= 0 for width in widths)


def test_splits_share_the_samples(tmp_path: Path) -> None:
    train = [record(f"{at:03}", *([box(0, 0, 0, 9, 9)] if at % 2 else [])) for at in range(100)]
    val = [record("v", box(0, 0, 0, 9, 9))]
    samples = choose_samples(dataset_of(tmp_path, train=train, val=val), 13, Album())
    assert [sample.split for sample in samples] == ["train"] * 12 + ["val"]
    assert sum(sample.negative for sample in samples) == 3
    # Nine of fifty images with objects, evenly spaced: 1, 11, 23, ...
    labelled = [int(s.name) for s in samples if s.split == "train" and not s.negative]
    assert labelled == [2 * (at * 50 // 9) + 1 for at in range(9)]


def test_galleries_show_the_extremes(tmp_path: Path) -> None:
    boxes = [box(0, 0, 0, 20 + at, 20) for at in range(50)]
    boxes += [box(0, 0, 0, 2, 2), box(0, 0, 0, 110, 80), box(0, 0, 0, 100, 4)]
    crowd = Annotation(0, (0, 0, 120, 90), crowd=True)
    items = [record(f"{at}", item) for at, item in enumerate([*boxes, crowd])]
    (gallery,) = choose_galleries(dataset_of(tmp_path, train=items), Album())
    assert (gallery.objects, gallery.images) == (53, 53)
    assert len(gallery.crops) == 16
    roles = {(crop.name, crop.role) for crop in gallery.crops if crop.role}
    assert {("50", "smallest"), ("51", "largest"), ("52", "elongated")} <= roles
    assert "53" not in {crop.name for crop in gallery.crops}
    assert len({crop.name for crop in gallery.crops}) == 16


def test_very_many_classes_keep_the_page_small(tmp_path: Path) -> None:
    items = [record("a", *(box(at, 0, 0, 5, 5) for at in range(500) for _ in range(1 + at % 7)))]
    dataset = LabelledDataset(
        "d", tmp_path, "txt", "", tuple(f"c{at}" for at in range(500)), "",
        {"train": table_of(tmp_path, items)}, Ledger(),
    )  # fmt: skip
    galleries = choose_galleries(dataset, Album())
    assert len(galleries) == 80
    assert sum(len(gallery.crops) for gallery in galleries) <= 480
    assert [galleries[0].objects, galleries[-1].objects] == [7, 1]


def test_classes_and_bars(tmp_path: Path) -> None:
    rows = class_rows(make_dataset(tmp_path))
    assert [row.objects for row in rows] == [(6, 2), (2, 1), (0, 0)]
    assert rows[0].bar == [(0.0, 75.0), (75.0, 25.0)]
    assert rows[1].bar == [(0.0, 25.0), (25.0, 12.5)]
    assert rows[0].color == "#e69f00"


def test_ledger_by_kind() -> None:
    ledger = Ledger()
    for at in range(30):
        ledger.entries.append(LedgerEntry("train", "a.txt", at, "fixed", "clipped", "r"))
    ledger.entries.append(LedgerEntry("val", "b.txt", 1, "fixed", "clipped", "r"))
    ledger.entries.append(LedgerEntry("val", "b.txt", 2, "rejected", "zero size", "r"))
    kinds = ledger_kinds(ledger)
    assert [(k.action, k.kind, k.count) for k in kinds] == [
        ("rejected", "zero size", 1),
        ("fixed", "clipped", 31),
    ]
    assert kinds[1].by_split == {"train": 30, "val": 1}
    assert len(kinds[1].examples) == 20


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 10, [0, 2, 4, 6, 8, 10]), (0, 3, [0, 1, 2, 3]), (0, 0.07, [0, 0.02, 0.04, 0.06])],
)
def test_linear_ticks(low: float, high: float, expected: list[float]) -> None:
    assert linear_ticks(low, high) == pytest.approx(expected)


def test_log_ticks() -> None:
    assert log_ticks(8, 64, 2) == [8, 16, 32, 64]
    assert log_ticks(1, 2**15, 2) == [1, 4, 16, 64, 256, 1024, 4096, 16384]


def test_words() -> None:
    assert [short(v) for v in (0.5, 640, 4096, 12_000, 3e6)] == ["0.5", "640", "4,096", "12k", "3M"]
    assert [number(v) for v in (3.0, 0.3145, 12345.6, float("inf"))] == [
        "3",
        "0.315",
        "12,346",
        "-",
    ]
    assert [plural(1, "class"), plural(2, "class"), plural(1000, "place")] == [
        "1 class", "2 classes", "1,000 places",
    ]  # fmt: skip
    assert figure({"a_b": [1, 2.5, True, None], "c": "x"}) == "a b: 1, 2.5, yes, -, c: x"
    assert len(figure("y" * 1000)) == 301
    assert shortened("n" * 300) == "n" * 50 + "…" + "n" * 50
    assert np.isfinite(float(number(2.0)))

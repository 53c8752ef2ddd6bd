"""The page as a file: what stands in it, that nothing runs or loads, how large it gets."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from label_tables import table_of
from page_data import (
    FOREIGN_NAME,
    HOSTILE_CLASS,
    LONG_NAME,
    QUOTED_NAME,
    draw_image,
    make_dataset,
    make_findings,
)
from page_parts import Page
from PIL import Image

from detfinetune.checks.findings import Finding, Place
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.dataset.ledger import Ledger
from detfinetune.labels.dataset.records import Annotation, ImageRecord
from detfinetune.labels.dataset.table import LabelTable
from detfinetune.report import album
from detfinetune.report.page import write_dataset_page

LOADING = {"src", "href", "srcset", "poster", "data", "action", "formaction", "xlink:href"}


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("page")
    write_dataset_page(folder / "page.html", make_dataset(folder), make_findings())
    return (folder / "page.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_header_gives_counts_and_verdict(page: Page) -> None:
    text = page.text
    assert "hostile <i>set</i>" in text
    assert "yolo every line holds a class & four numbers" in text
    assert "2 errors 2 warnings 1 note Not ready to train. Fix the errors first" in text
    assert "Images 9 Objects 11 Classes 3 Negatives 1 Fixed 1 Rejected 1" in text
    assert "train 6 1 0 0 9 7 1 1" in text
    assert "val 3 0 0 0 3 3 0 0" in text
    assert "a note with <em>markup</em>" in text


def test_findings_stand_worst_first(page: Page) -> None:
    kinds = [given["data-kind"] for given in page.all("details") if "data-kind" in given]
    assert kinds == ["unreadable", "box_outside", "too_many", "duplicate_images", "rare_class"]
    assert "largest px 170 share of boxes: 0.1" in page.text
    assert "fixed by conversion" in page.text


def test_places_beyond_twenty_are_folded(page: Page, html: str) -> None:
    rows = list(page.all("tr", data_item="place"))
    assert len(rows) == 45 + 1 + 2 + 1
    assert "25 more places" in page.text
    assert html.index("number 19<") < html.index("25 more places") < html.index("number 20<")
    assert "<code>labels/val 1.txt:7</code>" in html


def test_classes_and_ledger_are_counted(page: Page) -> None:
    text = page.text
    assert f"0 {HOSTILE_CLASS} 6 2 8" in text
    assert "1 square 2 1 3" in text
    assert "2 never seen 0 0 0" in text
    assert "rejected zero size 1 train 1" in text
    assert "labels/long.txt:2 no area <b>0</b>" in text


def test_samples_mark_negatives(page: Page) -> None:
    samples = list(page.all("figure", data_item="sample"))
    assert [s["data-split"] for s in samples] == ["train"] * 6 + ["val"] * 3
    assert [s["data-classes"] for s in samples[:4]] == ["0 1", "0 1", "0", ""]
    assert page.text.count("negative: no objects") == 1


def test_names_stand_escaped_and_whole(page: Page, html: str) -> None:
    assert html.count("<script") == 1
    assert "<img src=x" not in html
    titles = {given.get("title") for given in page.all("code")}
    assert {QUOTED_NAME, FOREIGN_NAME, LONG_NAME} <= titles
    assert len(LONG_NAME) > 300


def test_nothing_is_loaded_and_no_handler_is_inline(page: Page) -> None:
    for tag, given in page.elements:
        assert not [name for name in given if name.startswith("on")], tag
        assert "style" not in given, tag
        for name in LOADING & given.keys():
            assert (given[name] or "").startswith(("data:", "#")), (tag, name, given[name])
    policy = next(page.all("meta", http_equiv="Content-Security-Policy"))["content"]
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:; ")
    assert "unsafe" not in policy


def test_every_picture_has_words_and_decodes(page: Page) -> None:
    pictures = [given for given in page.all("img") if given.get("class") == "zoom"]
    # 7 of 9 samples; of sound images 5 crops of class 0 (a crowd is none) and 3 of class 1; each
    # of 1 box outside and the first 6 odd ones, close-up and whole; a pair of duplicates.
    assert len(pictures) == 7 + 5 + 3 + 2 + 6 * 2 + 2
    for given in pictures:
        assert given["alt"]
        data = base64.b64decode((given["src"] or "").removeprefix("data:image/jpeg;base64,"))
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            assert image.size == (int(given["width"] or 0), int(given["height"] or 0))


def test_images_that_cannot_be_opened_say_why(page: Page, html: str) -> None:
    labels = [
        given["aria-label"] or ""
        for given in page.all("span")
        if given.get("class") == "no-picture"
    ]
    # Samples, gallery crops and the finding's two places.
    assert len(labels) == 2 + 2 + 2
    assert sum("there is no such file" in label for label in labels) == 2
    assert sum("the image cannot be read" in label for label in labels) == 3
    assert sum("File name too long" in label for label in labels) == 1


def test_same_data_gives_the_same_bytes(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path)
    write_dataset_page(tmp_path / "a.html", dataset, make_findings())
    write_dataset_page(tmp_path / "b.html", dataset, list(reversed(make_findings())))
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_without_findings_and_samples(tmp_path: Path) -> None:
    write_dataset_page(tmp_path / "page.html", make_dataset(tmp_path), [], samples=0)
    page = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "0 errors 0 warnings 0 notes Ready to train." in page.text
    assert not list(page.all("figure", data_item="sample"))


def test_data_without_images_makes_a_page(tmp_path: Path) -> None:
    dataset = LabelledDataset("none", tmp_path, "txt", "", (), "", {}, Ledger())
    place = Place("train", "a.png")
    write_dataset_page(tmp_path / "p.html", dataset, [Finding("k", "error", "t", "a", (place,))])
    text = Page((tmp_path / "p.html").read_text(encoding="utf-8")).text
    assert "Images 0 Objects 0 Classes 0" in text
    assert "there is no such file" in text


def test_only_true_negatives_make_a_page(tmp_path: Path) -> None:
    draw_image(tmp_path / "a.png")
    table = table_of(tmp_path, [ImageRecord("a.png", 120, 90)])
    dataset = LabelledDataset("n", tmp_path, "txt", "", ("x",), "", {"train": table}, Ledger())
    write_dataset_page(tmp_path / "p.html", dataset, [])
    text = Page((tmp_path / "p.html").read_text(encoding="utf-8")).text
    assert "All images have 120 \N{MULTIPLICATION SIGN} 90 pixels." in text
    assert "Box sizes" not in text


def test_labels_without_images_make_a_page_without_pictures(tmp_path: Path) -> None:
    dataset = replace(make_dataset(tmp_path), has_images=False)
    write_dataset_page(tmp_path / "p.html", dataset, make_findings())
    page = Page((tmp_path / "p.html").read_text(encoding="utf-8"))
    assert "There are no images, only their sizes" in page.text
    assert not [given for given in page.all("img") if given.get("class") == "zoom"]
    assert not [given for given in page.all("span") if given.get("class") == "no-picture"]
    assert "Images 9 Objects 11" in page.text


def test_names_that_are_no_utf8_stand_as_escapes(tmp_path: Path) -> None:
    dataset = replace(make_dataset(tmp_path), name="caf\udce9", classes=("\udcff", "b", "c\0"))
    write_dataset_page(tmp_path / "p.html", dataset, [])
    assert "caf\\udce9" in (tmp_path / "p.html").read_bytes().decode("utf-8")


@pytest.mark.parametrize(
    "box",
    [
        (float("nan"), 0.0, 5.0, 5.0),
        (-1e12, -1e12, 3e12, 3e12),
        (60.0, 40.0, -30.0, -20.0),
        (10.0, 10.0, 0.0, 0.0),
        (1e9, 1e9, 4.0, 4.0),
    ],
)
def test_boxes_of_any_sort_are_drawn(tmp_path: Path, box: tuple[float, ...]) -> None:
    place = Place("val", "val 0.png", box=box, polygons=((0, 0, float("inf"), 3, 4, 5),))  # type: ignore[arg-type]
    write_dataset_page(
        tmp_path / "p.html", make_dataset(tmp_path), [Finding("k", "error", "t", "a", (place,))]
    )
    page = Page((tmp_path / "p.html").read_text(encoding="utf-8"))
    alts = [str(given.get("alt")) for given in page.all("img")]
    assert "object in val 0.png, close up" in alts
    assert "object in val 0.png, whole" in alts


def test_a_failed_page_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "p.html").write_text("old", encoding="utf-8")
    dataset = replace(make_dataset(tmp_path), classes_from=Unwritable())  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="no words"):
        write_dataset_page(tmp_path / "p.html", dataset, [])
    assert (tmp_path / "p.html").read_text(encoding="utf-8") == "old"
    assert not list(tmp_path.glob(".p.html*"))


class Unwritable:
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_size_keeps_to_its_limit(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    annotation = Annotation(0, (100, 100, 300, 200))
    records = [ImageRecord("noise.png", 640, 480, (annotation,)) for _ in range(12)]
    dataset = LabelledDataset(
        "n", tmp_path, "txt", "", ("x",), "", {"train": table_of(tmp_path, records)}, Ledger()
    )
    for limit in (700_000, 3_000_000):
        write_dataset_page(tmp_path / "p.html", dataset, [], most_bytes=limit)
        page = Page((tmp_path / "p.html").read_text(encoding="utf-8"))
        assert len([g for g in page.all("img") if g.get("class") == "zoom"]) == 12 + 12
        assert (tmp_path / "p.html").stat().st_size <= limit


def test_of_many_images_only_those_shown_are_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []
    original = album.open_image
    monkeypatch.setattr(album, "open_image", lambda path: (opened.append(path), original(path))[1])
    draw_image(tmp_path / "one.png")
    count = 20_000
    for at in range(count):
        (tmp_path / f"{at:05}.png").hardlink_to(tmp_path / "one.png")
    table = LabelTable(
        image_root=tmp_path,
        names=tuple(f"{at:05}.png" for at in range(count)),
        label_files=("",) * count,
        sizes=np.tile(np.array([[120, 90]]), (count, 1)),
        starts=np.arange(count + 1, dtype=np.int64),
        categories=(np.arange(count) % 5).astype(np.int32),
        boxes=np.tile(np.array([[20.0, 30.0, 40.0, 30.0]]), (count, 1)),
        lines=np.ones(count, np.int32),
        crowd=np.zeros(count, bool),
    )
    dataset = LabelledDataset(
        "big", tmp_path, "txt", "", tuple("abcde"), "", {"train": table}, Ledger()
    )
    places = tuple(Place("train", f"{at:05}.png", "l.txt", at, "d" * 50) for at in range(count))
    finding = Finding("k", "error", "t", "a", places)
    write_dataset_page(tmp_path / "p.html", dataset, [finding])
    # 24 samples and, of each of five classes, 16 objects; six pictured places.
    assert len(opened) <= 24 + 5 * 16 + 6
    assert len(set(opened)) == len(opened)
    assert (tmp_path / "p.html").stat().st_size < 3_000_000
    page = Page((tmp_path / "p.html").read_text(encoding="utf-8"))
    assert len(list(page.all("tr", data_item="place"))) == 300
    assert "19,700 more places in findings.csv" in page.text

"""Duplicates: identical files and re-encoded images are found, similar images are not."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from label_tables import table_of
from PIL import Image, ImageEnhance

from detfinetune.checks.findings import Finding
from detfinetune.checks.images.duplicates import _close_hashes, near_pairs
from detfinetune.checks.images.image_content import ImageFacts
from detfinetune.checks.images.image_facts import scan_images
from detfinetune.checks.images.image_findings import image_findings
from detfinetune.labels.dataset.records import Annotation, ImageRecord

BOX = Annotation(0, (10.0, 10.0, 30.0, 20.0))
OTHER = Annotation(1, (50.0, 40.0, 30.0, 20.0))


def picture(seed: int = 0, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """Return a colour picture with large and small shapes; each seed gives another."""
    cells = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return Image.fromarray(cells).resize(size, Image.Resampling.BICUBIC)


def again(image: Image.Image, quality: int = 60) -> Image.Image:
    """Return an image as it comes out of a JPEG."""
    stream = io.BytesIO()
    image.convert("RGB").save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("RGB")


COPIES = {
    "saved again": again(picture()),
    "saved badly": again(picture(), 20),
    "half the size": picture().resize((160, 120)),
    "squeezed": again(picture().resize((300, 300))),
    "grey": picture().convert("L"),
    "brighter": ImageEnhance.Brightness(picture()).enhance(1.1),
    "paler": ImageEnhance.Contrast(picture()).enhance(0.8),
    "two pixels cut off": picture().crop((2, 2, 320, 240)),
}


def scan(folder: Path, images: Mapping[str, Image.Image]) -> dict[Path, ImageFacts]:
    for name, image in images.items():
        image.save(folder / name)
    return scan_images(sorted(folder.iterdir()), num_workers=0)


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_that_was_changed_a_little_is_near(tmp_path: Path, name: str) -> None:
    facts = scan(tmp_path, {"a.png": picture(), "b.png": COPIES[name], "c.png": picture(9)})
    (pair,) = near_pairs(facts)
    assert (pair.first.name, pair.second.name) == ("a.png", "b.png")
    assert pair.distance <= 6
    assert pair.correlation >= 0.97


def board(defect: tuple[int, int, int, int] | None = None) -> Image.Image:
    """Return a drawing of black and white tracks, with a spot of the other colour or without."""
    pixels = np.zeros((640, 640), dtype=np.uint8)
    pixels[:, 60:200] = pixels[300:380, :] = pixels[:, 420:440] = pixels[:, 520:600] = 255
    if defect is not None:
        left, top, right, bottom = defect
        pixels[top:bottom, left:right] = 255 - pixels[top:bottom, left:right]
    return Image.fromarray(pixels)


def test_boards_that_differ_by_a_defect_are_two_pictures(tmp_path: Path) -> None:
    facts = scan(
        tmp_path,
        {
            "a.png": board(),
            "b.png": board((100, 100, 130, 130)),
            "c.png": board((10, 500, 40, 530)),
        },
    )
    a, b, c = (facts[tmp_path / name].hash for name in ("a.png", "b.png", "c.png"))
    # The hash alone takes them for one.
    assert max((a ^ b).bit_count(), (a ^ c).bit_count(), (b ^ c).bit_count()) <= 6
    assert near_pairs(facts) == []


def test_pictures_without_contrast_are_left_out(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(100, 102, (2, 240, 320), dtype=np.uint8)
    images = {f"{n}.png": Image.fromarray(noise[n]) for n in range(2)}
    images |= {"black.png": Image.new("L", (320, 240)), "b.png": Image.new("L", (300, 240))}
    assert near_pairs(scan(tmp_path, images)) == []


@pytest.mark.parametrize("max_distance", [0, 3, 6, 7])
def test_close_hashes_are_all_found(max_distance: int) -> None:
    generator = np.random.default_rng(max_distance)
    hashes = generator.integers(0, 2**63, 300, dtype=np.uint64)
    for n in range(150):
        flips = generator.choice(64, generator.integers(0, 10), replace=False)
        mask = sum(1 << int(bit) for bit in flips)
        hashes[n + 150] = hashes[n] ^ np.uint64(mask)
    expected = [
        (i, j)
        for i in range(300)
        for j in range(i + 1, 300)
        if (int(hashes[i]) ^ int(hashes[j])).bit_count() <= max_distance
    ]
    first, second = _close_hashes(hashes, max_distance)
    assert list(zip(first.tolist(), second.tolist(), strict=True)) == expected
    assert expected


def test_a_hundred_thousand_hashes_are_compared_in_seconds() -> None:
    hashes = np.random.default_rng(0).integers(0, 2**63, 100_000, dtype=np.uint64)
    hashes[1::1000] = hashes[::1000] ^ np.uint64(0b1001001)
    hashes[50_000:60_000] = hashes[0]
    started = time.perf_counter()
    first, second = _close_hashes(hashes, 6)
    # 0.8 s where it was measured; comparing all with all would take minutes.
    assert time.perf_counter() - started < 10
    found = set(zip(first.tolist(), second.tolist(), strict=True))
    assert {(n, n + 1) for n in range(1000, 50_000, 1000)} <= found


def findings(
    folder: Path, splits: Mapping[str, Mapping[str, tuple[Annotation, ...]]]
) -> list[Finding]:
    """Return what is found about images that lie in a folder, given what each split lists."""
    tables = {
        split: table_of(
            folder, [ImageRecord(name, 320, 240, marks) for name, marks in names.items()]
        )
        for split, names in splits.items()
    }
    paths = {folder / name for names in splits.values() for name in names}
    return image_findings(tables, scan_images(sorted(paths), num_workers=0))


def test_equal_files_within_a_split(tmp_path: Path) -> None:
    for name, seed in {"a.png": 1, "b.png": 2, "c.png": 1, "d.png": 1}.items():
        picture(seed).save(tmp_path / name)
    (finding,) = findings(
        tmp_path, {"train": dict.fromkeys(["a.png", "b.png", "c.png", "d.png"], (BOX,))}
    )
    assert (finding.kind, finding.severity) == ("duplicate_images", "warning")
    assert [(p.split, p.image) for p in finding.places] == [("train", "c.png"), ("train", "d.png")]
    assert {(p.other.split, p.other.image) for p in finding.places if p.other} == {
        ("train", "a.png")
    }
    assert finding.figures == {"images": 2, "by_splits": {"train": 2}}


def test_equal_files_across_splits(tmp_path: Path) -> None:
    for name, seed in {"a.png": 1, "b.png": 2, "c.png": 1}.items():
        picture(seed).save(tmp_path / name)
    (finding,) = findings(
        tmp_path, {"train": {"a.png": (BOX,), "b.png": (BOX,)}, "val": {"c.png": (BOX,)}}
    )
    assert (finding.kind, finding.severity) == ("duplicate_images_across_splits", "error")
    (place,) = finding.places
    assert (place.split, place.image, place.detail) == ("val", "c.png", "identical files")
    assert place.other is not None
    assert (place.other.split, place.other.image) == ("train", "a.png")


def test_one_file_that_two_splits_list(tmp_path: Path) -> None:
    picture(1).save(tmp_path / "a.png")
    (finding,) = findings(tmp_path, {"train": {"a.png": (BOX,)}, "test": {"a.png": (BOX,)}})
    assert finding.kind == "duplicate_images_across_splits"
    assert finding.places[0].detail == "listed twice"


@pytest.mark.parametrize(
    ("marks", "detail"),
    [
        ((BOX,), "labelled objects: 1 here, 2 there"),
        ((), "labelled objects: 0 here, 2 there"),
        ((BOX, Annotation(0, OTHER.bbox)), "2 objects each, but different boxes or classes"),
        ((BOX, Annotation(1, (51.0, 40.0, 30.0, 20.0))), "2 objects each, but different"),
    ],
)
def test_equal_files_with_other_labels(
    tmp_path: Path, marks: tuple[Annotation, ...], detail: str
) -> None:
    picture(1).save(tmp_path / "a.png")
    picture(1).save(tmp_path / "b.png")
    found = findings(tmp_path, {"train": {"a.png": (BOX, OTHER), "b.png": marks}})
    assert [f.kind for f in found] == ["duplicate_images_labels_differ", "duplicate_images"]
    assert found[0].severity == "error"
    assert found[0].places[0].image == "b.png"
    assert detail in found[0].places[0].detail


def test_labels_in_another_order_are_the_same(tmp_path: Path) -> None:
    picture(1).save(tmp_path / "a.png")
    picture(1).save(tmp_path / "b.png")
    moved = Annotation(0, (10.3, 10.0, 29.8, 20.0))
    found = findings(tmp_path, {"train": {"a.png": (BOX, OTHER), "b.png": (OTHER, moved)}})
    assert [f.kind for f in found] == ["duplicate_images"]


def test_near_duplicates_within_and_across_splits(tmp_path: Path) -> None:
    again(picture(1)).save(tmp_path / "a.jpg")
    again(picture(1), 30).save(tmp_path / "b.jpg")
    again(picture(2)).save(tmp_path / "c.jpg")
    again(picture(2), 30).save(tmp_path / "d.jpg")
    across, within = findings(
        tmp_path, {"train": dict.fromkeys(["a.jpg", "b.jpg", "c.jpg"], ()), "val": {"d.jpg": ()}}
    )
    assert (across.kind, across.severity) == ("near_duplicate_images_across_splits", "warning")
    assert [(p.split, p.image, p.other and p.other.image) for p in across.places] == [
        ("val", "d.jpg", "c.jpg")
    ]
    assert (within.kind, within.severity) == ("near_duplicate_images", "note")
    assert [(p.image, p.other and p.other.image) for p in within.places] == [("b.jpg", "a.jpg")]
    assert "of 64 hash bits" in within.places[0].detail


@pytest.mark.benchmark_data
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("airport", []),
        # One field of view, seen twice at another focus; by eye, too, it is one picture.
        ("bccd", [("BloodImage_00037.jpg", "BloodImage_00038.jpg")]),
        ("chess", []),
        ("deeppcb", []),
        ("nuclei", []),
    ],
)
def test_no_false_positives_on_similar_real_images(
    shared_data: Path, name: str, expected: list[tuple[str, str]]
) -> None:
    folder = shared_data / name
    facts = scan_images(sorted([*folder.rglob("*.jpg"), *folder.rglob("*.png")]))
    assert [(pair.first.name, pair.second.name) for pair in near_pairs(facts)] == expected

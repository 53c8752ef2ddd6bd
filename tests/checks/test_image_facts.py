"""What a full look at images says, of sound ones and of each kind of damage; the findings on it."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from label_tables import table_of
from PIL import Image, ImageOps

from detfinetune.checks.findings import Finding
from detfinetune.checks.images import image_facts
from detfinetune.checks.images.image_content import ImageFacts, scan_image
from detfinetune.checks.images.image_facts import scan_images
from detfinetune.checks.images.image_findings import image_findings, image_paths
from detfinetune.checks.images.image_rules import IMAGE_RULES
from detfinetune.labels.dataset.records import ImageRecord
from detfinetune.labels.dataset.table import LabelTable
from detfinetune.labels.images.size_cache import file_stamps, read_cached
from detfinetune.labels.images.sizes import read_image_size

LONG_AGO = 1_600_000_000


def picture(seed: int = 0, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """Return a colour picture with large and small shapes; each seed gives another."""
    cells = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(cells).resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, image_format: str = "JPEG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


def deep(scale: float, kind: type = np.uint16) -> Image.Image:
    """Return a grey ramp of 0 to `scale` in more than 8 bits."""
    return Image.fromarray((np.linspace(0, scale, 120 * 160).reshape(120, 160)).astype(kind))


def with_alpha(hide: bool) -> Image.Image:
    """Return an image whose left half is transparent, with content there or a single colour."""
    image = picture(5).convert("RGBA")
    alpha = np.full((120, 160), 255, dtype=np.uint8)
    alpha[:, :80] = 0
    if not hide:
        image.paste((0, 0, 0), (0, 0, 80, 120))
    image.putalpha(Image.fromarray(alpha))
    return image


def exif(orientation: int) -> Image.Exif:
    block = Image.Exif()
    block[0x0112] = orientation
    return block


def animation(image_format: str) -> bytes:
    return encoded(picture(6), image_format, save_all=True, append_images=[picture(7), picture(8)])


JPEG = encoded(picture(4))
PNG = encoded(picture(4), "PNG")
CORRUPT_PNG = PNG[:60] + bytes(200) + PNG[260:]

FAULTS: dict[str, tuple[str, bytes, str, str]] = {
    # file name, content, kind, part of the detail
    "empty": ("f.jpg", b"", "image_empty", "the image file is empty"),
    "text": ("f.jpg", b"<html>not found</html>", "image_unreadable", "not an image"),
    "cut JPEG": ("f.jpg", JPEG[: len(JPEG) // 2], "image_truncated", "truncated"),
    "JPEG less its last bytes": ("f.jpg", JPEG[:-60], "image_truncated", "truncated"),
    "cut PNG": ("f.png", PNG[: len(PNG) // 2], "image_truncated", "truncated"),
    "broken PNG": ("f.png", CORRUPT_PNG, "image_corrupt", ""),
    "16 bits": ("f.png", encoded(deep(65535), "PNG"), "image_16bit", "16 bits, one"),
    "12 bits in a TIFF": ("f.tif", encoded(deep(4095), "TIFF"), "image_16bit", "16 bits"),
    "9 bits": ("f.png", encoded(deep(300), "PNG"), "image_16bit", "mode I;16"),
    "0 to 1": ("f.tif", encoded(deep(1, np.float32), "TIFF"), "image_16bit", "32 bits"),
    "hidden": ("f.png", encoded(with_alpha(True), "PNG"), "image_hidden_content", "50.0% of the"),
    "CMYK": ("f.jpg", encoded(picture(9).convert("CMYK")), "image_cmyk", "JPEG, CMYK"),
    "APNG": ("f.png", animation("PNG"), "image_animated", "3 frames or pages"),
    "WebP": ("f.webp", animation("WEBP"), "image_animated", "3 frames or pages"),
    "pages": ("f.tif", animation("TIFF"), "image_animated", "3 frames or pages"),
    "black": ("f.jpg", encoded(Image.new("RGB", (160, 120))), "image_constant", "grey level 0"),
    "grey": ("f.png", encoded(Image.new("L", (160, 120), 77), "PNG"), "image_constant", "level 77"),
    "rotated": ("f.jpg", encoded(picture(3), exif=exif(6)), "image_exif_rotated", "orientation 6"),
    "tiny": ("f.jpg", encoded(picture(3, (20, 160))), "image_size_extreme", "20x160: a side below"),
    "long": ("f.jpg", encoded(picture(3, (400, 40))), "image_size_extreme", "more than 8 times"),
    "huge": ("f.jpg", encoded(picture(3, (900, 700))), "image_size_extreme", "times the area"),
}


@pytest.fixture
def dataset(tmp_path: Path) -> Callable[..., dict[str, LabelTable]]:
    """Return a function that writes twelve sound images, and others, and returns their table."""

    def make(**others: bytes) -> dict[str, LabelTable]:
        for number in range(12):
            kind = "PNG" if number % 2 else "JPEG"
            name = f"sound{number:02d}.{kind.lower()}"
            (tmp_path / name).write_bytes(encoded(picture(100 + number), kind))
        for name, content in others.items():
            (tmp_path / name).write_bytes(content)
        names = sorted(path.name for path in tmp_path.iterdir())
        return {"train": table_of(tmp_path, [ImageRecord(name, 160, 120) for name in names])}

    return make


def find(tables: dict[str, LabelTable]) -> list[Finding]:
    return image_findings(tables, scan_images(image_paths(tables), num_workers=0))


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_found_in_its_file(
    dataset: Callable[..., dict[str, LabelTable]], fault: str
) -> None:
    name, content, kind, detail = FAULTS[fault]
    found = find(dataset(**{name: content}))
    assert {place.image for finding in found for place in finding.places} == {name}
    (finding,) = [finding for finding in found if finding.kind == kind]
    (place,) = finding.places
    assert (place.split, place.image) == ("train", name)
    assert detail in place.detail
    assert finding.figures["images"] == 1
    assert finding.title.startswith("1 image: ")
    assert finding.advice


def test_sound_images_give_no_finding(dataset: Callable[..., dict[str, LabelTable]]) -> None:
    grey = encoded(picture(1).convert("L"), "PNG")
    bilevel = encoded(picture(2).convert("1"), "PNG")
    palette = encoded(picture(3).convert("P"), "PNG")
    others = {"g.png": grey, "b.png": bilevel, "p.png": palette}
    others |= {"w.webp": encoded(picture(4), "WEBP"), "o.png": encoded(with_alpha(False), "PNG")}
    assert find(dataset(**others)) == []


def test_severities() -> None:
    severities = {rule.kind: rule.severity for rule in IMAGE_RULES}
    assert {kind for kind, severity in severities.items() if severity == "error"} == {
        "image_empty",
        "image_unreadable",
        "image_truncated",
        "image_corrupt",
    }
    assert severities["image_exif_rotated"] == "note"


def test_an_image_of_no_split_is_reported_too(tmp_path: Path) -> None:
    path = tmp_path / "images" / "a.jpg"
    path.parent.mkdir()
    path.write_bytes(b"")
    (finding,) = image_findings({}, scan_images([path]), tmp_path)
    assert (finding.kind, finding.places[0].image) == ("image_empty", "images/a.jpg")
    (finding,) = image_findings({}, scan_images([tmp_path / "missing.jpg"]))
    assert finding.kind == "image_unreadable"
    assert "No such file" in finding.places[0].detail


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_size_and_pixels_are_those_of_the_rotated_image(
    tmp_path: Path, image_format: str, orientation: int
) -> None:
    path = tmp_path / "a"
    path.write_bytes(encoded(picture(1, (320, 200)), image_format, exif=exif(orientation)))
    facts = scan_image(path)
    assert (facts.width, facts.height) == read_image_size(path)
    assert facts.orientation == orientation
    straight = tmp_path / "b.png"
    with Image.open(path) as image:
        ImageOps.exif_transpose(image).save(straight)
    other = scan_image(straight)
    assert (facts.hash ^ other.hash).bit_count() <= 4


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(40, 700), st.integers(40, 700)),
    mode=st.sampled_from(["L", "RGB", "CMYK"]),
    progressive=st.booleans(),
    share=st.floats(0.02, 1.0),
)
def test_a_reduced_decoding_finds_a_missing_end_as_a_full_one_does(
    tmp_path_factory: pytest.TempPathFactory,
    size: tuple[int, int],
    mode: str,
    progressive: bool,
    share: float,
) -> None:
    content = encoded(picture(1, size).convert(mode), progressive=progressive)
    content = content[: int(share * len(content))]
    path = tmp_path_factory.mktemp("cut") / "a.jpg"
    path.write_bytes(content)
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
        decodes = True
    except (OSError, SyntaxError):
        decodes = False
    assert scan_image(path).sound == decodes


def test_facts_of_a_photo(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    image = picture(1, (320, 240))
    path.write_bytes(encoded(image, quality=95))
    facts = scan_image(path)
    grey = np.asarray(image.convert("L"))
    assert (facts.format, facts.mode, facts.bits, facts.frames) == ("JPEG", "RGB", 8, 1)
    assert facts.mean == pytest.approx(grey.mean(), abs=1)
    assert facts.contrast == pytest.approx(grey.std(), abs=1)
    assert len(facts.thumbnail) == 32 * 32
    assert facts.hash.bit_count() == 32


def test_unchanged_images_come_from_the_cache(tmp_path: Path) -> None:
    paths = [tmp_path / f"{n}.png" for n in range(4)]
    for n, path in enumerate(paths):
        path.write_bytes(encoded(picture(n), "PNG"))
        os.utime(path, (LONG_AGO, LONG_AGO))
    first = scan_images(paths)
    for path in paths[1:]:
        path.write_bytes(b"\0" * path.stat().st_size)
        os.utime(path, (LONG_AGO, LONG_AGO))
    paths[0].write_bytes(encoded(picture(50), "PNG"))
    second = scan_images(paths)
    assert [second[path] == first[path] for path in paths] == [False, True, True, True]


def test_workers_say_the_same_as_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_facts, "_FEW", 2)
    paths = [tmp_path / f"{n}.jpg" for n in range(20)]
    for n, path in enumerate(paths):
        path.write_bytes(encoded(picture(n))[: None if n % 5 else 300])
    assert scan_images(paths, num_workers=2) == scan_images(paths, num_workers=0)


def _scan_or_die(path: Path) -> ImageFacts:
    if path.name == "deadly.jpg":
        os._exit(9)
    return scan_image(path)


def test_an_image_that_ends_its_process_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(image_facts, "_FEW", 2)
    monkeypatch.setattr(image_facts, "scan_image", _scan_or_die)
    paths = [tmp_path / name for name in ("a.jpg", "deadly.jpg", "z.jpg")]
    for path in paths:
        path.write_bytes(JPEG)
    facts = scan_images(paths, num_workers=2)
    assert [f.problem_kind for f in facts.values()] == ["", "image_corrupt", ""]
    assert "crashes the process" in facts[paths[1]].problem
    assert "a worker process crashed" in capsys.readouterr().err


@pytest.mark.benchmark_data
@pytest.mark.parametrize("name", ["airport", "chess", "coco_tiny", "label_formats"])
def test_real_photos_give_no_error_or_warning(shared_data: Path, name: str) -> None:
    paths = sorted((shared_data / name).rglob("*.jpg"))[:150]
    facts = scan_images(paths, num_workers=0)
    table = table_of(
        shared_data, [ImageRecord(str(p.relative_to(shared_data)), 1, 1) for p in paths]
    )
    found = image_findings({"train": table}, facts)
    assert [f for f in found if f.severity != "note"] == []
    assert {(f.width, f.height) for f in facts.values()} == set(map(read_image_size, paths))


def test_what_was_found_before_an_interruption_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / f"{n}.png" for n in range(5)]
    for n, path in enumerate(paths):
        path.write_bytes(encoded(picture(n), "PNG"))
        os.utime(path, (LONG_AGO, LONG_AGO))

    def stop_at_the_fourth(path: Path) -> ImageFacts:
        if path == paths[3]:
            raise KeyboardInterrupt
        return scan_image(path)

    with monkeypatch.context() as patch:
        patch.setattr(image_facts, "scan_image", stop_at_the_fourth)
        with pytest.raises(KeyboardInterrupt):
            scan_images(paths)
    stamps = file_stamps(paths)
    assert list(read_cached(image_facts._KIND, stamps)) == paths[:3]

"""Images that are turned, or refused: above the limit of megapixels, or not files at all."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from run_configs import run_config

from detfinetune.checks.images.image_content import scan_image
from detfinetune.config.schema import DataConfig
from detfinetune.data.load import decode_image, read_image
from detfinetune.data.loaders import build_test_loader
from detfinetune.data.pipeline import build_test_pipeline
from detfinetune.data.register import register_split
from detfinetune.errors import ConfigError, DataError
from detfinetune.inference.predictor import read_rgb
from detfinetune.labels.images.sizes import UnreadableImage, read_image_size, read_image_sizes
from detfinetune.labels.prepare import prepare_dataset
from detfinetune.parallel import Workers
from detfinetune.pictures import open_image

VARIABLE = "DETFINETUNE_MAX_MEGAPIXELS"


def problem(read: Callable[[Path], Any], path: Path) -> str:
    """What a reader says of a file that it refuses."""
    try:
        return str(read(path).problem)
    except (DataError, UnreadableImage) as error:
        return str(error)


@pytest.mark.parametrize("orientation", [6, 8])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_grey_tiff_is_turned(tmp_path: Path, kind: type, orientation: int) -> None:
    levels = np.arange(0, 240, 10, dtype=kind).reshape(4, 6)
    exif = Image.Exif()
    exif[0x112] = orientation
    Image.fromarray(levels).save(tmp_path / "a.tif", exif=exif)
    turned = np.rot90(levels, {6: -1, 8: 1}[orientation])
    found = decode_image(tmp_path / "a.tif", "RGB", (0, 255))
    assert found[:, :, 0].tolist() == turned.tolist()
    assert read_image_size(tmp_path / "a.tif") == (4, 6)


def read_record(path: Path) -> Any:
    return read_image({"file_name": str(path), "width": 200, "height": 100}, "RGB")


READERS = [read_image_size, scan_image, open_image, read_rgb, read_record]


@pytest.mark.parametrize("read", READERS)
def test_an_image_above_the_limit_names_limit_and_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Path], Any]
) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (200, 100)).save(path)
    monkeypatch.setenv(VARIABLE, "0.019")
    said = problem(read, path)
    assert "more than the limit of 0.019: cut it into tiles, or set" in said
    assert f"{VARIABLE}=1" in said
    monkeypatch.setenv(VARIABLE, "0.04")
    read(path)


@pytest.mark.filterwarnings("ignore:Image size")
def test_the_usual_limit_is_179_megapixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    path = tmp_path / "a.png"
    Image.new("1", (20_000, 10_000)).save(path, compress_level=1)
    assert problem(read_image_size, path) == (
        "the image has 200 megapixels, more than the limit of 179: cut it into tiles, or set the "
        f"environment variable {VARIABLE}=200"
    )
    monkeypatch.setenv(VARIABLE, "200")
    assert read_image_size(path) == (20_000, 10_000)


def test_the_limit_holds_in_worker_processes(
    toy_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = prepare_dataset(DataConfig(root=toy_dataset))
    name = register_split(dataset, "val")
    pipeline = build_test_pipeline(run_config(), dataset.classes)
    images = sorted((toy_dataset / "images" / "val").iterdir())[:2]
    monkeypatch.setenv(VARIABLE, "0.004")
    with pytest.raises(DataError, match=r"the limit of 0\.004"):
        next(iter(build_test_loader(name, pipeline, num_workers=1)))
    with Workers(2) as workers:
        facts = list(workers.map(scan_image, images))
    assert all("the limit of 0.004" in fact.problem for fact in facts)


def test_a_lower_limit_holds_for_cached_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(201)]
    for path in paths:
        Image.new("1", (20, 10)).save(path)
        os.utime(path, (1_600_000_000, 1_600_000_000))
    assert read_image_sizes(paths)[paths[0]] == (20, 10)
    monkeypatch.setenv(VARIABLE, "0.0004")
    assert {type(size) for size in read_image_sizes(paths).values()} == {tuple}
    monkeypatch.setenv(VARIABLE, "0.00019")
    assert {type(size) for size in read_image_sizes(paths).values()} == {UnreadableImage}


@pytest.mark.parametrize("value", ["many", "0", "-3", "nan", "inf"])
def test_a_limit_that_is_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    Image.new("RGB", (20, 10)).save(tmp_path / "a.png")
    monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(ConfigError, match=rf"^{VARIABLE}={value}: not a positive number\. Set it"):
        read_rgb(tmp_path / "a.png")


@pytest.mark.parametrize("read", READERS)
def test_a_named_pipe_is_not_read(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    os.mkfifo(tmp_path / "a.jpg")

    def too_long(*_: object) -> None:
        raise TimeoutError("blocked")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(10)
    try:
        assert "not a regular file" in problem(read, tmp_path / "a.jpg")
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)

"""The cache of what was read from images: nothing is opened twice, nothing stale is believed."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from detfinetune.files import cache_dir
from detfinetune.labels.images import size_cache
from detfinetune.labels.images.size_cache import file_stamps, read_cached, write_cached
from detfinetune.labels.images.sizes import UnreadableImage, read_image_sizes

LONG_AGO = 1_600_000_000


def make_images(folder: Path, number: int) -> list[Path]:
    """Write images of which each has a width of its own, last changed long ago."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{n:03d} ü.png" for n in range(number)]
    for n, path in enumerate(paths):
        Image.new("L", (n + 1, 5)).save(path)
        os.utime(path, (LONG_AGO, LONG_AGO))
    return paths


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return make_images(tmp_path / "images", 220)


def store_path() -> Path:
    (path,) = cache_dir().glob("images-*.sqlite")
    return path


def warnings_in(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("warning: ")]


def test_unchanged_images_are_not_opened_again(paths: list[Path]) -> None:
    first = read_image_sizes(paths)
    assert [size for size in first.values() if not isinstance(size, UnreadableImage)][:2] == [
        (1, 5),
        (2, 5),
    ]
    # Other bytes under the same size and time: only reading them could tell.
    for path in paths:
        path.write_bytes(b"\0" * path.stat().st_size)
        os.utime(path, (LONG_AGO, LONG_AGO))
    assert read_image_sizes(paths) == first
    assert list(read_image_sizes(paths)) == paths


@pytest.mark.parametrize("change", ["time", "bytes"])
def test_a_changed_image_is_read_again(paths: list[Path], change: str) -> None:
    read_image_sizes(paths)
    Image.new("L", (999, 5)).save(paths[3])
    if change == "bytes":
        os.utime(paths[3], (LONG_AGO, LONG_AGO))
    sizes = read_image_sizes(paths)
    assert sizes[paths[3]] == (999, 5)
    assert sizes[paths[4]] == (5, 5)


def test_an_unreadable_image_is_tried_each_time(paths: list[Path]) -> None:
    sound = paths[0].read_bytes()
    paths[0].write_bytes(b"x" * len(sound))
    os.utime(paths[0], (LONG_AGO, LONG_AGO))
    assert isinstance(read_image_sizes(paths)[paths[0]], UnreadableImage)
    paths[0].write_bytes(sound)
    os.utime(paths[0], (LONG_AGO, LONG_AGO))
    assert read_image_sizes(paths)[paths[0]] == (1, 5)


def test_a_file_that_is_not_there(paths: list[Path]) -> None:
    missing = paths[0].with_name("missing.png")
    sizes = read_image_sizes([*paths, missing])
    assert isinstance(sizes[missing], UnreadableImage)
    assert "No such file" in str(sizes[missing])


def test_images_just_written_are_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("L", (3, 5)).save(path)
    stamps = file_stamps([path])
    write_cached("size-1", stamps, {path: "3 5"})
    assert read_cached("size-1", stamps) == {}


def test_relative_and_absolute_paths_are_one(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(paths[0].parent)
    relative = Path(paths[0].name)
    write_cached("size-1", file_stamps([paths[0]]), {paths[0]: "1 5"})
    assert read_cached("size-1", file_stamps([relative])) == {relative: "1 5"}
    assert read_cached("other-1", file_stamps([relative])) == {}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_a_name_that_is_not_utf8(paths: list[Path]) -> None:
    odd = Path(os.fsdecode(bytes(paths[0].parent) + b"/\xe4.png"))
    paths[0].rename(odd)
    sizes = read_image_sizes([odd, *paths[1:]])
    assert sizes[odd] == (1, 5)
    assert read_image_sizes([odd, *paths[1:]]) == sizes


def test_a_damaged_store_is_replaced(paths: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    first = read_image_sizes(paths)
    store_path().write_bytes(b"this is no database" * 1000)
    assert read_image_sizes(paths) == first
    assert "this image cache is damaged" in capsys.readouterr().err
    assert len(read_cached("size-1", file_stamps(paths))) == len(paths)
    assert "warning" not in capsys.readouterr().err


def test_a_store_cut_short_costs_no_more_than_a_warning(paths: list[Path]) -> None:
    first = read_image_sizes(paths)
    path = store_path()
    whole = path.read_bytes()
    for length in range(0, len(whole), 1500):
        path.write_bytes(whole[:length] + b"\x07" * 900)
        assert read_image_sizes(paths) == first


def test_a_locked_store_is_ignored(
    paths: list[Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(size_cache, "_SECONDS_TO_WAIT", 0.05)
    first = read_image_sizes(paths)
    holder = sqlite3.connect(store_path(), isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    assert read_image_sizes(paths) == first
    assert "locked" in capsys.readouterr().err
    holder.execute("ROLLBACK")
    holder.close()


def test_a_cache_folder_that_cannot_be_made(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = paths[0] / "below a file"
    monkeypatch.setenv("DETFINETUNE_CACHE", str(folder))
    assert read_image_sizes(paths)[paths[1]] == (2, 5)
    (warning,) = warnings_in(capsys.readouterr().err)
    assert f"{folder}: the cache cannot be written (Not a directory)" in warning
    assert "set DETFINETUNE_CACHE to another folder" in warning


def test_a_full_disk_costs_one_warning(
    paths: list[Path], file_size_limit: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    file_size_limit(2048)
    assert read_image_sizes(paths)[paths[1]] == (2, 5)
    (warning,) = warnings_in(capsys.readouterr().err)
    assert f"{cache_dir()}/" in warning
    assert "set DETFINETUNE_CACHE to another folder" in warning


def test_the_oldest_rows_are_forgotten_above_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(size_cache, "MAX_BYTES", 1_000_000)
    stamps = [
        {tmp_path / str(folder) / f"{n:05d}.jpg": (n, LONG_AGO) for n in range(2000)}
        for folder in range(6)
    ]
    for group in stamps:
        write_cached("size-1", group, dict.fromkeys(group, "640 480"))
    kept = [len(read_cached("size-1", group)) for group in stamps]
    assert kept[0] == 0
    assert kept[-1] == 2000
    assert store_path().stat().st_size < 2_000_000


def _write_many(folder: str) -> None:
    for turn in range(10):
        stamps = {Path(folder) / f"{turn}-{n}.jpg": (n, LONG_AGO) for n in range(300)}
        write_cached("size-1", stamps, dict.fromkeys(stamps, "640 480"))


def test_several_processes_write_at_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    spawn = multiprocessing.get_context("spawn")
    folders = [str(tmp_path / name) for name in "abc"]
    workers = [spawn.Process(target=_write_many, args=(folder,)) for folder in folders]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert "warning" not in capfd.readouterr().err
    stamps = {
        Path(folder) / f"{turn}-{n}.jpg": (n, LONG_AGO)
        for folder in folders
        for turn in range(10)
        for n in range(300)
    }
    assert len(read_cached("size-1", stamps)) == 9000


def test_a_hundred_thousand_rows_are_kept(tmp_path: Path) -> None:
    stamps = {tmp_path / f"{n:06d}.jpg": (n, LONG_AGO) for n in range(100_000)}
    write_cached("size-1", stamps, dict.fromkeys(stamps, "640 480"))
    assert len(read_cached("size-1", stamps)) == 100_000

"""Files and folders appear whole or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from detfinetune import files
from detfinetune.errors import CacheError, OutputExistsError


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    files.write_json(target, {"x": 1})
    with pytest.raises(ValueError, match="Out of range"):
        files.write_json(target, {"x": float("nan")})

    def fail() -> None:
        with files.atomic_path(target) as temporary:
            temporary.write_text("half", encoding="utf-8")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert target.read_text(encoding="utf-8") == '{\n  "x": 1\n}\n'
    assert list(tmp_path.iterdir()) == [target]


def test_new_files_have_the_usual_permissions(tmp_path: Path) -> None:
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    files.write_text(tmp_path / "atomic", "text")
    assert (tmp_path / "atomic").stat().st_mode == ordinary.stat().st_mode


def test_a_folder_is_swapped_in_whole(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with files.atomic_folder(target) as folder:
        (folder / "one").write_text("1", encoding="utf-8")
        assert not target.exists()
    with pytest.raises(OutputExistsError, match="overwrite=true"), files.atomic_folder(target):
        pass
    with files.atomic_folder(target, overwrite=True) as folder:
        (folder / "two").write_text("2", encoding="utf-8")
        assert os.listdir(target) == ["one"]  # noqa: PTH208
    assert [file.name for file in target.iterdir()] == ["two"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").touch()

    def fail() -> None:
        with files.atomic_folder(target, overwrite=True) as folder:
            (folder / "new").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [file.name for file in target.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [target]


OWNER = """
import sys, time
from pathlib import Path
from detfinetune import files
with files.atomic_folder(Path(sys.argv[1])) as folder:
    (folder / "big").write_text("x")
    print("writing", flush=True)
    time.sleep(60)
"""


def _age(folder: Path, seconds: float) -> None:
    then = time.time() - seconds
    for path in folder.iterdir():
        os.utime(path, (then, then))


def test_what_a_killed_process_left_is_removed_and_a_living_ones_is_not(tmp_path: Path) -> None:
    target = tmp_path / "out [1]"
    owners = []
    for _ in range(2):
        command = [sys.executable, "-c", OWNER, str(target)]
        owners.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert owners[-1].stdout.readline() == "writing\n"
    (tmp_path / ".other.x.part").mkdir()
    owners[0].kill()
    owners[0].communicate()
    with files.atomic_folder(tmp_path / "elsewhere" / "out [1]"):
        pass
    try:
        assert len(list(tmp_path.glob(".out*.part"))) == 2
        _age(tmp_path, 3600)
        with files.atomic_folder(target) as folder:
            # One of the living process, one of this one.
            assert len(list(tmp_path.glob(".out*.part"))) == 2
            (folder / "mine").touch()
    finally:
        owners[1].kill()
        owners[1].communicate()
    assert [path.name for path in target.iterdir()] == ["mine"]
    _age(tmp_path, 3600)
    with files.atomic_folder(target, overwrite=True):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".other.x.part", "elsewhere", "out [1]",
    ]  # fmt: skip


def test_old_unfinished_files_are_removed(tmp_path: Path) -> None:
    for name in (".a.json.old.part", ".a.json.new.part", ".b.json.old.part"):
        (tmp_path / name).touch()
        days = 2 if "old" in name else 0.5
        os.utime(tmp_path / name, (time.time() - days * 86_400,) * 2)
    files.write_text(tmp_path / "a.json", "text")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".a.json.new.part", ".b.json.old.part", "a.json",
    ]  # fmt: skip


def test_an_output_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "out"

    def write() -> None:
        with files.atomic_folder(target) as folder:
            (folder / "mine").touch()
            target.mkdir()
            (target / "theirs").touch()

    with pytest.raises(OutputExistsError, match="exists already"):
        write()
    assert [path.name for path in target.iterdir()] == ["theirs"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_locked_folder_is_refused(tmp_path: Path) -> None:
    with files.locked(tmp_path / "a"):
        with pytest.raises(OutputExistsError, match=r"a: another process is writing"):
            files.locked(tmp_path / "a").__enter__()
        with files.locked(tmp_path / "b"):
            pass
    with files.locked(tmp_path / "a"):
        pass


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    with files.atomic_folder(target) as folder:
        (folder / "new").touch()
    assert [file.name for file in target.iterdir()] == ["new"]


def test_cache_folder_follows_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DETFINETUNE_CACHE", str(tmp_path / "mine"))
    assert files.cache_dir("a", "b") == tmp_path / "mine" / "a" / "b"
    monkeypatch.delenv("DETFINETUNE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert files.cache_dir() == tmp_path / "xdg" / "detfinetune"
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(CacheError, match=r"file/detfinetune: .*\(Not a directory\).*DETFINETUNE_C"):
        files.cache_dir()


def test_only_an_earlier_output_of_the_same_tool_is_replaced(tmp_path: Path) -> None:
    data = tmp_path / "out" / "data"
    data.mkdir(parents=True)
    with pytest.raises(OutputExistsError, match=r"contains .*data, which would be"):
        files.check_replaceable(tmp_path / "out", "made.json", keep=[data])
    with pytest.raises(
        OutputExistsError, match=r"was not written by this tool \(it has no made\.json"
    ):
        files.check_replaceable(tmp_path / "out", "made.json", keep=[])
    (tmp_path / "out" / "made.json").touch()
    files.check_replaceable(tmp_path / "out", "made.json", keep=[tmp_path / "elsewhere"])
    files.check_replaceable(tmp_path / "new", "made.json", keep=[data])
    files.check_replaceable(data, "made.json", keep=[])


def test_an_output_that_cannot_be_created_is_reported_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(OutputExistsError, match=r"notes\.txt is a file\. Choose another"):
        files.check_output(tmp_path / "notes.txt" / "out" / "deeper")
    files.check_output(tmp_path / "new" / "deeper")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_output_without_write_permission_is_reported_before_the_work(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    with pytest.raises(OutputExistsError, match=r"no permission to write to .*closed"):
        files.check_output(closed / "out")


def test_json_of_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a.json", {"name": "\udce4ä"})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"name": "\udce4ä"}


def test_the_hash_of_files_is_that_of_their_bytes_in_order(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "bc").write_bytes(b"bc")
    # Of "abc", from FIPS 180-2.
    assert files.sha256(tmp_path / "a", tmp_path / "bc") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )

"""Which files are found below a folder, with links of every kind in it."""

from __future__ import annotations

from pathlib import Path

from detfinetune.labels.discovery.folders import names_below


def make(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_links_to_folders_above_are_not_followed(tmp_path: Path) -> None:
    root = make(tmp_path / "data", "a/1.jpg", "a/b/2.jpg")
    (root / "a" / "b" / "self").symlink_to(root / "a" / "b")
    (root / "a" / "b" / "top").symlink_to(root)
    (root / "a" / "b" / "above").symlink_to(tmp_path)
    assert list(names_below(root)) == ["a/1.jpg", "a/b/2.jpg"]


def test_folders_that_link_to_each_other_are_visited_once(tmp_path: Path) -> None:
    root = make(tmp_path / "data", "a/1.jpg", "b/2.jpg")
    (root / "a" / "b").symlink_to(root / "b")
    (root / "b" / "a").symlink_to(root / "a")
    assert list(names_below(root)) == ["a/1.jpg", "b/2.jpg"]


def test_a_folder_that_is_linked_is_found_at_its_own_place(tmp_path: Path) -> None:
    root = make(tmp_path / "data", "z/1.jpg")
    (root / "a").symlink_to(root / "z")
    assert list(names_below(root)) == ["z/1.jpg"]


def test_folders_elsewhere_are_visited_once_through_their_links(tmp_path: Path) -> None:
    elsewhere = make(tmp_path / "elsewhere", "1.jpg", "deep/2.jpg")
    root = make(tmp_path / "data", "3.jpg", ".store/4.jpg")
    (root / "a").symlink_to(elsewhere / "deep")
    (root / "b").symlink_to(elsewhere)
    (root / "c").symlink_to(elsewhere)
    (root / "stored").symlink_to(root / ".store")
    (elsewhere / "back").symlink_to(root)
    assert list(names_below(root)) == ["3.jpg", "a/2.jpg", "b/1.jpg", "stored/4.jpg"]


def test_links_to_nothing_are_files(tmp_path: Path) -> None:
    """What reads them reports them."""
    root = make(tmp_path / "data", "1.jpg")
    (root / "2.jpg").symlink_to(root / "gone.jpg")
    (root / "3.jpg").symlink_to(root / "3.jpg")
    assert list(names_below(root)) == ["1.jpg", "2.jpg", "3.jpg"]


def test_runs_are_left_out(tmp_path: Path) -> None:
    """Of a training that was started within the folder."""
    run = "environment.json", "ledger.csv", "images.csv", "pictures/val_worst_first.jpg"
    root = make(tmp_path / "data", "1.jpg", *(f"runs/data/{name}" for name in run))
    make(root, "lists/images.csv", "lists/2.jpg")
    assert list(names_below(root)) == ["1.jpg", "lists/2.jpg", "lists/images.csv"]

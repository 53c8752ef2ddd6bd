"""Groups come from names or a table; what looks like frames, tiles or copies is recognised."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from detfinetune.errors import ConfigError, DataError
from detfinetune.labels.splits.groups import group_names, groups_from_table, suggest_groups

FRAMES = ["a/lake_0001.jpg", "a/lake_0002.jpg", "a/pond_0001.jpg", "b/photo.jpg"]


@pytest.mark.parametrize(
    ("pattern", "groups"),
    [
        (r"([^/]+)_\d+", ("lake", "lake", "pond", "b/photo.jpg")),
        (r"lake|pond", ("lake", "lake", "pond", "b/photo.jpg")),
        (r"(a)/(?P<group>\w+)_", ("lake", "lake", "pond", "b/photo.jpg")),
        (r"(lake)|(pond|photo)", ("lake", "lake", "pond", "photo")),
        (r"^(\w)/", ("a", "a", "a", "b")),
        (r"(x*)(?=lake)|^b", ("a/lake_0001.jpg", "a/lake_0002.jpg", "a/pond_0001.jpg", "b")),
    ],
)
def test_the_first_capture_or_the_match_names_the_group(
    pattern: str, groups: tuple[str, ...]
) -> None:
    found = group_names(FRAMES, pattern)
    assert found.of == groups
    assert found.alone == tuple(name for name in groups if name in FRAMES)
    assert found.num_groups == len(set(groups))


def test_the_summary_counts_images_without_a_group() -> None:
    assert group_names(FRAMES, "lake|pond").summary == (
        "4 images in 3 groups, the largest 'lake' (2); 1 images have no group and are divided one "
        "by one, such as b/photo.jpg"
    )
    assert group_names([], "x").summary == "no images"


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (
            "(lake",
            r"'\(lake': not a regular expression: .* at character 1\. .*\^\(\.\+\)_\[0-9\]\+",
        ),
        ("river", r"matches none of the images, such as a/lake_0001\.jpg.*For frames such as"),
        (r"()|\d*$", "matches none of the images"),
        (r"\.jpg", r"all 4 images are in one group, '\.jpg'.*For frames such as"),
    ],
)
def test_an_expression_that_is_no_use(pattern: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"data\.split_groups=.*{message}"):
        group_names(FRAMES, pattern)


def test_a_single_image_is_one_group() -> None:
    assert group_names(["lake_1.jpg"], "lake").of == ("lake",)


# --- tables --------------------------------------------------------------------------------------


def test_a_table_by_path_or_name(tmp_path: Path) -> None:
    path = tmp_path / "groups.csv"
    path.write_text(
        "group;file_name;note\nL;lake_0001.jpg;\nL;a\\lake_0002.jpg;x\n;photo;\nQ;q.jpg;"
    )
    found = groups_from_table(path, FRAMES)
    assert found.of == ("L", "L", "a/pond_0001.jpg", "b/photo.jpg")
    assert found.alone == ("a/pond_0001.jpg", "b/photo.jpg")


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("file_name,grup\na/lake_0001.jpg,1", DataError, r":1: there is no column 'group'\. Did "
         r"you mean 'grup'\?"),
        ("", DataError, ":1: there is no column 'file_name'"),
        ("image,group\na.jpg,1\n./a.jpg,2", DataError, r":3: 'a\.jpg' is in group '2' here and in "
         "'1' in line 2"),
        ("file_name,group\na.jpg,1\nb.jpg", DataError, ":3: 1 cells, and the heading has 2"),
        ("file_name,group\na.jpg,1\nb.jpg,2", DataError, r"none of the 2 images.*a\.jpg; the data "
         r"has a/lake_0001\.jpg"),
        ('file_name,group\n"a"b.jpg,1', DataError, ":2: this row cannot be read"),
        ("file_name,group\na/lake_0001.jpg,1\na/lake_0002.jpg,1\na/pond_0001.jpg,1\nphoto,1",
         ConfigError, "'group' puts all 4 images into one group, '1'"),
    ],
)  # fmt: skip
def test_a_table_that_is_no_use(
    tmp_path: Path, text: str, error: type[Exception], message: str
) -> None:
    path = tmp_path / "groups.csv"
    path.write_text(text)
    with pytest.raises(error, match=rf"groups\.csv.*{message}"):
        groups_from_table(path, FRAMES)


# --- suggestions ---------------------------------------------------------------------------------

SERIES = {
    "frames of films": (
        [f"lake_video_{name}_{i:04d}.jpg" for name in "ab" for i in (3, 90, 712, 5000)],
        {"lake_video_a_", "lake_video_b_"},
    ),
    "numbered runs": (
        [f"run{run}/run{run}_{i * 10:05d}.png" for run in (1, 2, 13) for i in range(6)],
        {"run1/run1_", "run2/run2_", "run13/run13_"},
    ),
    "frames in folders": (
        [f"seq{seq:02d}/{i:06d}.jpg" for seq in (1, 2) for i in range(5)],
        {"seq01/", "seq02/"},
    ),
    "DOTA tiles": (
        [f"P{n:04d}__1__{x}___{y}.png" for n in (0, 7) for x in (0, 824) for y in (0, 824)],
        {"P0000", "P0007"},
    ),
    "tiles": (
        [f"scene-{n}_{x}_{y}.tif" for n in "ab" for x in (0, 512) for y in (0, 512, 1024)],
        {"scene-a", "scene-b"},
    ),
    "tiles by row and column": (
        [f"{n}_r{x}_c{y}.tif" for n in ("dam", "weir") for x in range(3) for y in range(2)],
        {"dam", "weir"},
    ),
    "Roboflow's copies": (
        [f"{folder}/cat{n}_jpg.rf.{copy * 32}.jpg"
         for n, folder in enumerate(("train", "train", "valid")) for copy in "a1f"],
        {"cat0", "cat1", "cat2"},
    ),
    "Roboflow's frames": (
        [f"{film}_mp4-{i}_jpg.rf.{i:032x}.jpg" for film in ("walk", "ride") for i in range(40, 60)],
        {"walk_mp4-", "ride_mp4-"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", SERIES)
def test_series_are_recognised(kind: str) -> None:
    names, groups = SERIES[kind]
    pattern = suggest_groups(names)
    assert pattern is not None
    found = group_names(names, pattern)
    assert set(found.of) == groups
    assert not found.alone
    # As it is to be given on the command line, once the shell has taken its own quotes off.
    (override,) = OverridesParser.create().parse_overrides([f'data.split_groups="{pattern}"'])
    assert override.value() == pattern


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["a.jpg"],
        [f"BloodImage_{i:05d}.jpg" for i in range(400)],
        [f"{i:012d}.jpg" for i in range(0, 90_000, 977)],
        [f"{year}_{i:06d}.jpg" for year in (2007, 2008) for i in (27, 32, 250, 333, 904, 1120)],
        [f"{name}_{i}.jpg" for name in ("crack", "dent", "scratch") for i in range(30)],
        [f"{phone}_20260703_1{i * 173:05d}.jpg" for phone in ("IMG", "PXL") for i in range(30)],
        [f"photo{i}_jpg.rf.{i:032x}.jpg" for i in range(30)],
        [f"P{i:04d}__1__0___0.png" for i in range(30)],
        [f"site{n}_{i**3:06d}.jpg" for n in (1, 2, 3) for i in range(10, 40)],
        [f"{n}_{x}_{y}.jpg" for n in "ab" for x in "12" for y in "12"]
        + [f"photo{i}.jpg" for i in range(9)],
        [f"one_video_{i:04d}.jpg" for i in range(30)],
        [f"{split}2017/{i:012d}.jpg" for split in ("train", "val") for i in range(9, 90_000, 977)],
    ],
    ids=lambda names: names[0] if names else "none",
)  # fmt: skip
def test_independent_images_are_left_alone(names: list[str]) -> None:
    assert suggest_groups(names) is None


@pytest.mark.benchmark_data
@pytest.mark.parametrize("name", ["airport", "bccd", "chess", "deeppcb", "nuclei", "coco_tiny"])
def test_no_false_hint_on_real_names(shared_data: Path, name: str) -> None:
    folder = shared_data / name
    names = [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*"))
        if path.suffix in {".jpg", ".png"}
    ]
    assert len(names) > 100
    assert suggest_groups(names) is None

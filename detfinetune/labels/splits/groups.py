"""Groups of images that stay in one split, against data leakage.

Frames of one video, tiles of one scene and augmented copies of one photo are nearly the same
picture. Spread over train and val, they make AP look far better than it is.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from detfinetune.errors import ConfigError, DataError
from detfinetune.labels.csv_text import read_image_rows
from detfinetune.labels.discovery.match_images import match_listed

_EXAMPLE = (
    "For frames such as lake_0001.jpg and lake_0002.jpg give, in quotes inside the shell's quotes, "
    "'data.split_groups=\"^(.+)_[0-9]+[.]\"': what stands in the brackets names the group."
)


@dataclass(frozen=True)
class ImageGroups:
    """The group of each image."""

    of: tuple[str, ...]
    """Name of each image's group, in the images' order."""

    alone: tuple[str, ...]
    """Images without a group; each is its own group, named by its path."""

    @property
    def num_groups(self) -> int:
        return len(set(self.of))

    @property
    def summary(self) -> str:
        """One line for the user: groups, the largest, and images without one."""
        if not self.of:
            return "no images"
        largest, most = min(Counter(self.of).items(), key=lambda item: (-item[1], item[0]))
        text = (
            f"{len(self.of)} images in {self.num_groups} groups, the largest '{largest}' ({most})"
        )
        if self.alone:
            text += (
                f"; {len(self.alone)} images have no group and are divided one by one, such as "
                f"{self.alone[0]}"
            )
        return text


def group_names(names: Sequence[str], pattern: str) -> ImageGroups:
    """Group images by a regular expression that is searched for in their paths.

    The text of the group called `group`, else of the first capture group that took part, else of
    the whole match names the group. An image that the expression does not match is its own
    group.

    Args:
        names: paths of the images, with forward slashes.
        pattern: `data.split_groups`, in Python's syntax.

    Raises:
        ConfigError: the expression is invalid, matches no image, or puts all into one group.
    """
    key = f"data.split_groups={pattern!r}"
    try:
        expression = re.compile(pattern)
    except re.error as error:
        where = "" if error.pos is None else f" at character {error.pos + 1}"
        raise ConfigError(
            f"{key}: not a regular expression: {error.msg}{where}. {_EXAMPLE}"
        ) from error
    found = [_named(expression, name) for name in names]
    alone = tuple(name for name, group in zip(names, found, strict=True) if not group)
    groups = tuple(group or name for name, group in zip(names, found, strict=True))
    if names and len(alone) == len(names):
        raise ConfigError(f"{key}: this matches none of the images, such as {names[0]}. {_EXAMPLE}")
    if len(names) > 1 and len(set(groups)) == 1:
        raise ConfigError(
            f"{key}: all {len(names)} images are in one group, '{groups[0]}', which cannot "
            f"be divided. {_EXAMPLE}"
        )
    return ImageGroups(groups, alone)


def _named(expression: re.Pattern[str], name: str) -> str:
    """Return the group of an image; empty where there is none."""
    match = expression.search(name)
    if match is None:
        return ""
    if "group" in expression.groupindex:
        return match["group"] or ""
    captured = next((text for text in match.groups() if text is not None), None)
    return match[0] if captured is None else captured


def groups_from_table(path: Path, names: Sequence[str]) -> ImageGroups:
    """Group images by a CSV file with the columns `file_name` and `group`.

    An image that is not listed, or has an empty cell, is its own group.

    Args:
        path: the CSV file; its first line names the columns, others may be there too.
        names: paths of the images, with forward slashes.

    Raises:
        DataError: not such a table, an image with two groups, or none of the images is in it.
        ConfigError: the table puts all images into one group.
    """
    listed: dict[str, tuple[str, int]] = {}
    for row in read_image_rows(path, required=("file_name", "group"), others_allowed=True):
        name, group = row.file_name, row.cells["group"]
        first, line = listed.setdefault(name, (group, row.line))
        if first != group:
            raise DataError(
                f"{path}:{row.line}: '{name}' is in group '{group}' here and in '{first}' in line "
                f"{line}. Leave one."
            )
    matched = match_listed(list(listed), names)
    if names and not matched.listed_as:
        raise DataError(
            f"{path}: none of the {len(listed)} images that it lists is there. It lists "
            f"{next(iter(listed), 'nothing')}; the data has {names[0]}."
        )
    found = [
        listed[matched.listed_as[name]][0] if name in matched.listed_as else "" for name in names
    ]
    groups = ImageGroups(
        of=tuple(group or name for name, group in zip(names, found, strict=True)),
        alone=tuple(name for name, group in zip(names, found, strict=True) if not group),
    )
    if len(names) > 1 and groups.num_groups == 1:
        raise ConfigError(
            f"{path}: column 'group' puts all {len(names)} images into one group, "
            f"'{groups.of[0]}', which cannot be divided. Give smaller groups, or "
            "leave data.split_groups out."
        )
    return groups


# --- a guess from the names -----------------------------------------------------------------------

_ROBOFLOW_END = r"_[A-Za-z]+[.]rf[.][0-9A-Za-z]+[.]"
_COPIES = rf"([^/]+){_ROBOFLOW_END}"
_DOTA_TILES = r"^(.+?)__[0-9.]+__-?[0-9]+___-?[0-9]+[.]"
_TILES = r"^(.+?)[-_][A-Za-z]{0,3}[0-9]+[-_][A-Za-z]{0,3}[0-9]+[.][A-Za-z]+$"
_TILE_PLACE = r"^(.+?)[-_][A-Za-z]{0,3}([0-9]+)[-_][A-Za-z]{0,3}([0-9]+)[.][A-Za-z]+$"
_FRAMES = r"^(.*[^0-9])[0-9]+[.][A-Za-z]+$"
_FRAMES_ROBOFLOW = rf"^(.*[^0-9])[0-9]+{_ROBOFLOW_END}"

_FRAME_WORDS = re.compile(
    r"frame|video|clip|movie|(?<![a-z])(mp4|avi|mov|vid|seq|sequence|cam|camera)(?![a-z])", re.I
)
_FEWEST_FRAMES = 3


def suggest_groups(names: Sequence[str]) -> str | None:
    """Return an expression for `data.split_groups` where the names look like parts of a series.

    Known are augmented copies as Roboflow names them, tiles (DOTA's `P0001__1__0___824.png`, and
    `scene_0_512.png` where the numbers form grids) and frames (`lake_video_0001.jpg`, or several
    series such as `run1_0001.jpg` and `run2_0001.jpg` without large gaps). Numbered names alone
    show nothing: `BloodImage_00001.jpg` and the years of Pascal VOC are independent photos.
    """
    for pattern, fits in (
        (_FRAMES_ROBOFLOW, _looks_like_frames),
        (_COPIES, _any_together),
        (_DOTA_TILES, _any_together),
        (_TILES, _looks_like_grids),
        (_FRAMES, _looks_like_frames),
    ):
        members: dict[str, list[str]] = defaultdict(list)
        expression = re.compile(pattern)
        for name in names:
            if match := expression.search(name):
                members[match[1]].append(name)
        alone = len(names) - sum(map(len, members.values()))
        if len(members) + alone > 1 and fits(members, len(names)):
            return pattern
    return None


def _any_together(members: dict[str, list[str]], total: int) -> bool:
    return any(len(names) > 1 for names in members.values())


def _looks_like_grids(members: dict[str, list[str]], total: int) -> bool:
    """Whether most images are in groups whose two numbers repeat, as rows and columns do."""
    in_grids = []
    for names in members.values():
        places = [match.groups() for name in names if (match := re.search(_TILE_PLACE, name))]
        rows = len({place[1] for place in places})
        columns = len({place[2] for place in places})
        if len(names) >= 4 and max(rows, columns) < len(names):
            in_grids.append(len(names))
    return len(in_grids) > 1 and 2 * sum(in_grids) > total


def _looks_like_frames(members: dict[str, list[str]], total: int) -> bool:
    """Whether most images are in several series whose words or numbers show them to be videos."""
    series: Counter[str] = Counter()
    images: Counter[str] = Counter()
    for stem, names in members.items():
        if len(names) < _FEWEST_FRAMES:
            continue
        kind = "frames" if _FRAME_WORDS.search(stem) else ""
        # cat_1 and dog_1 are rather two classes than two videos; run1_1 and run2_1 are videos.
        if not kind and re.search("[0-9]", stem) and re.search("[A-Za-z]", stem):
            kind = re.sub("[0-9]+", "#", stem) if _is_dense(names) else ""
        if kind:
            series[kind] += 1
            images[kind] += len(names)
    return any(count > 1 and 2 * images[kind] > total for kind, count in series.items())


def _is_dense(names: list[str]) -> bool:
    """Whether the last numbers of names follow each other in even steps, or nearly."""
    numbers = sorted(int(re.findall("[0-9]+", _without_copy(name))[-1]) for name in names)
    steps = [later - earlier for earlier, later in pairwise(numbers)]
    most_common = Counter(steps).most_common(1)[0][1]
    return numbers[-1] - numbers[0] < 2 * len(numbers) or 2 * most_common > len(steps)


def _without_copy(name: str) -> str:
    """Return a name without the hash that Roboflow adds."""
    return re.sub(rf"{_ROBOFLOW_END}[A-Za-z]+$", "", name)

"""The page in a browser: it loads, asks for nothing, shows every picture, filters, and is seen."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest
from browser import screenshot, visit
from chromium import find_browser
from page_data import FOREIGN_NAME, make_dataset, make_findings
from PIL import Image

from detfinetune.config.schema import DataConfig
from detfinetune.labels.read import read_dataset
from detfinetune.report.page import write_dataset_page

pytestmark = pytest.mark.slow  # each test starts a browser, most of them several times


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    find_browser()
    folder = tmp_path_factory.mktemp("page")
    write_dataset_page(folder / "page.html", make_dataset(folder), make_findings())
    return folder / "page.html"


def _shown(html: str) -> dict[str, int]:
    found = re.search(r'data-shown="([^"]*)"', html)
    assert found, "the page's script has not run"
    return json.loads(unescape(found[1]))


def _visible_kinds(html: str) -> list[str]:
    tags = re.findall(r'<details [^>]*class="finding[^>]*>', html)
    return [re.search('data-kind="(.*?)"', tag)[1] for tag in tags if " hidden" not in tag]  # type: ignore[index]


def _visible(html: str, item: str) -> int:
    tags = re.findall(rf'<[a-z]+ [^>]*data-item="{item}"[^>]*>', html)
    return sum(" hidden" not in tag for tag in tags)


def test_loads_in_silence_and_shows_every_picture(page: Path) -> None:
    seen = visit(page)
    assert seen.console == ()
    assert seen.requests == ()
    assert 'data-pictures="31" data-broken="0" data-loaded="0"' in seen.html
    assert _shown(seen.html) == {"finding": 5, "sample": 9, "crop": 10}
    assert 'class="js"' in seen.html


def test_a_page_that_does_ask_is_noticed(tmp_path: Path) -> None:
    """The two checks above can fail."""
    find_browser()
    policy = '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'">'
    blocked, asking = tmp_path / "blocked.html", tmp_path / "asking.html"
    blocked.write_text(f"<!DOCTYPE html>{policy}<script>alert(1)</script>", encoding="utf-8")
    asking.write_text('<!DOCTYPE html><img src="http://127.0.0.1:9/a.png">', encoding="utf-8")
    assert len(visit(blocked).console) == 1
    assert visit(asking).requests == ("http://127.0.0.1:9/a.png",)


@pytest.mark.parametrize(
    ("filters", "kinds", "samples", "crops", "places"),
    [
        # What has no place is kept whatever the split, and a pair is of both of its splits.
        # Places count even where their finding is hidden.
        ({"split": "val"}, ["box_outside", "duplicate_images", "rare_class"], 3, 3, 2),
        ({"severity": "warning", "class": "1"}, [], 3, 3, 1),
        ({"q": "DAMAGED"}, ["unreadable"], 1, 1, 1),
        ({"q": "odd txt:44"}, ["too_many"], 0, 0, 1),
        ({"q": FOREIGN_NAME}, ["duplicate_images"], 1, 2, 1),
        ({"q": "too_many <script>", "split": "train"}, ["too_many"], 0, 0, 45),
        ({"q": "no such words"}, [], 0, 0, 0),
    ],
)
def test_filters(
    page: Path, filters: dict[str, str], kinds: list[str], samples: int, crops: int, places: int
) -> None:
    seen = visit(page, urlencode(filters))
    assert seen.console == ()
    assert _visible_kinds(seen.html) == kinds
    assert _shown(seen.html) == {"finding": len(kinds), "sample": samples, "crop": crops}
    assert _visible(seen.html, "sample") == samples
    assert _visible(seen.html, "place") == places


@pytest.mark.benchmark_data
def test_real_data_shows_every_picture(shared_data: Path, tmp_path: Path) -> None:
    find_browser()
    dataset = read_dataset(DataConfig(name="bccd", root=shared_data / "bccd", format="yolo"))
    write_dataset_page(tmp_path / "page.html", dataset, [])
    seen = visit(tmp_path / "page.html")
    assert seen.console == ()
    assert seen.requests == ()
    # 24 samples, and 16 objects of each of three classes.
    assert 'data-pictures="72" data-broken="0"' in seen.html
    assert (tmp_path / "page.html").stat().st_size < 4_000_000


@pytest.mark.parametrize("dark", [False, True])
def test_looks_like_something(page: Path, tmp_path: Path, dark: bool) -> None:
    screenshot(page, tmp_path / "shot.png", 1200, 2400, dark=dark)
    with Image.open(tmp_path / "shot.png") as image:
        pixels = np.asarray(image.convert("L"), dtype=float)
    assert pixels.shape == (2400, 1200)
    ground = np.median(pixels)
    assert (ground < 60) == dark
    # Words, lines and pictures: enough that differs from the ground, in every third of the page.
    for third in np.array_split(pixels, 3):
        assert 0.02 < (abs(third - ground) > 40).mean() < 0.6


def test_nothing_reaches_out_of_a_narrow_window(page: Path, tmp_path: Path) -> None:
    # Chromium's own windows are never narrower than 500 pixels; frames are.
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<!DOCTYPE html><body style="margin:0"><iframe src="{page.as_uri()}" '
        'style="width:400px;height:6000px;border:0"></iframe>',
        encoding="utf-8",
    )
    screenshot(frame, tmp_path / "shot.png", 500, 6000)
    with Image.open(tmp_path / "shot.png") as image:
        pixels = np.asarray(image.convert("L"), dtype=float)
    inside, margin = pixels[:, :384], pixels[:, 386:400]
    assert (abs(inside - np.median(inside)) > 40).mean() > 0.02
    # A page that is too wide fills its right margin, which is 16 pixels.
    assert (abs(margin - np.median(margin)) < 8).all()

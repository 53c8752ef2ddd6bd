"""How fast the labelling page is: from a key to the painted frame, and to the next image.

    python benchmarks/labelling.py [--shapes 300] [--images 40] [--size 1920 1280]

Starts `detfinetune label` on generated photos with model proposals and presses keys in Chromium,
which paints without a GPU. Times are from the key's event to the first task after the frame.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from detfinetune.console import table

# The frame is painted after the callbacks of requestAnimationFrame, before the next task.
_TIMER = """
window.times = [];
document.addEventListener("keydown", ({ timeStamp }) => requestAnimationFrame(() => {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => times.push(performance.now() - timeStamp);
  port2.postMessage(null);
}), true);
"""
# The page marks the stage with the image when it paints it.
_NEXT = """
window.shown = [];
document.addEventListener("keydown", ({ key, timeStamp }) => {
  if (key !== "Enter") return;
  const stage = document.querySelector("#stage"), before = stage.dataset.image;
  const watch = () => {
    if (stage.dataset.image && stage.dataset.image !== before) {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => shown.push(performance.now() - timeStamp);
      port2.postMessage(null);
    } else requestAnimationFrame(watch);
  };
  requestAnimationFrame(watch);
}, true);
"""
_KEYS = {
    "walk, zoomed (Tab)": ["Tab"] * 40,
    "nudge (arrow)": ["ArrowRight", "ArrowDown"] * 20,
    "class (digit)": ["1", "2", "3"] * 13,
    "hide and show (H)": ["h"] * 40,
    "accept and go on (Space)": ["Space"] * 40,
    "reject (X)": ["x"] * 40,
    "undo (Z)": ["z"] * 40,
    "accept all, undo (Shift+A, Z)": ["Shift+A", "z"] * 20,
}


def main() -> None:
    """Measure, and print a row a kind of key."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", type=int, default=300, help="of each image")
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--size", type=int, nargs=2, default=[1920, 1280], help="of the photos")
    parser.add_argument("--window", type=int, nargs=2, default=[1280, 800])
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "photos"
        _write_photos(root, arguments.images, arguments.size)
        server, address = _serve(root)
        try:
            _write_proposals(address, arguments.shapes, arguments.size)
            times = _measure(address, arguments)
        finally:
            server.terminate()
            server.communicate()
    rows = [
        [name, len(values), *np.percentile(values, (50, 95)), max(values)]
        for name, values in times.items()
    ]
    print(table(rows, ["ms", "times", "median", "p95", "most"]))


def _write_photos(root: Path, count: int, size: list[int]) -> None:
    root.mkdir()
    rng = np.random.default_rng(0)
    base = Image.fromarray(rng.integers(0, 255, (40, 60, 3), dtype=np.uint8))
    photo = base.resize((size[0] + count, size[1]), Image.Resampling.BICUBIC)
    for number in range(count):
        part = photo.crop((number, 0, number + size[0], size[1]))
        part.save(root / f"{number:03}.jpg", quality=90)


def _serve(root: Path) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-m", "detfinetune", "label", str(root), "--no-browser"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout is not None
    lines = iter(server.stdout)
    return server, next(m[0] for line in lines if (m := re.search(r"http://\S+token=\S+", line)))


def _api(address: str, path: str, body: Any = None, method: str = "GET", **headers: str) -> Any:
    base, _, token = address.partition("/?token=")
    headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{base}/api/{path}", data, headers, method=method)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def _write_proposals(address: str, count: int, size: list[int]) -> None:
    draw = random.Random(0)
    for name in ("car", "truck", "bus"):
        _api(address, "classes", {"name": name}, "POST")
    for entry in _api(address, "images")["images"]:
        shapes = []
        for number in range(count):
            x, y = draw.uniform(0, size[0] - 90), draw.uniform(0, size[1] - 90)
            box = [x, y, x + draw.uniform(20, 90), y + draw.uniform(20, 90)]
            shapes.append(
                {"id": f"s{number}", "class": draw.randrange(3), "box": box, "origin": "model",
                 "score": draw.uniform(0.3, 1), "accepted": False}
            )  # fmt: skip
        body = {"state": "proposed", "shapes": shapes}
        _api(address, f"images/{entry['id']}", body, "PUT", **{"If-Match": '"0"'})


def _measure(address: str, arguments: argparse.Namespace) -> dict[str, list[float]]:
    """Return milliseconds by kind of key."""
    width, height = arguments.window
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=arguments.chromium, args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": width, "height": height})
        page.goto(address)
        page.wait_for_selector("#stage[data-image]")
        page.evaluate(_TIMER)
        times = {name: _press(page, keys) for name, keys in _KEYS.items()}
        times["all of these"] = [each for values in times.values() for each in values]
        page.evaluate(_NEXT)
        for _ in range(arguments.images - 1):
            page.keyboard.press("Shift+A")
            before = page.evaluate("shown.length")
            page.keyboard.press("Enter")
            while page.evaluate("shown.length") == before:
                page.wait_for_timeout(20)
            page.wait_for_timeout(500)  # nobody labels faster, and the next images are loaded
        times["next image (Enter)"] = page.evaluate("shown")
        browser.close()
    return times


def _press(page: Page, keys: list[str]) -> list[float]:
    page.evaluate("times.length = 0")
    for key in keys:
        page.keyboard.press(key)
        page.wait_for_timeout(30)
    page.wait_for_timeout(200)
    return page.evaluate("times")  # type: ignore[no-any-return]


if __name__ == "__main__":
    main()

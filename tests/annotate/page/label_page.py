"""A labelling server as users start it, and windows of its page in Chromium."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
from chromium import find_browser
from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Playwright

Box = tuple[float, float, float, float]
WIDTH, HEIGHT = 640, 480
_WAIT_MS = 30_000


def launch(playwright: Playwright) -> Browser:
    """Start Chromium. No sandbox: tests often run as root in a container."""
    return playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])


def write_images(folder: Path, count: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    """Write grey images 000.jpg, 001.jpg, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        pixels = rng.normal(128, 8, (size[1], size[0])).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03}.jpg", quality=80)


def shape(number: int, box: Box, class_id: int = 0, **values: Any) -> dict[str, Any]:
    """Return a shape as the API takes it."""
    return {"id": f"s{number}", "class": class_id, "box": list(box), **values}


def proposal(number: int, box: Box, class_id: int = 0, score: float = 0.9) -> dict[str, Any]:
    """Return a shape of a model that nobody has looked at."""
    return shape(number, box, class_id, origin="model", score=score, accepted=False)


class Server:
    """`detfinetune label` in a process of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "detfinetune", "label", str(folder), "--no-browser", *options],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        assert self.process.stdout is not None
        output = []
        for line in self.process.stdout:
            output.append(line)
            if found := re.search(r"http://\S+token=\S+", line):
                self.address = found[0]
                break
        else:
            raise AssertionError("".join(output))
        parts = urlsplit(self.address)
        self.port = parts.port
        self.token = parse_qs(parts.query)["token"][0]

    def kill(self) -> None:
        """End it as a crash does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.communicate()

    def api(
        self, path: str, body: Any = None, revision: int | None = None, method: str = ""
    ) -> Any:
        """Return the answer to a request."""
        headers = {"Authorization": f"Bearer {self.token}"}
        if revision is not None:
            headers["If-Match"] = f'"{revision}"'
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/{path}", data, headers,
            method=method or ("GET" if body is None else "PUT"),
        )  # fmt: skip
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def ids(self) -> list[str]:
        """Return the ids of all images, in order."""
        return [entry["id"] for entry in self.api("images")["images"]]

    def document(self, image: str) -> Any:
        """Return the stored document of an image."""
        return self.api(f"images/{image}")

    def write(self, image: str, shapes: Sequence[Any], state: str = "todo") -> Any:
        """Replace the stored document of an image."""
        revision = self.document(image)["revision"]
        return self.api(f"images/{image}", {"state": state, "shapes": list(shapes)}, revision)

    def add_classes(self, *names: str) -> None:
        """Add classes."""
        for name in names:
            self.api("classes", {"name": name}, method="POST")


def until(condition: Callable[[], Any], what: str = "") -> Any:
    """Wait until a condition holds, and return its value."""
    end = time.monotonic() + _WAIT_MS / 1000
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.03)
    raise AssertionError(f"waited in vain for {what or condition}")


class Window:
    """A window of the page; points and boxes are in pixels of the image."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.errors: list[str] = []
        """What the page's scripts failed with."""
        self.inputs = 0
        """Keys, clicks and drags."""
        page.set_default_timeout(_WAIT_MS)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.goto(address)
        self.wait_for_image()

    def until(self, condition: Callable[[], Any]) -> None:
        """Wait until a condition holds; unlike in `until`, the page's requests are answered."""
        for _ in range(_WAIT_MS // 30):
            if condition():
                return
            self.page.wait_for_timeout(30)
        raise AssertionError("waited in vain")

    def state(self, expression: str) -> Any:
        """Return what an expression of the page's `app` is."""
        return self.page.evaluate(f"import('/page/state.js').then(({{ app }}) => {expression})")

    def wait_for_image(self, image: str = "") -> None:
        """Wait until an image is painted."""
        mark = f'="{image}"' if image else ""
        self.page.wait_for_selector(f"#stage[data-image{mark}]")

    def open(self, image: str) -> None:
        """Load the page again, at an image."""
        self.page.evaluate(f"location.hash = '{image}'")
        self.page.reload()
        self.wait_for_image(image)

    def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        for key in keys:
            self.page.keyboard.press(key)
            self.inputs += 1

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Return where a point of the image is in the window."""
        view = self.page.evaluate("import('/page/picture/view.js').then(({ view }) => view)")
        corner = self.page.locator("#stage").bounding_box()
        assert corner
        return (
            corner["x"] + view["x"] + x * view["scale"],
            corner["y"] + view["y"] + y * view["scale"],
        )

    def drag(self, box: Box, button: Any = "left") -> None:
        """Drag from one corner of a box to the other."""
        start, end = self.place(*box[:2]), self.place(*box[2:])
        self.page.mouse.move(*start)
        self.page.mouse.down(button=button)
        self.page.mouse.move(*end, steps=2)
        self.page.mouse.up(button=button)
        self.inputs += 1

    def click(self, x: float, y: float, button: Any = "left") -> None:
        """Click on a point of the image."""
        self.page.mouse.click(*self.place(x, y), button=button)
        self.inputs += 1

    def shapes(self) -> list[Any]:
        """Return the shapes of the image as the page has them."""
        return self.state("app.documents.get(app.current).content.shapes")

    def wait_until_saved(self) -> None:
        """Wait until all edits are stored."""
        count = "import('/page/saving.js').then(({ unsaved }) => unsaved().length)"
        until(lambda: self.page.evaluate(count) == 0, "the edits to be saved")

    def copies(self) -> list[str]:
        """Return the names of the edits that the browser keeps."""
        return [
            name
            for name in self.page.evaluate("Object.keys(localStorage)")
            if name.startswith("detfinetune unsaved")
        ]

    def text(self, selector: str) -> str:
        """Return what an element says."""
        return self.page.locator(selector).inner_text()

    def wait_for_text(self, selector: str, part: str) -> None:
        """Wait until an element says something."""
        self.page.locator(selector).filter(has_text=part).wait_for()


Serve = Callable[..., Server]
OpenWindow = Callable[[str], Window]

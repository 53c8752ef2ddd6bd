"""A queue of places to review: label right, prediction right, edit by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from label_page import OpenWindow, Serve, Server, Window, shape, write_images

pytestmark = pytest.mark.slow  # starts a server and a window each

CAR, VAN = (100, 100, 200, 180), (110, 95, 215, 190)
PLACES = [
    {"image": "001.jpg", "box": CAR, "reason": "is it a van?", "class": "car",
     "prediction": {"box": VAN, "class": "van", "score": 0.93}},
    {"image": "000.jpg", "box": None, "reason": "overlooked?",
     "prediction": {"box": VAN, "class": "car", "score": 0.8}},
    {"image": "002.jpg", "box": CAR, "reason": "tiny box", "class": "car"},
]  # fmt: skip


@pytest.fixture
def server(tmp_path: Path, serve: Serve) -> Server:
    write_images(tmp_path / "photos", 3)
    (tmp_path / "queue.json").write_text(json.dumps(PLACES))
    server = serve(tmp_path / "photos", f"queue={tmp_path / 'queue.json'}")
    server.add_classes("car")
    for image in server.ids():
        server.write(image, [shape(1, CAR), shape(2, (300, 300, 400, 400))], "done")
    return server


def _verdicts(server: Server) -> list[Any]:
    return [item["verdict"] for item in server.api("queue")["items"]]


def _at(window: Window, reason: str, image: str) -> None:
    """Wait until the window shows a place."""
    window.wait_for_text("#reason", reason)
    window.wait_for_image(image)
    window.until(lambda: window.state("app.reviewed && document.activeElement.id") == "stage")


def test_three_verdicts(server: Server, open_window: OpenWindow) -> None:
    first, second, third = server.ids()
    window = open_window(server.address)
    _at(window, "is it a van?", second)
    window.until(lambda: window.state("app.selected") == "s1")
    assert window.text("#versions") == "Label: car · Prediction: van 0.93"
    window.press("r")
    _at(window, "overlooked?", first)
    window.until(lambda: window.state("app.reviewed.image") == first)
    window.press("r")
    _at(window, "tiny box", third)
    window.until(lambda: window.state("app.selected") == "s1")
    window.press("r")  # there is none
    window.wait_for_text("#toast", "no prediction")
    window.press("e")
    window.until(lambda: _verdicts(server) == ["prediction", "prediction", "edit"])
    window.press("ArrowRight", "Enter")
    window.wait_for_text("#toast", "All places are reviewed.")
    window.wait_until_saved()

    changed, other = server.document(second)["shapes"]
    assert (changed["id"], changed["box"], changed["class"]) == ("s1", list(VAN), 1)
    assert (changed["origin"], changed["score"]) == ("model", 0.93)
    assert other["id"] == "s2"
    assert [each["name"] for each in server.api("classes")["classes"]] == ["car", "van"]
    *kept, added = server.document(first)["shapes"]
    assert [each["id"] for each in kept] == ["s1", "s2"]
    assert (added["box"], added["class"], added["accepted"]) == (list(VAN), 0, True)
    assert server.document(third)["shapes"][0]["box"] == [101, 100, 201, 180]
    assert {server.document(image)["state"] for image in server.ids()} == {"done"}


def test_label_right_changes_nothing(server: Server, open_window: OpenWindow) -> None:
    before = [server.document(image) for image in server.ids()]
    window = open_window(server.address)
    _at(window, "is it a van?", server.ids()[1])
    window.press("l")
    _at(window, "overlooked?", server.ids()[0])
    assert _verdicts(server) == ["label", None, None]
    assert [server.document(image) for image in server.ids()] == before
    # After a reload, it goes on with the first that is left; the list leads back.
    window.page.reload()
    _at(window, "overlooked?", server.ids()[0])
    window.wait_for_text("#tab-review", "Review 2")
    window.page.click("#images button >> text=is it a")
    _at(window, "is it a van?", server.ids()[1])
    assert window.page.locator("#review [data-key=L]").get_attribute("aria-pressed") == "true"
    window.page.click("#tab-images")
    window.page.click("#images button >> text=2.jpg")
    window.wait_for_image(server.ids()[2])
    assert window.page.locator("#review").is_hidden()


def test_undoing_a_prediction(server: Server, open_window: OpenWindow) -> None:
    second = server.ids()[1]
    before = server.document(second)["shapes"]
    window = open_window(server.address)
    _at(window, "is it a van?", second)
    window.until(lambda: window.state("app.selected") == "s1")
    window.press("r")
    _at(window, "overlooked?", server.ids()[0])
    window.press("z")
    window.wait_for_image(second)
    window.until(lambda: server.document(second)["shapes"] == before)

"""A whole session: 48 images of five objects, with proposals of which four in five are right."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from label_page import Box, OpenWindow, Serve, Window, proposal, write_images

pytestmark = pytest.mark.slow  # labels 240 objects

IMAGES, OBJECTS = 48, 5
CLASSES = ("pawn", "rook", "king")
Truth = list[tuple[int, Box]]


def _truth(rng: np.random.Generator) -> Truth:
    """Return classes and boxes of one image, apart from each other."""
    cells = rng.permutation([(x, y) for x in range(4) for y in range(3)])[:OBJECTS]
    found: Truth = []
    for x, y in cells:
        left, top = 160 * x + rng.integers(10, 40), 160 * y + rng.integers(10, 40)
        width, height = rng.integers(40, 100, 2)
        box = (float(left), float(top), float(left + width), float(top + height))
        found.append((int(rng.integers(len(CLASSES))), box))
    return found


def _proposals(truth: Truth, mistake: str) -> list[Any]:
    """Return proposals of which one is wrong."""
    (class_id, box), *rest = truth
    x1, y1, x2, y2 = box
    wrong = {
        "missing": [],
        "class": [((class_id + 1) % len(CLASSES), box)],
        "box": [(class_id, (x1 + 15, y1 - 8, x2 + 20, y2 - 12))],
        "place": [(class_id, (x1, y1 - 5, x1 + 20, y1 + 8)), (class_id, box)],
    }[mistake]
    return [proposal(n, each, c) for n, (c, each) in enumerate([*wrong, *rest])]


def _correct(window: Window, truth: Truth, mistake: str) -> None:
    """Do what a person would."""
    (class_id, box), *_ = truth
    x1, y1, x2, y2 = box
    key = str(class_id + 1)
    window.press("Shift+A")
    if mistake == "missing":
        window.drag(box)
        if window.shapes()[-1]["class"] != class_id:
            window.press(key)
    elif mistake == "class":
        window.click((x1 + x2) / 2, (y1 + y2) / 2)
        window.press(key)
    elif mistake == "box":
        window.click((x1 + x2) / 2 + 17, (y1 + y2) / 2 - 10)
        window.drag((x1 + 15, y1 - 8, x1, y1))
        window.drag((x2 + 20, y2 - 12, x2, y2))
    else:
        window.click(x1 + 10, y1 - 2)
        window.press("x")
    window.press("Enter")


def _same(stored: list[Any], truth: Truth) -> bool:
    """Whether labels are the true ones, to a pixel of the screen."""
    found = sorted((each["class"], *each["box"]) for each in stored)
    wanted = sorted((class_id, *box) for class_id, box in truth)
    return len(found) == len(wanted) and np.allclose(found, wanted, atol=1)


def test_corrects_proposals_with_few_inputs(
    serve: Serve, open_window: OpenWindow, tmp_path: Path
) -> None:
    write_images(tmp_path / "photos", IMAGES)
    server = serve(tmp_path / "photos")
    server.add_classes(*CLASSES)
    rng = np.random.default_rng(0)
    truths = {image: _truth(rng) for image in server.ids()}
    mistakes = dict(zip(truths, itertools.cycle(["missing", "class", "box", "place"])))
    for image, truth in truths.items():
        server.write(image, _proposals(truth, mistakes[image]), "proposed")
    window = open_window(server.address)
    for image, truth in truths.items():
        window.wait_for_image(image)
        _correct(window, truth, mistakes[image])
    window.wait_until_saved()
    window.wait_for_text("#toast", "No other image is left to review.")

    for image, truth in truths.items():
        document = server.document(image)
        assert document["state"] == "done"
        assert _same(document["shapes"], truth), (mistakes[image], document, truth)
    inputs = window.inputs / (IMAGES * OBJECTS)
    assert inputs <= 2.5
    figures = server.api("figures")["rounds"][0]
    assert (figures["images"], figures["objects"]) == (IMAGES, IMAGES * OBJECTS)
    assert figures["inputs"] == window.inputs


def test_draws_everything_with_few_inputs(
    serve: Serve, open_window: OpenWindow, tmp_path: Path
) -> None:
    write_images(tmp_path / "photos", 12)
    server = serve(tmp_path / "photos")
    server.add_classes(*CLASSES)
    rng = np.random.default_rng(1)
    truths = {image: _truth(rng) for image in server.ids()}
    window = open_window(server.address)
    class_drawn = 0
    for image, truth in truths.items():
        window.wait_for_image(image)
        for class_id, box in truth:
            window.drag(box)
            if class_id != class_drawn:
                window.press(str(class_id + 1))
                class_drawn = class_id
        window.press("Enter")
    window.wait_until_saved()
    assert all(_same(server.document(image)["shapes"], truth) for image, truth in truths.items())
    assert window.inputs / (len(truths) * OBJECTS) <= 2.5

"""Every key that the help shows does what the help says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from label_page import OpenWindow, Serve, Server, Window, proposal, shape, until, write_images

pytestmark = pytest.mark.slow  # loads the page for each of 70 keys

SQUARE = [100, 250, 200, 250, 200, 350, 100, 350]
# A box, two proposals, one below the slider, and a polygon.
SHAPES = [
    shape(1, (50, 50, 150, 130)),
    proposal(2, (200, 60, 300, 160), 1, 0.9),
    proposal(3, (350, 80, 450, 200), 0, 0.5),
    proposal(4, (500, 300, 560, 380), 1, 0.1),
    shape(5, (100, 250, 200, 350), 2, polygons=[SQUARE]),
]


@dataclass
class Desk:
    """A window that shows an image with `SHAPES`, in the middle of others with the same."""

    window: Window
    server: Server
    before: str
    image: str
    after: str

    def document(self) -> Any:
        """Return the image's document as it is stored once all is saved."""
        self.window.wait_until_saved()
        return self.server.document(self.image)

    def stored(self, number: int) -> Any:
        """Return a stored shape; None where there is none."""
        shapes = self.document()["shapes"]
        return next((each for each in shapes if each["id"] == f"s{number}"), None)

    def selected(self) -> Any:
        """Return the number of the selected shape."""
        chosen = self.window.state("app.selected")
        return chosen and int(chosen[1:])

    def wait_for_selected(self, number: int | None) -> None:
        """Wait until a shape is selected."""
        until(lambda: self.selected() == number, f"shape {number} to be selected")

    def select(self, number: int) -> None:
        """Select a shape with Tab."""
        self.window.press(*["Tab"] * {1: 1, 2: 2, 3: 3, 5: 4}[number])
        assert self.selected() == number

    def view(self) -> Any:
        return self.window.page.evaluate("import('/page/picture/view.js').then(({ view }) => view)")

    def focus(self) -> str:
        """Return the id of the focused element, or of what it is in."""
        return self.window.page.evaluate(
            "document.activeElement.closest('nav, aside, #stage, input')?.id "
            "|| document.activeElement.closest('nav, aside').localName"
        )


Case = Callable[[Desk, str], None]
CASES: dict[str, Case] = {}


def on(*keys: str) -> Callable[[Case], Case]:
    """Say that a function presses these keys, one in each call."""

    def add(case: Case) -> Case:
        CASES.update(dict.fromkeys(keys, case))
        return case

    return add


# --- images ---------------------------------------------------------------------------------------


@on("Enter")
def finishes(desk: Desk, key: str) -> None:
    window = desk.window
    window.press(key)
    # Not with proposals that nobody has looked at.
    window.wait_for_text("#toast", "2 proposals to look at")
    desk.wait_for_selected(2)
    window.press("x", "x")
    window.press(key)
    window.wait_for_image(desk.after)
    document = desk.document()
    assert document["state"] == "done"
    # The one below the slider is not a label.
    assert [each["id"] for each in document["shapes"]] == ["s1", "s5"]


@on("Shift+Enter")
def marks_unsure(desk: Desk, key: str) -> None:
    desk.window.press(key)
    desk.window.wait_for_image(desk.after)
    document = desk.document()
    assert (document["state"], len(document["shapes"])) == ("unsure", 5)


@on("PageDown", ".")
def shows_next(desk: Desk, key: str) -> None:
    desk.window.press(key)
    desk.window.wait_for_image(desk.after)
    assert desk.document()["state"] == "proposed"


@on("PageUp", ",")
def shows_previous(desk: Desk, key: str) -> None:
    desk.window.press(key)
    desk.window.wait_for_image(desk.before)


@on("C")
def copies(desk: Desk, key: str) -> None:
    desk.window.press(key)
    desk.window.wait_for_text("#toast", "2 shapes copied")
    *kept, box, square = desk.document()["shapes"]
    assert len(kept) == 5
    assert (box["box"], box["class"], box["origin"]) == ([50, 50, 150, 130], 0, "copy")
    assert (square["polygons"], square["class"]) == ([SQUARE], 2)
    assert {box["id"], square["id"]}.isdisjoint({"s1", "s5"})


# --- proposals ------------------------------------------------------------------------------------


@on("Space")
def accepts(desk: Desk, key: str) -> None:
    desk.window.press(key)
    assert desk.selected() == 2
    desk.window.press(key)
    assert desk.selected() == 3
    desk.window.press(key)
    assert desk.selected() is None
    assert [each["accepted"] for each in desk.document()["shapes"]] == [True] * 3 + [False, True]
    assert desk.stored(2)["origin"] == "model"


@on("X", "Delete")
def rejects(desk: Desk, key: str) -> None:
    desk.select(2)
    desk.window.press(key)
    assert desk.selected() == 3
    assert desk.stored(2) is None
    assert len(desk.document()["shapes"]) == 4


@on("Shift+A")
def accepts_all(desk: Desk, key: str) -> None:
    desk.window.press(key)
    assert [each["accepted"] for each in desk.document()["shapes"]] == [True] * 3 + [False, True]


@on("[")
def shows_more(desk: Desk, key: str) -> None:
    desk.window.press(*[key] * 4)
    desk.window.wait_for_text("#threshold-shown", "0.10")
    desk.window.wait_for_text("#shapes-title", "3 to look at")


@on("]")
def shows_fewer(desk: Desk, key: str) -> None:
    desk.window.press(*[key] * 5)
    desk.window.wait_for_text("#threshold-shown", "0.55, 2 hidden")
    desk.window.wait_for_text("#shapes-title", "1 to look at")


# --- classes --------------------------------------------------------------------------------------


@on(*"123456789")
def chooses_class(desk: Desk, key: str) -> None:
    desk.select(5)
    desk.window.press(key)
    assert desk.stored(5)["class"] == int(key) - 1
    assert desk.stored(5)["polygons"] == [SQUARE]
    desk.window.drag((300, 300, 320, 340))
    assert desk.document()["shapes"][-1]["class"] == int(key) - 1


@on("T")
def types_class(desk: Desk, key: str) -> None:
    window = desk.window
    desk.select(1)
    window.press(key)
    window.page.keyboard.type("ine")  # nine
    window.press("Enter")
    assert desk.stored(1)["class"] == 8
    window.press(key)
    window.page.keyboard.type("ten")
    window.press("Enter")
    # It matches part of no other; 'te' would have taken it from now on.
    until(lambda: desk.stored(1)["class"] == 9)
    assert desk.server.api("classes")["classes"][9]["name"] == "ten"
    window.press(key)
    window.page.keyboard.type("te")
    window.press("Shift+Enter")
    until(lambda: desk.stored(1)["class"] == 10)
    assert desk.server.api("classes")["classes"][10]["name"] == "te"
    assert desk.focus() == "stage"


@on("F2")
def renames_class(desk: Desk, key: str) -> None:
    def second() -> str:
        return desk.server.api("classes")["classes"][1]["name"]

    desk.window.press("Escape", "2", key)
    desk.window.wait_for_text("#class-label", "Rename “two”")
    desk.window.page.keyboard.type("zwei")
    desk.window.press("Enter")
    until(lambda: second() == "zwei")
    desk.window.press("z")
    until(lambda: second() == "two")
    assert len(desk.document()["shapes"]) == 5


# --- shapes ---------------------------------------------------------------------------------------


@on("Tab")
def walks(desk: Desk, key: str) -> None:
    for number in (1, 2, 3, 5, 1):
        desk.window.press(key)
        assert desk.selected() == number
        x1, y1, x2, y2 = SHAPES[number - 1]["box"]
        view = desk.view()
        middle = (view["x"] + (x1 + x2) / 2 * view["scale"], view["width"] / 2)
        assert middle[0] == pytest.approx(middle[1])
        larger = max(
            (x2 - x1) * view["scale"] / view["width"], (y2 - y1) * view["scale"] / view["height"]
        )
        assert larger == pytest.approx(0.4, abs=0.01)


@on("Shift+Tab")
def walks_back(desk: Desk, key: str) -> None:
    for number in (5, 3, 2, 1, 5):
        desk.window.press(key)
        assert desk.selected() == number


_DIRECTIONS = {"Left": (-1, 0), "Right": (1, 0), "Up": (0, -1), "Down": (0, 1)}
_ARROWS = [f"Arrow{name}" for name in _DIRECTIONS]


@on(*_ARROWS, *(f"Shift+{arrow}" for arrow in _ARROWS))
def nudges(desk: Desk, key: str) -> None:
    x, y = _DIRECTIONS[key.rpartition("Arrow")[2]]
    pixels = 10 if key.startswith("Shift") else 1
    dx, dy = x * pixels, y * pixels
    desk.select(1)
    desk.window.press(key)
    assert desk.stored(1)["box"] == [50 + dx, 50 + dy, 150 + dx, 130 + dy]
    desk.select(5) if desk.selected() == 5 else desk.window.press("Tab", "Tab", "Tab", key)
    moved = [value + (dy if place % 2 else dx) for place, value in enumerate(SQUARE)]
    assert desk.stored(5)["polygons"] == [moved]


@on(*(f"{m}+{s}{a}" for m in ("Ctrl", "Alt") for s in ("", "Shift+") for a in _ARROWS))
def stretches(desk: Desk, key: str) -> None:
    x, y = _DIRECTIONS[key.rpartition("Arrow")[2]]
    pixels = 10 if "Shift" in key else 1
    desk.select(1)
    desk.window.press(key.replace("Ctrl", "Control"))
    assert desk.stored(1)["box"] == [50, 50, 150 + x * pixels, 130 + y * pixels]
    assert desk.window.page.url.endswith(f"#{desk.image}")  # not back in the history


@on("P")
def draws_polygon(desk: Desk, key: str) -> None:
    window = desk.window
    window.press(key, "3")
    for point in ((300, 300), (400, 300), (350, 400)):
        window.click(*point)
    window.press("Enter")
    drawn = desk.document()["shapes"][-1]
    assert drawn["class"] == 2
    assert drawn["polygons"][0] == pytest.approx([300, 300, 400, 300, 350, 400], abs=1)
    assert drawn["box"] == pytest.approx([300, 300, 400, 400], abs=1)
    window.press(key)
    window.drag((300, 200, 340, 240))
    assert desk.document()["shapes"][-1]["polygons"] == []


@on("Backspace")
def takes_back_point(desk: Desk, key: str) -> None:
    window = desk.window
    window.press("p")
    for point in ((300, 300), (400, 300), (600, 20)):
        window.click(*point)
    window.press(key)
    window.click(350, 400)
    window.click(300, 300)  # the first point: closes
    drawn = desk.document()["shapes"][-1]
    assert drawn["polygons"][0] == pytest.approx([300, 300, 400, 300, 350, 400], abs=1)


@on("Escape")
def escapes(desk: Desk, key: str) -> None:
    window = desk.window
    # A polygon, a drag, the selection with its zoom.
    window.press("p")
    window.click(300, 300)
    window.press(key, "p")
    assert window.state("app.path") is None
    window.page.mouse.move(*window.place(300, 300))
    window.page.mouse.down()
    window.page.mouse.move(*window.place(400, 400))
    window.press(key)
    window.page.mouse.up()
    assert len(window.shapes()) == 5
    desk.select(2)
    window.press(key)
    assert desk.selected() is None
    assert desk.view()["isFitted"]


@on("Z", "Ctrl+Z")
def undoes(desk: Desk, key: str) -> None:
    window, key = desk.window, key.replace("Ctrl", "Control")
    desk.select(2)
    window.press("x")
    window.press("Shift+A", "Enter")
    window.wait_for_image(desk.after)
    assert desk.document()["state"] == "done"
    window.press(key)  # finishing, on the image before
    window.wait_for_image(desk.image)
    until(lambda: desk.document()["state"] == "proposed")
    window.press(key)
    assert not desk.stored(3)["accepted"]
    window.press(key)
    assert desk.document()["shapes"] == desk.server.document(desk.before)["shapes"]
    window.press(key)
    window.wait_for_text("#toast", "Nothing to undo.")


@on("Shift+Z", "Ctrl+Shift+Z")
def redoes(desk: Desk, key: str) -> None:
    desk.window.drag((300, 300, 320, 340))
    drawn = desk.document()["shapes"][-1]
    desk.window.press("z")
    assert len(desk.document()["shapes"]) == 5
    desk.window.press(key.replace("Ctrl", "Control"))
    # The same object: its id is how corrections are counted.
    assert desk.document()["shapes"][-1] == drawn


# --- view -----------------------------------------------------------------------------------------


def _ink(window: Window) -> int:
    """Return how many pixels of the shapes' canvas are painted."""
    return window.page.evaluate(
        "() => { const c = document.querySelector('#shapes');"
        "return c.getContext('2d').getImageData(0, 0, c.width, c.height).data"
        ".filter((value, place) => place % 4 === 3 && value).length }"
    )


@on("H")
def hides(desk: Desk, key: str) -> None:
    desk.window.press(key)
    until(lambda: _ink(desk.window) == 0)
    desk.window.press(key)
    until(lambda: _ink(desk.window) > 1000)


@on("F")
def fits(desk: Desk, key: str) -> None:
    fitted = desk.view()
    desk.window.press("+", "+")
    desk.window.press(key)
    assert desk.view() == fitted


@on("+", "-")
def zooms(desk: Desk, key: str) -> None:
    before = desk.view()
    desk.window.press(key)
    after = desk.view()
    assert after["scale"] / before["scale"] == pytest.approx(1.25 if key == "+" else 0.8)
    # The middle stays.
    middle = [(view["width"] / 2 - view["x"]) / view["scale"] for view in (before, after)]
    assert middle[0] == pytest.approx(middle[1])


@on("G")
def pans(desk: Desk, key: str) -> None:
    before = desk.view()
    desk.window.page.keyboard.down(key.lower())
    desk.window.drag((300, 300, 400, 350))
    desk.window.page.keyboard.up(key.lower())
    after = desk.view()
    moved = [(after[axis] - before[axis]) / before["scale"] for axis in "xy"]
    assert moved == pytest.approx([100, 50])
    assert len(desk.window.shapes()) == 5


@on("D")
def switches_theme(desk: Desk, key: str) -> None:
    grounds = set()
    for theme in ("dark", "light"):
        desk.window.press(key)
        page = desk.window.page
        assert page.evaluate("document.documentElement.dataset.theme") == theme
        grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert grounds == {"rgb(20, 22, 26)", "rgb(250, 250, 248)"}


@on("I")
def shows_figures(desk: Desk, key: str) -> None:
    desk.window.press(key)
    desk.window.page.locator("#figures[open] svg").first.wait_for()
    desk.window.press("Escape")
    assert desk.window.page.locator("dialog[open]").count() == 0


@on("M")
def shows_training(desk: Desk, key: str) -> None:
    desk.window.press(key)
    desk.window.wait_for_text("#training[open] #advice", "with proposals: correct them")
    desk.window.press("Escape")
    assert desk.window.page.locator("dialog[open]").count() == 0


@on("F6")
def moves_focus(desk: Desk, key: str) -> None:
    areas = []
    for _ in range(3):
        desk.window.press(key)
        areas.append(desk.focus())
    assert areas == ["nav", "aside", "stage"]


@on("?")
def helps(desk: Desk, key: str) -> None:
    desk.window.press(key)
    desk.window.page.locator("#help[open]").wait_for()
    desk.window.press("x")  # no key of the page works meanwhile
    desk.window.press("Escape")
    assert len(desk.document()["shapes"]) == 5


# --- review ---------------------------------------------------------------------------------------


@on("L", "R", "E")
def gives_verdict(desk: Desk, key: str) -> None:
    """In `test_page_review.py`; without a queue, nothing happens."""
    before = desk.document()
    desk.window.press(key)
    assert desk.document() == before


# --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Server:
    folder = tmp_path_factory.mktemp("keys") / "photos"
    write_images(folder, len(CASES) + 2)
    server = serve(folder)
    names = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    server.add_classes(*names)
    for image in server.ids():
        server.write(image, SHAPES, "proposed")
    return server


@pytest.mark.parametrize("key", CASES)
def test_key(key: str, server: Server, open_window: OpenWindow) -> None:
    # Each has an image of its own, and leaves those beside it alone.
    place = 1 + list(CASES).index(key)
    before, image, after = server.ids()[place - 1 : place + 2]
    for each in (before, after):
        server.write(each, SHAPES, "proposed")
    window = open_window(f"{server.address}#{image}")
    window.wait_for_image(image)
    CASES[key](Desk(window, server, before, image, after), key)


def test_help_shows_the_keys_that_are_tested(server: Server, open_window: OpenWindow) -> None:
    window = open_window(server.address)
    keys = "elements => elements.map(element => element.dataset.key)"
    shown = window.page.eval_on_selector_all("#help kbd[data-key]", keys)
    assert len(shown) == len(set(shown))
    assert set(shown) == set(CASES)
    on_buttons = window.page.eval_on_selector_all("button[data-key]", keys)
    assert set(on_buttons) <= set(shown)


def test_other_keyboards_and_held_keys(server: Server, open_window: OpenWindow) -> None:
    image = server.ids()[0]
    server.write(image, SHAPES, "proposed")
    window = open_window(f"{server.address}#{image}")
    desk = Desk(window, server, "", image, "")

    def send(**values: Any) -> None:
        window.page.evaluate(
            "values => document.querySelector('#stage').dispatchEvent("
            "new KeyboardEvent('keydown', { bubbles: true, ...values }))",
            values,
        )

    desk.select(1)
    send(key="&", code="Digit1")  # French: digits need Shift
    send(key="é", code="Digit2")
    assert desk.stored(1)["class"] == 1
    send(key="я", code="KeyZ")  # Russian
    assert desk.stored(1)["class"] == 0
    send(key="?", code="Minus", shiftKey=True)  # German
    window.page.locator("#help[open]").wait_for()
    window.press("Escape")
    # A held key moves on, but neither deletes nor finishes more than one.
    send(key="ArrowRight", code="ArrowRight", repeat=True)
    assert desk.stored(1)["box"] == [51, 50, 151, 130]
    send(key="x", code="KeyX", repeat=True)
    send(key="Enter", code="Enter", repeat=True)
    assert len(desk.document()["shapes"]) == 5

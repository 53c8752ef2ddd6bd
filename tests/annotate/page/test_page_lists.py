"""The lists of images, classes and shapes, the bar at the top, and what buttons say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from label_page import OpenWindow, Serve, Server, proposal, shape, write_images

pytestmark = pytest.mark.slow  # each loads the page

BOX = (100, 100, 200, 200)


@pytest.fixture
def server(tmp_path: Path, serve: Serve) -> Server:
    write_images(tmp_path / "photos", 60, (64, 48))
    server = serve(tmp_path / "photos")
    server.add_classes("cat", "dog", "catfish")
    return server


def _box(number: int) -> tuple[float, float, float, float]:
    return (number % 40, 5, number % 40 + 10, 20)


def test_filters_by_state_and_class(server: Server, open_window: OpenWindow) -> None:
    ids = server.ids()
    server.write(ids[3], [shape(1, _box(1), 1)], "done")
    server.write(ids[50], [shape(1, _box(1), 2)], "done")
    server.write(ids[7], [proposal(1, _box(1), 1)], "proposed")
    window = open_window(f"{server.address}#{ids[3]}")

    def names() -> list[str]:
        rows = window.page.locator("#images button:visible").all_inner_texts()
        return [re.sub(r"\s", "", row)[:7] for row in rows]

    window.page.select_option("#filter-state", "done")
    window.until(lambda: names() == ["003.jpg", "050.jpg"])
    window.page.select_option("#filter-class", label="dog")
    window.until(lambda: names() == ["003.jpg"])
    window.page.select_option("#filter-state", "")
    window.until(lambda: names() == ["003.jpg", "007.jpg"])
    # Keys are for the picture again, and stay within the filter.
    window.press("PageDown")
    window.wait_for_image(ids[7])
    window.press("PageDown")
    window.wait_for_text("#toast", "This is the last image.")


def test_images_with_proposals_come_first(server: Server, open_window: OpenWindow) -> None:
    ids = server.ids()
    for number in (7, 40):
        server.write(ids[number], [proposal(1, _box(1), 1)], "proposed")
    window = open_window(server.address)
    for number in (7, 40, 41):
        window.wait_for_image(ids[number])
        window.press("Shift+A", "Enter")


def test_long_list_shows_where_one_is(server: Server, open_window: OpenWindow) -> None:
    window = open_window(f"{server.address}#{server.ids()[55]}")
    window.wait_for_text("#images [aria-current=true]", "055.jpg")
    assert window.page.locator("#images button").count() < 45
    window.wait_for_text("#place", "56 of 60")


def test_class_is_found_by_what_is_typed(server: Server, open_window: OpenWindow) -> None:
    window = open_window(server.address)

    def rows() -> list[str]:
        found = window.page.locator("#classes button:visible").all_inner_texts()
        return [re.split(r"\s*\n", row)[0] for row in found]

    window.press("t")
    window.page.keyboard.type("FISH")
    window.until(lambda: rows() == ["catfish", "Add “FISH”"])
    window.press("ArrowDown", "ArrowUp", "Enter")
    assert window.state("app.classId") == 2
    window.press("t")
    window.page.keyboard.type("cat")
    window.until(lambda: rows() == ["cat", "catfish"])
    window.press("Escape")
    window.until(lambda: len(rows()) == 3)
    assert window.state("app.classId") == 2
    window.page.click("#classes >> text=dog")
    assert window.state("app.classId") == 1
    window.page.dblclick("#classes >> text=dog")
    window.page.keyboard.type("hound")
    window.press("Enter")
    window.wait_for_text("#classes", "hound")


def test_buttons_of_a_shape(server: Server, open_window: OpenWindow) -> None:
    image = server.ids()[0]
    shapes = [proposal(1, _box(1), 0), proposal(2, _box(20), 1), shape(3, _box(30), 2)]
    server.write(image, shapes, "proposed")
    window = open_window(server.address)
    window.page.locator("#shape-list").get_by_label("Accept").first.click()
    window.page.locator("#shape-list").get_by_label("Delete").nth(1).click()
    window.wait_until_saved()
    stored = server.document(image)["shapes"]
    assert [(each["id"], each["accepted"]) for each in stored] == [("s1", True), ("s3", True)]
    window.page.click("button >> text=Done")
    window.wait_for_image(server.ids()[1])


def test_pace(server: Server, open_window: OpenWindow) -> None:
    window = open_window(server.address)
    for image in server.ids()[1:4]:
        window.press("Enter")
        window.wait_for_image(image)
    text = window.text("#pace")
    assert re.fullmatch(r"3 of 60 done · \d+\.\d s an image · \d+ min left", text)


def test_everything_has_a_name_and_is_large_enough(server: Server, open_window: OpenWindow) -> None:
    window = open_window(server.address)
    server.write(server.ids()[0], [proposal(1, _box(1))], "proposed")
    window.until(lambda: len(window.shapes()) == 1)
    window.press("?")
    nameless = window.page.eval_on_selector_all(
        "button:not([hidden]), input, select",
        "all => all.filter(e => e.offsetParent && !(e.innerText.trim() || e.ariaLabel || e.title"
        " || e.labels?.length)).map(e => e.outerHTML)",
    )
    assert nameless == []
    small = window.page.eval_on_selector_all(
        "body *",
        "all => all.filter(e => e.offsetParent && parseFloat(getComputedStyle(e).fontSize) < 12)"
        ".map(e => e.outerHTML)",
    )
    assert small == []


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (1920, 1080), (900, 700)])
def test_all_is_in_the_window(
    server: Server, open_window: OpenWindow, width: int, height: int
) -> None:
    server.write(server.ids()[0], [proposal(n, _box(n)) for n in range(40)], "proposed")
    window = open_window(server.address)
    window.page.set_viewport_size({"width": width, "height": height})
    window.page.wait_for_timeout(200)
    outside = window.page.eval_on_selector_all(
        "button, select, input, #pace, #stage",
        "all => all.filter(e => !e.closest('.rows') && e.checkVisibility()).map(e => "
        "[e.outerHTML, e.getBoundingClientRect()]).filter(([, r]) => r.right > innerWidth + 1 || "
        "r.bottom > innerHeight + 1 || r.left < 0 || r.top < 0).map(([html]) => html)",
    )
    assert outside == []
    # The picture still fits, in a canvas of the right size.
    view = window.page.evaluate("import('/page/picture/view.js').then(({ view }) => view)")
    stage = window.page.locator("#stage").bounding_box()
    assert stage
    assert (view["width"], view["height"]) == (round(stage["width"]), round(stage["height"]))
    assert stage["width"] > 0.55 * width

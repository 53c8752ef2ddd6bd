"""Boxes and polygons are drawn, chosen and changed with the mouse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from label_page import Box, OpenWindow, Serve, Server, Window, shape, until, write_images

pytestmark = pytest.mark.slow  # each loads the page


@pytest.fixture(scope="module")
def server(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Server:
    folder = tmp_path_factory.mktemp("mouse") / "photos"
    write_images(folder, 2)
    server = serve(folder)
    server.add_classes("one", "two")
    return server


@pytest.fixture
def image(server: Server) -> str:
    return server.ids()[0]


def _open(server: Server, image: str, open_window: OpenWindow, *shapes: Any) -> Window:
    server.write(image, shapes)
    return open_window(f"{server.address}#{image}")


def _stored(window: Window, server: Server, image: str) -> list[Any]:
    window.wait_until_saved()
    return server.document(image)["shapes"]


def _close(box: list[float], wanted: Box) -> bool:
    """Whether a box is right to a pixel of the screen."""
    return box == pytest.approx(wanted, abs=1)


def test_drawing_within_and_across_what_is_there(
    server: Server, image: str, open_window: OpenWindow
) -> None:
    window = _open(server, image, open_window)
    boxes = [(100, 100, 400, 400), (150, 150, 200, 200), (300, 300, 500, 450)]
    for box in boxes:
        window.drag(box)
    # From the lower right corner to the upper left, and beyond the image.
    window.drag((630, 100, 560, 40))
    window.drag((600, 440, 700, 520))
    drawn = _stored(window, server, image)
    for each, box in zip(drawn[:3], boxes, strict=True):
        assert _close(each["box"], box)
    assert _close(drawn[3]["box"], (560, 40, 630, 100))
    assert _close(drawn[4]["box"], (600, 440, 640, 480))
    assert drawn[4]["box"][2:] == [640, 480]


def test_choosing_what_is_behind(server: Server, image: str, open_window: OpenWindow) -> None:
    outer, inner = shape(1, (100, 100, 400, 400)), shape(2, (150, 150, 250, 250))
    window = _open(server, image, open_window, outer, inner)
    chosen = []
    for point in ((200, 200), (200, 200), (200, 200), (300, 300), (20, 20)):
        window.click(*point)
        chosen.append(window.state("app.selected"))
    assert chosen == ["s2", "s1", "s2", "s1", None]


@pytest.mark.parametrize(
    ("start", "end", "wanted"),
    [
        ((200, 150), (220, 180), (120, 130, 320, 230)),  # inside: moves
        ((100, 100), (80, 90), (80, 90, 300, 200)),
        ((300, 200), (350, 260), (100, 100, 350, 260)),
        ((300, 130), (350, 300), (100, 100, 350, 200)),  # a side
        ((200, 200), (150, 260), (100, 100, 300, 260)),
        ((100, 100), (360, 250), (300, 200, 360, 250)),  # over the opposite corner
        ((200, 150), (900, 150), (440, 100, 640, 200)),  # not out of the image
    ],
)
def test_changing_a_box(
    server: Server,
    image: str,
    open_window: OpenWindow,
    start: tuple[int, int],
    end: tuple[int, int],
    wanted: Box,
) -> None:
    window = _open(server, image, open_window, shape(1, (100, 100, 300, 200)))
    window.press("Tab")
    window.press("f")
    window.drag((*start, *end))
    (changed,) = _stored(window, server, image)
    assert _close(changed["box"], wanted)
    assert changed["id"] == "s1"


def test_a_new_box_is_drawn_on_but_one_chosen_is_moved(
    server: Server, image: str, open_window: OpenWindow
) -> None:
    window = _open(server, image, open_window)
    window.drag((100, 100, 300, 300))
    window.drag((150, 150, 200, 200))
    window.click(250, 250)
    window.drag((250, 250, 270, 270))
    window.page.keyboard.down("Shift")
    window.drag((230, 230, 280, 280))
    window.page.keyboard.up("Shift")
    boxes = [each["box"] for each in _stored(window, server, image)]
    wanted = [(120, 120, 320, 320), (150, 150, 200, 200), (230, 230, 280, 280)]
    assert all(_close(*pair) for pair in zip(boxes, wanted, strict=True))


def test_points_of_a_polygon(server: Server, image: str, open_window: OpenWindow) -> None:
    square = [100, 100, 300, 100, 300, 300, 100, 300]
    mask = {"size": [480, 640], "counts": [0, 480 * 640]}
    window = _open(
        server, image, open_window,
        shape(1, (100, 100, 300, 300), polygons=[square], mask=mask),
    )  # fmt: skip
    assert "mask" in server.document(image)["shapes"][0]
    window.press("Tab", "f")
    window.drag((300, 300, 400, 350))  # a point
    window.drag((200, 100, 200, 60))  # between two
    (changed,) = _stored(window, server, image)
    wanted = [100, 100, 200, 60, 300, 100, 400, 350, 100, 300]
    assert changed["polygons"][0] == pytest.approx(wanted, abs=1)
    assert _close(changed["box"], (100, 60, 400, 350))
    # It no longer is what was imported.
    assert "mask" not in changed
    window.click(400, 350, button="right")
    (changed,) = _stored(window, server, image)
    assert changed["polygons"][0] == pytest.approx([100, 100, 200, 60, 300, 100, 100, 300], abs=1)
    window.drag((180, 150, 190, 160))  # all of it
    (changed,) = _stored(window, server, image)
    assert changed["polygons"][0] == pytest.approx([110, 110, 210, 70, 310, 110, 110, 310], abs=1)


def test_clicks_that_would_make_no_area(
    server: Server, image: str, open_window: OpenWindow
) -> None:
    window = _open(server, image, open_window)
    window.click(100, 100)
    window.press("p")
    window.click(100, 100)
    window.click(300, 300)
    window.press("Enter")
    window.wait_for_text("#toast", "A polygon needs three points.")
    window.press("Escape", "p")
    assert window.shapes() == []


def test_wheel_and_middle_button(server: Server, image: str, open_window: OpenWindow) -> None:
    window = _open(server, image, open_window)
    before = window.place(400, 300)
    view = "import('/page/picture/view.js').then(({ view }) => view.scale)"
    scale = window.page.evaluate(view)
    window.page.mouse.move(*before)
    window.page.mouse.wheel(0, -500)
    until(lambda: window.page.evaluate(view) > 1.9 * scale)
    assert window.place(400, 300) == pytest.approx(before, abs=1)  # events have whole pixels
    corner = window.place(0, 0)
    window.drag((400, 300, 410, 320), button="middle")
    moved = [after - old for after, old in zip(window.place(0, 0), corner, strict=True)]
    scale = window.page.evaluate(view)
    assert moved == pytest.approx([10 * scale, 20 * scale], abs=0.01)
    # Drawn where it is seen.
    window.drag((380, 280, 420, 330))
    (drawn,) = _stored(window, server, image)
    assert _close(drawn["box"], (380, 280, 420, 330))


def test_coordinates_of_a_picture_that_is_served_smaller(
    serve: Serve, open_window: OpenWindow, tmp_path: Path
) -> None:
    write_images(tmp_path / "large", 1, (5000, 3000))
    server = serve(tmp_path / "large")
    server.add_classes("one")
    window = open_window(server.address)
    box = (1000, 600, 4600, 2800)
    window.drag(box)
    window.wait_until_saved()
    (drawn,) = server.document(server.ids()[0])["shapes"]
    assert drawn["box"] == pytest.approx(box, abs=7)  # a pixel of the screen is six
    width = window.page.evaluate(
        "import('/page/picture/pictures.js').then(({ loadPicture }) => "
        "import('/page/state.js').then(({ app }) => loadPicture(app.images[0])))"
        ".then((picture) => picture.width)"
    )
    assert width == 2048

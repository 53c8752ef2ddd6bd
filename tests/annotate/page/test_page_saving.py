"""No edit is lost: conflicts, crashes, a full disk, an image that is gone."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import pytest
from label_page import OpenWindow, Serve, Server, Window, shape, write_images

pytestmark = pytest.mark.slow  # each starts a server and a window or two

MINE, THEIRS = (100, 100, 200, 200), (300, 300, 400, 400)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    write_images(tmp_path / "photos", 3)
    return tmp_path / "photos"


@pytest.fixture
def server(photos: Path, serve: Serve) -> Server:
    server = serve(photos)
    server.add_classes("one", "two")
    return server


def _boxes(server: Server, image: str) -> list[list[int]]:
    """Return the stored boxes in whole pixels."""
    return [[round(value) for value in each["box"]] for each in server.document(image)["shapes"]]


def _near(boxes: list[list[int]], *wanted: tuple[int, ...]) -> bool:
    return len(boxes) == len(wanted) and all(
        a == pytest.approx(list(b), abs=1) for a, b in zip(boxes, wanted, strict=True)
    )


# --- two windows ----------------------------------------------------------------------------------


def _make_conflict(server: Server, open_window: OpenWindow) -> tuple[Window, Window, str]:
    """Return two windows that drew on one image; the second one's is stored."""
    image = server.ids()[0]
    mine, theirs = open_window(server.address), open_window(server.address)
    # The first learns of nothing until it saves, as when both save at once.
    mine.page.route("**/api/images", lambda route: route.abort())
    mine.page.route(f"**/api/images/{image}", lambda route: route.abort())
    mine.drag(MINE)
    theirs.drag(THEIRS)
    theirs.wait_until_saved()
    mine.page.unroute("**/api/images")
    mine.page.unroute(f"**/api/images/{image}")
    mine.page.locator("#conflict[open]").wait_for()
    assert _near(_boxes(server, image), THEIRS)
    assert "Mine: To do, shapes: 1" in mine.text("#mine-text")
    assert "stored: To do, shapes: 1" in mine.text("#stored-text")
    return mine, theirs, image


@pytest.mark.parametrize(
    ("button", "kept", "other"),
    [
        ("#keep-mine", [MINE], [THEIRS]),
        ("#take-stored", [THEIRS], [MINE]),
        ("#keep-both", [THEIRS, MINE], [MINE]),
    ],
)
def test_conflict_loses_neither(
    server: Server, open_window: OpenWindow, button: str, kept: Any, other: Any
) -> None:
    mine, theirs, image = _make_conflict(server, open_window)
    mine.press("Escape")  # a choice is needed
    assert mine.page.locator("#conflict[open]").count() == 1
    mine.page.click(button)
    mine.wait_until_saved()
    assert _near(_boxes(server, image), *kept)
    mine.press("z")
    mine.wait_until_saved()
    assert _near(_boxes(server, image), *other)
    # The other window shows what is stored now.
    theirs.until(lambda: len(theirs.shapes()) == len(other))


def test_other_windows_follow(server: Server, open_window: OpenWindow) -> None:
    first, second, _ = server.ids()
    one, two = open_window(server.address), open_window(server.address)
    one.drag(MINE)
    two.until(lambda: len(two.shapes()) == 1)
    # Of an image that is not shown, the list tells.
    one.press("Enter")
    one.wait_for_image(second)
    two.until(lambda: two.state(f"app.entries.get('{first}').state") == "done")
    two.wait_for_text("#pace", "1 of 3 done")
    two.wait_for_text("#state", "Done")


def test_class_renamed_in_another_window(server: Server, open_window: OpenWindow) -> None:
    one, two = open_window(server.address), open_window(server.address)
    one.drag(MINE)
    names = lambda: [each["name"] for each in server.api("classes")["classes"]]  # noqa: E731
    server.api("classes/0", {"name": "uno"}, server.api("classes")["revision"])
    two.wait_for_text("#classes", "uno")
    # As if it had not heard of it yet.
    two.page.evaluate("import('/page/state.js').then(({ app }) => { app.classRevision -= 1 })")
    two.press("2", "F2")
    two.page.keyboard.type("dos")
    two.press("Enter")
    two.wait_for_text("#toast", "Rename it again.")
    two.press("F2")
    two.page.keyboard.type("dos")
    two.press("Enter")
    two.until(lambda: names() == ["uno", "dos"])
    for window in (one, two):
        window.wait_for_text("#classes", "uno")
        window.wait_for_text("#classes", "dos")
    one.wait_until_saved()
    assert [each["class"] for each in server.document(server.ids()[0])["shapes"]] == [0]


# --- crashes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("same_port", [True, False])
def test_crash_of_the_server_and_of_the_window(
    photos: Path, server: Server, serve: Serve, open_window: OpenWindow, same_port: bool
) -> None:
    first, second, _ = server.ids()
    window = open_window(server.address)
    window.drag(MINE)
    window.wait_until_saved()
    window.press("Enter")
    window.wait_for_image(second)
    window.wait_until_saved()
    server.kill()
    window.drag(THEIRS)
    window.wait_for_text("#banner", "Not saved: 001.jpg")
    window.wait_for_text("#saved", "Not saved")

    again = serve(photos, *([f"port={server.port}"] if same_port else []))
    # What was saved before is there; only the last edit is not.
    assert _near(_boxes(again, first), MINE)
    assert again.document(first)["state"] == "done"
    assert again.document(second)["revision"] == 0
    if same_port:
        window.page.evaluate("window.onbeforeunload = null")
        window.page.on("dialog", lambda dialog: dialog.accept())
        window.page.goto(again.address)  # forgets all it had in memory
    else:
        window.page.fill("#banner input", again.address)
        window.page.click("#banner form button")
    window.wait_for_text("#banner", "not saved: 001.jpg.")
    window.page.click("#banner >> text=Save them")
    window.until(lambda: _near(_boxes(again, second), THEIRS))
    window.wait_until_saved()
    assert window.page.locator("#banner").is_hidden()
    assert window.copies() == []


def test_goes_on_by_itself_after_a_restart(
    photos: Path, server: Server, serve: Serve, open_window: OpenWindow
) -> None:
    window = open_window(server.address)
    server.kill()
    window.drag(MINE)
    window.wait_for_text("#banner", "Not saved: 000.jpg")
    again = serve(photos, f"port={server.port}")
    image = again.ids()[0]
    # It has another token, which a second window brings along.
    window.wait_for_text("#banner", "token")
    other = open_window(again.address)
    window.until(lambda: _near(_boxes(again, image), MINE))
    window.wait_until_saved()
    window.until(lambda: window.page.locator("#banner").is_hidden())
    # The edits of a window that lives are not offered in another.
    assert other.page.locator("#banner").is_hidden()


def test_kill_in_the_middle_of_work_loses_at_most_one_edit(
    photos: Path, server: Server, serve: Serve, open_window: OpenWindow
) -> None:
    image = server.ids()[0]
    window = open_window(server.address)
    drawn = 0
    for number in range(6):
        window.drag((20 + 90 * number, 100, 90 + 90 * number, 200))
        drawn += 1
        window.page.wait_for_timeout(1000 if number == 4 else 50)
    server.kill()
    again = serve(photos)
    # Within a second, edits are stored; the sixth was made just before.
    assert len(again.document(image)["shapes"]) >= drawn - 1


def test_answer_that_was_lost_is_no_conflict(server: Server, open_window: OpenWindow) -> None:
    image = server.ids()[0]
    window = open_window(server.address)
    lost = 0

    def lose(route: Any) -> None:
        nonlocal lost
        if route.request.method == "PUT" and lost < 2:
            lost += 1
            if lost == 1:
                route.fetch()  # stored, but the page does not hear of it
            route.abort()
        else:
            route.continue_()

    window.page.route(f"**/api/images/{image}", lose)
    window.drag(MINE)
    window.until(lambda: lost == 1)
    window.drag(THEIRS)
    window.until(lambda: lost == 2)
    window.until(lambda: _near(_boxes(server, image), MINE, THEIRS))
    assert window.page.locator("#conflict[open]").count() == 0


def test_discarding(photos: Path, server: Server, serve: Serve, open_window: OpenWindow) -> None:
    window = open_window(server.address)
    window.page.on("dialog", lambda dialog: dialog.accept())
    server.kill()
    window.drag(MINE)
    window.wait_for_text("#banner", "Not saved")
    again = serve(photos, f"port={server.port}")
    window.page.goto(again.address)
    window.page.click("#banner >> text=Discard")
    assert window.copies() == []
    window.page.goto(again.address)
    window.wait_for_image()
    assert window.page.locator("#banner").is_hidden()
    assert again.document(again.ids()[0])["revision"] == 0


def test_leaving_the_page_at_once(server: Server, open_window: OpenWindow) -> None:
    image = server.ids()[0]
    window = open_window(server.address)
    window.drag(MINE)
    window.page.goto("about:blank")
    window.until(lambda: _near(_boxes(server, image), MINE))


# --- disk and images ------------------------------------------------------------------------------


def test_full_disk_keeps_the_edit(server: Server, open_window: OpenWindow) -> None:
    image = server.ids()[0]
    window = open_window(server.address)
    _, hard = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (1, hard))
    window.drag(MINE)
    window.wait_for_text("#banner", "The disk is full.")
    window.drag(THEIRS)
    assert server.document(image)["revision"] == 0
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
    window.until(lambda: _near(_boxes(server, image), MINE, THEIRS))
    window.until(lambda: window.page.locator("#banner").is_hidden())


def test_image_deleted_and_unreadable(photos: Path, serve: Serve, open_window: OpenWindow) -> None:
    (photos / "001.jpg").write_bytes(b"no picture")
    server = serve(photos)
    server.add_classes("one")
    first, second, third = server.ids()
    server.write(first, [shape(1, MINE)])
    (photos / "000.jpg").unlink()
    window = open_window(f"{server.address}#{third}")
    window.press("PageUp")
    window.wait_for_text("#message", "001.jpg: ")
    window.drag(MINE)
    window.press("c", "Tab", "Space", "x", "Shift+A", "p", "p", "f", "Enter")
    window.wait_for_image(third)
    assert server.document(second)["revision"] == 0
    window.press("PageUp", "PageUp")
    window.wait_for_text("#message", "gone")
    # Its labels can still be changed.
    window.press("Tab", "ArrowRight")
    window.wait_until_saved()
    assert _near(_boxes(server, first), (101, 100, 201, 200))

"""The page opens, draws, saves and goes on: the one browser test that is not slow."""

from __future__ import annotations

from pathlib import Path

from label_page import OpenWindow, Serve, write_images


def test_from_an_empty_folder_to_two_labelled_images(
    tmp_path: Path, serve: Serve, open_window: OpenWindow
) -> None:
    write_images(tmp_path / "photos", 2)
    server = serve(tmp_path / "photos")
    first, second = server.ids()
    window = open_window(server.address)
    window.drag((100, 100, 200, 180))  # waits for its class, the first
    window.page.keyboard.type("pawn")
    window.press("Enter")
    window.page.locator("#shape-list").filter(has_text="pawn").wait_for()
    window.drag((300, 200, 420, 400))
    window.press("Enter")
    window.wait_for_image(second)
    window.press("Enter")
    window.wait_until_saved()

    labelled, empty = server.document(first), server.document(second)
    assert [each["class"] for each in labelled["shapes"]] == [0, 0]
    # A pixel of the screen is less than one of the image.
    for found, drawn in zip(
        labelled["shapes"], [(100, 100, 200, 180), (300, 200, 420, 400)], strict=True
    ):
        assert max(abs(a - b) for a, b in zip(found["box"], drawn, strict=True)) < 1
        assert found["accepted"]
        assert found["origin"] == "human"
    assert (labelled["state"], empty["state"], empty["shapes"]) == ("done", "done", [])
    assert server.api("classes")["classes"] == [{"id": 0, "name": "pawn"}]
    figures = server.api("figures")["rounds"][0]
    assert (figures["images"], figures["objects"], figures["added"]) == (2, 2, 2)
    # Two drags, four letters and three times Enter.
    assert figures["inputs"] == 9
    assert 0 < figures["seconds"] < 60

"""The labelling server's API, through a client of the whole application."""

from __future__ import annotations

import json
import re
import resource
from collections.abc import Callable
from typing import Any

import anyio
import httpx2
import pytest
from labelling import TOKEN, Connect, box
from starlette.testclient import TestClient

from detfinetune.annotate.server import build_app
from detfinetune.annotate.start import open_store
from detfinetune.annotate.store import LabelImage, LabelStore
from detfinetune.config.schema import DataConfig
from detfinetune.labels.formats.json.label_store import Proposal, Shape


def put(
    client: TestClient, image: LabelImage, revision: int | str, **content: Any
) -> httpx2.Response:
    body = {"state": "todo", "shapes": [], **content}
    headers = {"If-Match": f'"{revision}"', "X-Writer": "window-1"}
    return client.put(f"/api/images/{image.id}", content=json.dumps(body), headers=headers)


def test_the_project(client: TestClient, store: LabelStore) -> None:
    assert client.get("/api/project").json() == {
        "root": str(store.root),
        "store": str(store.folder),
        "images": 3,
        "states": {"todo": 3},
        "classes": {"revision": 0, "classes": [{"id": 0, "name": "car"}, {"id": 1, "name": "dog"}]},
        "queue": 0,
    }


def test_the_list_of_images(client: TestClient, image: LabelImage) -> None:
    put(client, image, 0, shapes=[box(), box("s2", **{"class": 1}), box("s3")], state="unsure")
    images = client.get("/api/images").json()["images"]
    assert [each["name"] for each in images] == ["a.jpg", "b.jpg", "sub/c.png"]
    address = images[0].pop("pixels")
    assert re.fullmatch(rf"/api/images/{image.id}/pixels\?v=[0-9a-f]+-[0-9a-f]+", address)
    assert images[0] == {
        "id": image.id, "name": "a.jpg", "width": 100, "height": 80, "error": None,
        "state": "unsure", "split": None, "revision": 1, "shapes": 3, "unreviewed": 0,
        "classes": {"0": 2, "1": 1},
    }  # fmt: skip
    assert {k: images[1][k] for k in ("state", "revision", "shapes", "classes")} == {
        "state": "todo", "revision": 0, "shapes": 0, "classes": None,
    }  # fmt: skip


def test_a_document_is_saved_and_read_back(client: TestClient, image: LabelImage) -> None:
    fresh = client.get(f"/api/images/{image.id}")
    assert fresh.headers["ETag"] == '"0"'
    assert fresh.json() == {
        "id": image.id, "name": "a.jpg", "width": 100, "height": 80, "state": "todo",
        "split": None, "revision": 0, "shapes": [], "proposal": None,
    }  # fmt: skip
    saved = put(client, image, 0, shapes=[box(origin="copy")], state="done")
    assert (saved.status_code, saved.headers["ETag"]) == (200, '"1"')
    assert saved.json()["shapes"] == [
        {
            "id": "s1", "class": 0, "box": [10.0, 20.0, 40.0, 60.0], "polygons": [],
            "crowd": False, "origin": "copy", "score": None, "accepted": True,
        }
    ]  # fmt: skip
    assert client.get(f"/api/images/{image.id}").json() == saved.json()


def test_the_split_stays_unless_it_is_given(client: TestClient, image: LabelImage) -> None:
    assert put(client, image, 0, split="test").json()["split"] == "test"
    assert put(client, image, 1, state="done").json()["split"] == "test"
    assert put(client, image, 2, split=None).json()["split"] is None


def test_two_windows_on_one_image_end_in_a_conflict_with_both_versions(
    client: TestClient, image: LabelImage
) -> None:
    put(client, image, 0, shapes=[box("theirs")])
    answer = put(client, image, 0, shapes=[box("mine")], state="done")
    assert answer.status_code == 412
    content = answer.json()
    assert [shape["id"] for shape in content["mine"]["shapes"]] == ["mine"]
    assert [shape["id"] for shape in content["stored"]["shapes"]] == ["theirs"]
    assert (content["mine"]["revision"], content["stored"]["revision"]) == (0, 1)
    assert client.get(f"/api/images/{image.id}").json() == content["stored"]


def test_a_revision_is_needed(client: TestClient, image: LabelImage) -> None:
    answer = client.put(f"/api/images/{image.id}", json={"state": "todo", "shapes": []})
    assert answer.status_code == 428
    assert "If-Match" in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("{", r"body: Invalid JSON"),
        ('{"state": "done"}', r"shapes: Field required"),
        ('{"state": "finished", "shapes": []}', r"state: Input should be 'todo', 'proposed'"),
        ('{"state": "todo", "shapes": [], "sahpes": []}', r"sahpes: Extra inputs"),
        ('{"state": "todo", "shapes": [{"id": "a", "class": 0, "box": [NaN, 0, 1, 1]}]}',
         r"shapes\.0\.box\.0: Input should be a finite number"),
        ('{"state": "todo", "shapes": [{"id": "a", "class": 0, "box": [0, 0, 1e999, 1]}]}',
         r"shapes\.0\.box\.2: Input should be a finite number"),
        ('{"state": "todo", "shapes": [{"id": "a", "class": 0, "box": [0, 0, 1]}]}',
         r"shapes\.0\.box\.3: Field required"),
        ('{"state": "todo", "shapes": [{"id": "a/b", "class": 0, "box": [0, 0, 1, 1]}]}',
         r"shapes\.0\.id: String should match pattern"),
        ('{"state": "todo", "shapes": [{"id": "a", "class": 0, "box": [0, 0, 9, 9], '
         '"polygons": [[0, 0, 9, 9, 9]]}]}', r"5 numbers; a polygon has 3 points or more"),
        ('{"state": "todo", "shapes": [{"id": "a", "class": 0, "box": [-9, 0, 9, 9]}]}',
         r"shape a: box -9\.0,0\.0 to 9\.0,9\.0 extends outside the 100x80 image"),
        ('{"state": "todo", "shapes": [{"id": "a", "class": 7, "box": [0, 0, 9, 9]}]}',
         r"shape a: there is no class 7"),
        ('{"state": "todo", "shapes": [], "effort": {"seconds": -1}}', r"effort\.seconds"),
    ],
)  # fmt: skip
def test_a_wrong_document_is_refused_with_the_reason(
    client: TestClient, store: LabelStore, image: LabelImage, body: str, reason: str
) -> None:
    answer = client.put(f"/api/images/{image.id}", content=body, headers={"If-Match": '"0"'})
    assert answer.status_code == 422
    assert re.search(reason, answer.json()["error"])
    assert store.document(image).revision == 0


def test_a_body_without_end_is_refused(client: TestClient, image: LabelImage) -> None:
    answer = client.put(
        f"/api/images/{image.id}", content=b" " * (33 << 20), headers={"If-Match": '"0"'}
    )
    assert (answer.status_code, answer.json()) == (413, {"error": "A request may have 32 MB."})


@pytest.mark.parametrize(
    "name", ["0000000000000000", "..%2F..%2Fetc%2Fpasswd", "a.jpg", "%2Fetc%2Fpasswd", "%00"]
)
def test_only_ids_of_images_lead_anywhere(client: TestClient, name: str) -> None:
    for path in (f"/api/images/{name}", f"/api/images/{name}/pixels"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert "error" in answer.json()


@pytest.mark.parametrize(
    "path", ["/page/../server.py", "/page/%2e%2e/server.py", "/page//etc/passwd"]
)
def test_only_the_files_of_the_page_are_served(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_a_full_disk_is_told_and_nothing_is_lost(
    client: TestClient, image: LabelImage, file_size_limit: Callable[[int], None]
) -> None:
    put(client, image, 0, shapes=[box("first")])
    file_size_limit(0)
    answer = put(client, image, 1, shapes=[box("second")])
    file_size_limit(resource.RLIM_INFINITY)
    assert answer.status_code == 507
    assert answer.json()["error"].startswith("The disk is full.")
    assert client.get(f"/api/images/{image.id}").json()["shapes"][0]["id"] == "first"
    assert put(client, image, 1, shapes=[box("second")]).status_code == 200


def test_a_store_that_is_gone_is_told(
    client: TestClient, store: LabelStore, image: LabelImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("detfinetune.files.write_text", refuse)
    answer = put(client, image, 0)
    assert (answer.status_code, answer.json()["error"]) == (
        500, "The labels cannot be written (Permission denied).",
    )  # fmt: skip


def test_labels_of_a_deleted_image_can_still_be_saved(
    client: TestClient, image: LabelImage
) -> None:
    address = client.get("/api/images").json()["images"][0]["pixels"]
    assert client.get(address).status_code == 200
    image.path.unlink()
    answer = client.get(address)
    assert answer.status_code == 410
    assert answer.json()["error"] == "a.jpg: the file is gone. Restore it."
    assert client.get("/api/images").json()["images"][0]["error"] == "the file is gone"
    assert put(client, image, 0, shapes=[box()]).status_code == 200


def test_browsers_may_keep_pictures_until_the_file_changes(
    client: TestClient, image: LabelImage
) -> None:
    address = client.get("/api/images").json()["images"][0]["pixels"]
    first = client.get(address)
    assert first.content == image.path.read_bytes()
    assert first.headers["Cache-Control"] == "private, max-age=86400, immutable"
    again = client.get(address, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    image.path.write_bytes(image.path.read_bytes() + b" ")
    assert client.get("/api/images").json()["images"][0]["pixels"] != address
    assert client.get(address).headers["Cache-Control"] == "no-cache"


def test_an_unreadable_image_is_listed_with_the_reason_and_not_labelled(
    store: LabelStore, connect: Connect
) -> None:
    (store.root / "a.jpg").write_bytes(b"no image")
    client = connect(open_store(DataConfig(root=store.root)))
    entry = client.get("/api/images").json()["images"][0]
    assert (entry["error"], entry["width"]) == ("not an image that Pillow can read", 0)
    pixels = client.get(entry["pixels"])
    assert (pixels.status_code, pixels.json()) == (
        422, {"error": "a.jpg: not an image that Pillow can read."},
    )  # fmt: skip
    answer = client.put(
        f"/api/images/{entry['id']}", json={"state": "done", "shapes": []},
        headers={"If-Match": '"0"'},
    )  # fmt: skip
    assert (answer.status_code, answer.json()) == (
        422, {"error": "a.jpg: not an image that Pillow can read"},
    )  # fmt: skip


def test_a_damaged_document_is_told(
    client: TestClient, store: LabelStore, image: LabelImage
) -> None:
    put(client, image, 0)
    (store.folder / "labels" / "a.jpg.json").write_text("{")
    answer = client.get(f"/api/images/{image.id}")
    assert answer.status_code == 500
    assert "a.jpg.json: damaged" in answer.json()["error"]


# --- classes --------------------------------------------------------------------------------------


def test_classes_are_added_and_renamed(client: TestClient) -> None:
    added = client.post("/api/classes", json={"name": "fish tank"})
    assert added.json()["id"] == 2
    assert client.post("/api/classes", json={"name": "fish tank"}).json() == added.json()
    first = client.get("/api/classes")
    assert first.headers["ETag"] == '"1"'
    renamed = client.put("/api/classes/0", json={"name": "van"}, headers={"If-Match": '"1"'})
    assert [each["name"] for each in renamed.json()["classes"]] == ["van", "dog", "fish tank"]


def test_a_class_renamed_in_two_windows_is_a_conflict(client: TestClient) -> None:
    client.put("/api/classes/0", json={"name": "van"}, headers={"If-Match": '"0"'})
    answer = client.put("/api/classes/0", json={"name": "bus"}, headers={"If-Match": '"0"'})
    assert answer.status_code == 412
    assert answer.json()["mine"] == {"id": 0, "name": "bus", "revision": 0}
    assert answer.json()["stored"]["classes"][0] == {"id": 0, "name": "van"}


def test_labelling_goes_on_while_a_class_is_renamed_elsewhere(
    client: TestClient, image: LabelImage
) -> None:
    put(client, image, 0, shapes=[box()])
    client.put("/api/classes/0", json={"name": "van"}, headers={"If-Match": '"0"'})
    assert put(client, image, 1, shapes=[box(), box("s2")]).status_code == 200


@pytest.mark.parametrize(
    ("number", "name", "status"), [(0, "dog", 422), (0, " ", 422), (9, "x", 404)]
)
def test_a_class_cannot_be_renamed_so(
    client: TestClient, number: int, name: str, status: int
) -> None:
    answer = client.put(f"/api/classes/{number}", json={"name": name}, headers={"If-Match": '"0"'})
    assert answer.status_code == status
    assert answer.json()["error"]


# --- figures and events ---------------------------------------------------------------------------


def test_figures_follow_the_effort(
    client: TestClient, store: LabelStore, image: LabelImage
) -> None:
    proposed = Shape(id="p", class_id=0, box=(10, 20, 40, 60), score=0.5)
    store.propose(image, Proposal(model="m", round=1, shapes=(proposed,)))
    store.log("round", round=1, ap=None)
    document = client.get(f"/api/images/{image.id}").json()
    assert document["proposal"] == {"model": "m", "round": 1, "count": 1}
    shape = {**document["shapes"][0], "accepted": True}
    effort = {"seconds": 3.5, "inputs": 4}
    put(client, image, 1, state="done", shapes=[shape, box("new")], effort=effort)
    assert client.get("/api/figures").json()["rounds"][1] == {
        "round": 1, "images": 1, "objects": 2, "seconds": 3.5, "inputs": 4,
        "accepted": 1, "edited": 0, "deleted": 0, "added": 1, "ap": None,
        "test_ap": None,
    }  # fmt: skip


def test_changes_are_sent_to_other_windows(store: LabelStore, image: LabelImage) -> None:
    """Drives the application directly: the client for tests waits for the end of a stream."""
    stop = False
    app = build_app(store, TOKEN, stopping=lambda: stop)
    sent: list[str] = []

    async def request(method: str, path: str, body: bytes = b"", **headers: str) -> int:
        nonlocal stop
        status = 0
        bodies = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Any:
            if bodies:
                return bodies.pop()
            await anyio.sleep_forever()

        async def send(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)
            if path == "/api/events":
                sent.append(message.get("body", b"").decode())

        pairs = {"host": "127.0.0.1", "authorization": f"Bearer {TOKEN}", **headers}
        scope = {
            "type": "http", "method": method, "path": path, "query_string": b"",
            "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in pairs.items()],
        }  # fmt: skip
        await app(scope, receive, send)
        return status

    async def session() -> None:
        nonlocal stop
        async with anyio.create_task_group() as group:
            group.start_soon(request, "GET", "/api/events")
            with anyio.fail_after(20):
                while not any("connected" in text for text in sent):
                    await anyio.sleep(0.01)
                body = json.dumps({"state": "done", "shapes": []}).encode()
                headers = {"if_match": '"0"', "x_writer": "other"}
                path = f"/api/images/{image.id}"
                assert await request("PUT", path, body, **headers) == 200
                while not any("data:" in text for text in sent):
                    await anyio.sleep(0.01)
            stop = True

    anyio.run(session)
    text = "".join(sent)
    found = re.search(r"^id: (\d+)\ndata: (.+)\n\n", text, re.MULTILINE)
    assert found is not None
    assert int(found[1]) == store.journal.stat().st_size
    event = json.loads(found[2])
    assert (event["event"], event["id"], event["revision"], event["writer"]) == (
        "save", image.id, 1, "other",
    )  # fmt: skip

"""Lists of places to review: by hand, and the findings of a check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from labelling import Connect
from labels.hand_made import yolo

from detfinetune.annotate.review_queue import read_queue
from detfinetune.annotate.start import open_store
from detfinetune.annotate.store import LabelStore
from detfinetune.config.load import build_config
from detfinetune.config.schema import CheckConfig, DataConfig
from detfinetune.errors import DataError

ITEM = {
    "image": "sub/c.png", "box": [10, 10, 30, 30], "reason": "a van?", "class": "car",
    "prediction": {"box": [11, 10, 30, 31], "class": "van", "score": 0.93},
}  # fmt: skip


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_a_queue_is_served_and_keeps_its_verdicts(
    store: LabelStore, connect: Connect, tmp_path: Path
) -> None:
    path = write(tmp_path / "queue.json", [ITEM, {"image": "a.jpg", "reason": "blurred"}])
    queue = read_queue(path, store.root, store.images.values())
    client = connect(store, queue=queue)
    assert client.get("/api/project").json()["queue"] == 2
    first, second = client.get("/api/queue").json()["items"]
    ids = {image.name: image.id for image in store.images.values()}
    assert first == {**ITEM, "id": first["id"], "image": ids["sub/c.png"], "verdict": None}
    assert (second["box"], second["reason"]) == (None, "blurred")
    for verdict in ("label", "edit"):
        answer = client.put(f"/api/queue/{first['id']}", json={"verdict": verdict})
        assert answer.json() == {"id": first["id"], "verdict": verdict}
    assert client.put("/api/queue/none", json={"verdict": "edit"}).status_code == 404
    assert client.put(f"/api/queue/{first['id']}", json={"verdict": "x"}).status_code == 422
    again = connect(open_store(DataConfig(root=store.root)), queue=queue)
    assert [item["verdict"] for item in again.get("/api/queue").json()["items"]] == ["edit", None]


def test_the_findings_of_a_check_are_a_queue(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from detfinetune.check_dataset import check_dataset

    boxes = [("car", 10.0, 20.0, 30.0, 40.0), ("dog", 10.0, 20.0, 30.0, 40.0)]
    for name in ("a", "b", "sub/c"):
        (photos / f"{name}.txt").write_text(yolo(boxes if name == "sub/c" else boxes[:1]))
    (photos / "classes.txt").write_text("car\ndog\n")
    values = {"data.root": photos, "output": tmp_path / "out", "quick": True}
    check_dataset(build_config("check", CheckConfig, values))
    store = open_store(DataConfig(root=photos))
    items = read_queue(tmp_path / "out" / "findings.json", photos, store.images.values()).values()
    (pair,) = [item for item in items if item.reason.startswith("same_box_two_classes: dog")]
    assert (pair.image, pair.box, pair.class_name) == ("sub/c.png", (10, 20, 40, 60), "dog")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[", r"neither the findings\.json of `detfinetune check` nor a list"),
        ("[]", r"names no places in images; there is nothing to review"),
        ("{}", r"\(KeyError\('dataset'\)\)"),
        ('[{"image": "a.jpg"}]', r"\(0\.reason: Field required\)"),
        ('[{"image": "a.jpg", "reason": "r", "box": [1, 2]}]', r"\(0\.box\.2: Field required\)"),
        ('[{"image": "z.jpg", "reason": "r"}]', r"none of its images, such as z\.jpg, is in"),
    ],
)
def test_a_wrong_queue_is_refused(
    store: LabelStore, tmp_path: Path, text: str, reason: str
) -> None:
    (tmp_path / "queue.json").write_text(text)
    with pytest.raises(DataError, match=reason):
        read_queue(tmp_path / "queue.json", store.root, store.images.values())


def test_no_queue_is_there(store: LabelStore, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.json: cannot be read \(No such file"):
        read_queue(tmp_path / "none.json", store.root, store.images.values())


def test_places_in_other_images_are_left_out(
    store: LabelStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "queue.json", [ITEM, {"image": "gone.jpg", "reason": "r"}])
    assert len(read_queue(path, store.root, store.images.values())) == 1
    assert "1 of 2 places are in images that are not in" in capsys.readouterr().err

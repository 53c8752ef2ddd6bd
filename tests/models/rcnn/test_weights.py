"""Where base weights come from; downloads are served by a real server on this machine."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch

from detfinetune.errors import CacheError, WeightsError
from detfinetune.models.download import DownloadError, download, reachable
from detfinetune.models.rcnn import zoo
from detfinetune.models.rcnn.weights import find_base_weights, zoo_reachable, zoo_weights_cached
from detfinetune.models.weight_files import read_state_dict, read_zoo_pickle

R50 = "COCO-Detection/faster_rcnn_R_50_FPN_3x"
BODY = bytes(range(256)) * 4000


class Server(BaseHTTPRequestHandler):
    """Serves BODY; below /short it announces more than it sends, below /gone nothing is."""

    requests: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.requests.append(self.path)
        if self.path.startswith("/gone"):
            self.send_error(404)
            return
        self.send_response(200)
        announced = len(BODY) + (1000 if self.path.startswith("/short") else 0)
        self.send_header("Content-Length", str(announced))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(BODY)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture
def server() -> Iterator[str]:
    Server.requests.clear()
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.fixture(autouse=True)
def zoo_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A zoo cache of the test's own."""
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path / "zoo"))
    return tmp_path / "zoo"


def serve_zoo_at(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point the zoo at another server; nothing else is changed."""
    monkeypatch.setattr(zoo, "ZOO_URL", f"{address}/detectron2/")


def test_download_is_whole(server: str, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file.pkl"
    download(f"{server}/file.pkl", target)
    assert target.read_bytes() == BODY
    assert [path.name for path in target.parent.iterdir()] == ["file.pkl"]


@pytest.mark.parametrize(
    ("path", "said"), [("/short/x", f"after {len(BODY)} of {len(BODY) + 1000}"), ("/gone", "404")]
)
def test_download_that_fails_leaves_nothing(
    server: str, tmp_path: Path, path: str, said: str
) -> None:
    target = tmp_path / "deep" / "file.pkl"
    with pytest.raises(DownloadError, match=said):
        download(server + path, target)
    assert not target.parent.exists() or not list(target.parent.iterdir())


def test_zoo_weights_are_fetched_once_to_detectron2s_place(
    server: str, zoo_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from detectron2.utils.file_io import PathManager

    serve_zoo_at(server, monkeypatch)
    assert zoo_weights_cached(R50) is None
    found = find_base_weights(R50, "auto", "bbox")
    assert found.kind == "detectron2"
    assert found.path == zoo_weights_cached(R50)
    assert found.path.read_bytes() == BODY
    assert found.description == f"{R50} of Detectron2's zoo ({found.path})"
    assert find_base_weights("COCO-Detection/faster_rcnn_R_50_FPN_1x", R50, "bbox") == found
    assert len(Server.requests) == 1
    # Detectron2's own loader finds the same file, and does not fetch it again.
    assert PathManager.get_local_path(zoo.zoo_weights_url(R50)) == str(found.path)
    assert len(Server.requests) == 1


@pytest.mark.parametrize("trouble", ["/gone", "/short", "unreachable"])
def test_zoo_weights_that_cannot_be_loaded_list_alternatives(
    server: str, zoo_cache: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    address = "http://127.0.0.1:9" if trouble == "unreachable" else server + trouble
    serve_zoo_at(address, monkeypatch)
    with pytest.raises(WeightsError) as raised:
        find_base_weights(R50, "auto", "bbox")
    text, url = str(raised.value), zoo.zoo_weights_url(R50)
    for way in (
        f"download {url} on another machine and copy it to {zoo_cache}{urlsplit(url).path}",
        "model.weights=FILE",
        "model.name=efficientnet_lite0_fpn",
        "model.weights=random",
    ):
        assert way in text
    assert zoo_weights_cached(R50) is None


def test_zoo_weights_that_do_not_fit_into_the_cache(
    server: str,
    zoo_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    file_size_limit: Callable[[int], None],
) -> None:
    serve_zoo_at(server, monkeypatch)
    file_size_limit(64 << 10)
    with pytest.raises(CacheError) as raised:
        find_base_weights(R50, "auto", "bbox")
    text = str(raised.value)
    assert text.startswith(f"{zoo_cache}: the cache cannot be written (File too large).")
    assert "set FVCORE_CACHE to another folder" in text
    assert zoo_weights_cached(R50) is None


def test_zoo_is_reachable_only_when_it_answers(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_zoo_at(server, monkeypatch)
    assert zoo_reachable(timeout_s=2) is True
    assert reachable(f"{server}/gone", 2) is False
    serve_zoo_at("http://127.0.0.1:9", monkeypatch)
    assert zoo_reachable(timeout_s=0.5) is False


def test_packaged_weights_are_installed() -> None:
    found = find_base_weights("efficientnet_lite0_fpn", "auto", "segm")
    assert found.kind == "backbone"
    assert found.path is not None
    assert found.path.stat().st_size > 10_000_000


def test_random_is_only_taken_when_named() -> None:
    assert find_base_weights("timm/resnet18", "random", "bbox").kind == "random"


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("nothing/here.pth", "model.weights=nothing/here.pth is not a file"),
        ("COCO-Detection/faster_rcnn_R_50_FPN_2x", "Did you mean"),
        ("rnadom", "Did you mean 'random'?"),
    ],
)
def test_weights_that_are_not_there(named: str, said: str) -> None:
    with pytest.raises(WeightsError) as raised:
        find_base_weights("efficientnet_lite0_fpn", named, "bbox")
    assert said in str(raised.value)


@pytest.mark.parametrize(
    "name", ["cut.pth", "text.pth", "list.pth", "cut.pkl", "text.pkl", "list.pkl"]
)
def test_broken_weight_files_are_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    state = {"layer.weight": torch.ones(200, 200)}
    if name == "cut.pth":
        torch.save(state, path)
        path.write_bytes(path.read_bytes()[:5000])
    elif name == "list.pth":
        torch.save([1, 2], path)
    elif name == "cut.pkl":
        path.write_bytes(pickle.dumps({"model": {"w": np.ones(9)}, "__author__": "x"})[:-20])
    elif name == "list.pkl":
        path.write_bytes(pickle.dumps([1, 2]))
    else:
        path.write_text("no weights at all")
    read = read_zoo_pickle if path.suffix == ".pkl" else read_state_dict
    with pytest.raises(WeightsError) as raised:
        read(path)
    assert str(path) in str(raised.value)


class Harmful:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (self.marker,))  # type: ignore[return-value]


def test_a_pickle_cannot_run_code(tmp_path: Path) -> None:
    path, marker = tmp_path / "model.pkl", tmp_path / "ran"
    path.write_bytes(pickle.dumps({"model": Harmful(marker), "__author__": "x"}))
    torch_file, script = tmp_path / "model.pth", tmp_path / "script.pth"
    torch.save({"model": Harmful(marker)}, torch_file)
    torch.jit.script(torch.nn.Linear(1, 1)).save(str(script))
    for file, read, name in (
        (path, read_zoo_pickle, "pathlib.Path.touch"),
        (torch_file, read_state_dict, "getattr"),
        (script, read_state_dict, "TorchScript"),
    ):
        with pytest.raises(WeightsError) as raised:
            read(file)
        text = str(raised.value)
        assert text.startswith(f"{file}: this file contains code ({name}) and was not loaded.")
        assert "weights_only" not in text
        assert "truncated" not in text
    assert not marker.exists()


@pytest.mark.parametrize("fault", ["flipped", "nan"])
def test_damaged_weights_are_not_loaded(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "model.pth"
    weight = torch.full((200,), 1.5)
    if fault == "nan":
        weight[7] = float("nan")
    torch.save({"layer.weight": weight}, path)
    if fault == "flipped":
        whole = bytearray(path.read_bytes())
        whole[whole.find(weight.numpy().tobytes()) + 2] ^= 0xFF
        path.write_bytes(whole)
    reason = {"flipped": "the checksum of its part", "nan": "layer.weight has values that are NaN"}
    with pytest.raises(WeightsError, match=reason[fault]):
        read_state_dict(path)


def test_zoo_pickles_are_read_in_both_forms(tmp_path: Path) -> None:
    arrays = {"conv1_w": np.arange(4, dtype=np.float32), "conv1_w_momentum": np.ones(4)}
    caffe2, own = tmp_path / "caffe2.pkl", tmp_path / "own.pkl"
    caffe2.write_bytes(pickle.dumps({"blobs": arrays}, protocol=2))
    content = {"model": arrays, "__author__": "torchvision", "matching_heuristics": True}
    own.write_bytes(pickle.dumps(content))
    first, second = read_zoo_pickle(caffe2), read_zoo_pickle(own)
    assert (first.author, first.match_by_name_ends) == ("Caffe2", True)
    assert (second.author, second.match_by_name_ends) == ("torchvision", True)
    assert list(first.tensors) == list(second.tensors) == ["conv1_w"]
    assert first.tensors["conv1_w"].tolist() == [0, 1, 2, 3]


def test_averaged_weights_are_taken_where_there_are_any(tmp_path: Path) -> None:
    weights, average = {"a": torch.zeros(2)}, {"a": torch.ones(2)}
    for name, ema, expected in (("plain", None, 0.0), ("averaged", average, 1.0)):
        path = tmp_path / f"{name}.pth"
        torch.save({"format": 1, "classes": ["x"], "model": weights, "ema": ema}, path)
        assert read_state_dict(path)["a"].tolist() == [expected] * 2

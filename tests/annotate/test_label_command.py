"""`detfinetune label` as a process: started, killed, stopped, and refused."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from labelling import box

from detfinetune.annotate.label import _open, label
from detfinetune.config.load import load_label_config
from detfinetune.config.schema import DataConfig, LabelConfig
from detfinetune.errors import ConfigError, DataError, MissingExtraError

Start = Callable[..., "Server"]


class Server:
    """A running `detfinetune label`, and a client that has its cookie."""

    def __init__(self, *words: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "detfinetune", "label", *words],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.said: list[str] = []
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)
            if line.startswith("Stop with"):
                break
        address = re.search(r"http://\S+", "".join(self.said))
        assert address is not None, self.said
        self.client = httpx2.Client(base_url=address[0].partition("?")[0], follow_redirects=True)
        assert self.client.get(address[0]).status_code == 200

    def save(self, image: str, revision: int, *shapes: dict[str, Any]) -> httpx2.Response:
        body = {"state": "todo", "shapes": shapes}
        return self.client.put(
            f"/api/images/{image}", json=body, headers={"If-Match": f'"{revision}"'}
        )

    def images(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.client.get("/api/images").json()["images"]
        return found

    def end(self, number: int) -> tuple[int, str]:
        """Send a signal; return the exit code and what was said until then."""
        self.process.send_signal(number)
        assert self.process.stdout is not None
        said = self.process.stdout.read()
        return self.process.wait(), said


@pytest.fixture
def start() -> Iterator[Start]:
    """Return a function that starts a server; all are killed in the end."""
    servers: list[Server] = []

    def started(*words: str) -> Server:
        servers.append(Server(*words))
        return servers[-1]

    yield started
    for server in servers:
        server.client.close()
        server.process.kill()
        server.process.communicate()


def test_a_killed_server_has_lost_nothing_that_was_answered(start: Start, photos: Path) -> None:
    first = start(str(photos), "--no-browser", "data.classes=[car]")
    image = first.images()[0]["id"]
    for revision in range(5):
        assert first.save(image, revision, box(f"s{revision}")).status_code == 200
    first.end(signal.SIGKILL)
    second = start(str(photos), "browser=false")
    document = second.client.get(f"/api/images/{image}").json()
    assert (document["revision"], document["shapes"][0]["id"]) == (5, "s4")
    assert second.save(image, 5, box("next")).status_code == 200
    journal = (photos / ".detfinetune" / "journal.jsonl").read_text().splitlines()
    assert [json.loads(line)["revision"] for line in journal] == [1, 2, 3, 4, 5, 6]


def test_two_servers_on_one_folder_do_not_overwrite_each_other(start: Start, photos: Path) -> None:
    words = (str(photos), "--no-browser", "data.classes=[car]")
    one, two = start(*words), start(*words)
    image = one.images()[0]["id"]
    with two.client.stream("GET", "/api/events") as events:
        lines = events.iter_lines()
        assert next(lines) == ": connected"
        assert one.save(image, 0, box("one")).status_code == 200
        data = next(line for line in lines if line.startswith("data:"))
    assert json.loads(data.removeprefix("data:"))["id"] == image
    assert two.images()[0]["revision"] == 1
    conflict = two.save(image, 0, box("two"))
    assert conflict.status_code == 412
    assert conflict.json()["stored"]["shapes"][0]["id"] == "one"


def test_what_is_said_until_ctrl_c_ends_it_at_once(
    start: Start, photos: Path, tmp_path: Path
) -> None:
    store = tmp_path / "my labels"
    server = start(f"data.root={photos}", f"store={store}", "--no-browser")
    port = server.client.base_url.port
    assert server.said[:2] == [
        f"3 images in {photos}, 0 of them done\n",
        f"Labels are kept in {store}; train on them with data.root={photos} "
        f"data.labels='{store}'\n",
    ]
    assert re.fullmatch(rf"Open http://127\.0\.0\.1:{port}/\?token=[\w-]{{20,}}\n", server.said[2])
    assert server.said[3] == (
        f"From another machine, first: ssh -L {port}:127.0.0.1:{port} THIS_MACHINE\n"
    )
    with server.client.stream("GET", "/api/events") as events:
        assert next(events.iter_lines()) == ": connected"
        assert server.end(signal.SIGINT) == (0, "\nStopped. All labels are saved.\n")


def test_a_port_in_use_is_told(photos: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError) as caught:
            label(LabelConfig(data=DataConfig(root=photos), port=port, browser=False))
    assert str(caught.value) == (
        f"port={port}: cannot be used (Address already in use). Choose another, or leave it out "
        "for a free one."
    )


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.root: there is no folder"):
        label(LabelConfig(data=DataConfig(root=tmp_path / "none")))
    with pytest.raises(ConfigError, match=r"data\.root is missing"):
        label(LabelConfig())


def test_the_extra_is_named(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'detfinetune\[label\]'"):
        label(LabelConfig(data=DataConfig(root=photos)))


@pytest.mark.parametrize("words", [["DIR", "--no-browser"], ["--no-browser", "DIR"]])
def test_the_folder_is_an_argument(words: list[str]) -> None:
    config = load_label_config([*words, "port=8000"])
    assert (config.data.root, config.browser, config.port) == (Path("DIR"), False, 8000)
    assert load_label_config(["data.root=DIR"]).browser


def test_the_browser_is_opened_only_where_there_is_a_screen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr("threading.Thread.start", lambda thread: thread.run())
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert not _open("http://127.0.0.1:1/")
    monkeypatch.setenv("DISPLAY", ":0")
    assert _open("http://127.0.0.1:1/")
    assert opened == ["http://127.0.0.1:1/"]

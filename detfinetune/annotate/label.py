"""`detfinetune label`: open the store, and serve the labelling page until Ctrl-C."""

from __future__ import annotations

import os
import secrets
import socket
import sys
import threading
import webbrowser
from contextlib import suppress
from pathlib import Path

from detfinetune.annotate.start import open_store
from detfinetune.annotate.store import LabelStore
from detfinetune.config.schema import LabelConfig
from detfinetune.console import command_line, say
from detfinetune.errors import ConfigError, MissingExtraError
from detfinetune.labels.formats.json.label_store import STORE_FOLDER

_ADDRESS = "127.0.0.1"


def label(config: LabelConfig) -> None:
    """Serve the labelling page of a folder of images.

    Raises:
        MissingExtraError: starlette or uvicorn is not installed.
        ConfigError, DataError: the folder, its labels, the queue or the port cannot be used.
        OutputExistsError: the labels cannot be written.
    """
    try:
        import uvicorn

        from detfinetune.annotate.jobs import Jobs
        from detfinetune.annotate.server import build_app
    except ModuleNotFoundError as error:
        raise MissingExtraError("label", "Labelling in the browser") from error
    from detfinetune.annotate.review_queue import read_queue

    store = open_store(config.data, config.store)
    images = list(store.images.values())
    queue = None if config.queue is None else read_queue(config.queue, store.root, images)
    listener = _listen(config.port)
    port = listener.getsockname()[1]
    token = secrets.token_urlsafe(16)
    jobs = Jobs(store, config.train)
    jobs.watch()
    app = build_app(
        store, token, cookie=f"detfinetune-{port}", queue=queue, jobs=jobs,
        stopping=lambda: server.should_exit,
    )  # fmt: skip
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    address = f"http://{_ADDRESS}:{port}/?token={token}"
    _say_where(store, queue, address, port, opened=config.browser and _open(address))
    with suppress(KeyboardInterrupt):  # How it is meant to end.
        server.run(sockets=[listener])
    say("\nStopped. All labels are saved.")
    stopped = jobs.close()
    if stopped and stopped.kind == "train":
        say(
            "The training saves a checkpoint and stops. Resume it on the page, or with:\n"
            f"  {command_line('train')} resume={_shown(Path(stopped.run))}"
        )
    elif stopped:
        say("No more images get proposals; those that have some keep them.")


def _listen(port: int | None) -> socket.socket:
    """Return a socket that takes connections, on a free port or the wanted one.

    Raises:
        ConfigError: the port cannot be used.
    """
    # asyncio turns off Nagle's algorithm, which delays answers by 40 ms, only where TCP is named.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if os.name == "posix":
        # Else the port of a server that has just stopped is refused for a minute.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((_ADDRESS, port or 0))
        listener.listen()
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"port={port}: cannot be used ({error.strerror}). Choose another, or leave it out for "
            "a free one."
        ) from None
    return listener


def _open(address: str) -> bool:
    """Open a browser window, unless there is no screen to open it on."""
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        return False  # A browser for text would take the terminal.
    threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    return True


def _say_where(store: LabelStore, queue: object, address: str, port: int, *, opened: bool) -> None:
    done = sum(summary.state == "done" for _, summary in store.summaries())
    say(f"{len(store.images)} images in {store.root}, {done} of them done")
    options = f"data.root={_shown(store.root)}"
    if store.folder != store.root / STORE_FOLDER:
        options += f" data.labels={_shown(store.folder)}"
    say(f"Labels are kept in {store.folder}; train on them with {options}")
    say(f"{'Opening' if opened else 'Open'} {address}")
    if not opened:
        say(f"From another machine, first: ssh -L {port}:{_ADDRESS}:{port} THIS_MACHINE")
    say("Stop with Ctrl-C.")


def _shown(path: Path) -> str:
    return f"'{path}'" if " " in str(path) else str(path)

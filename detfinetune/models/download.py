"""Fetching a file over HTTP: with a progress bar, a checked size, and whole or not at all."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

from detfinetune import console
from detfinetune.files import atomic_path

_CHUNK = 1 << 18


class DownloadError(Exception):
    """A download failed; the text says why in a few words, for the caller's own message."""


def download(url: str, path: Path, timeout_s: float = 30.0) -> None:
    """Fetch `url` to `path`, which appears only when every byte has come.

    Args:
        url: http or https address; the server has to send Content-Length for the size check.
        path: target; its folder is made.
        timeout_s: longest silence of the server, seconds.

    Raises:
        DownloadError: no answer, an HTTP error, fewer or more bytes than were announced, or a
            target that cannot be written.
    """
    try:
        # The addresses are https ones of the model zoo, or what a test serves itself.
        with urllib.request.urlopen(url, timeout=timeout_s) as response, atomic_path(path) as part:
            _copy(response, part, path.name)
    except urllib.error.HTTPError as error:
        error.close()  # it holds the connection open
        raise DownloadError(f"{url} answers {error.code} {error.reason}.") from error
    except urllib.error.URLError as error:
        raise DownloadError(f"{url} cannot be reached ({error.reason}).") from error
    except (OSError, http.client.HTTPException) as error:
        raise DownloadError(f"fetching {url} to {path} failed ({error}).") from error


def _copy(response: http.client.HTTPResponse, part: Path, name: str) -> None:
    announced = response.headers.get("Content-Length")
    total = int(announced) if announced and announced.isdigit() else None
    received = 0
    bar: tqdm[bytes] = console.progress(description=f"Downloading {name}", total=total, unit="B")
    with part.open("wb") as stream, bar:
        bar.unit_scale = True
        while chunk := response.read(_CHUNK):
            stream.write(chunk)
            received += len(chunk)
            bar.update(len(chunk))
    if total is not None and received != total:
        raise DownloadError(f"the download ended after {received} of {total} bytes; try again.")


def reachable(url: str, timeout_s: float) -> bool:
    """Say whether a server answers a request for `url`'s headers within `timeout_s` seconds."""
    request = urllib.request.Request(url, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=timeout_s):
            return True
    except urllib.error.HTTPError as error:
        error.close()  # it holds the connection open
        return False
    except (OSError, http.client.HTTPException):
        return False

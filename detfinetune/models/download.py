"""Downloads files over HTTP, atomically, with a progress bar and a check of the size."""

from __future__ import annotations

import errno
import http.client
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

from detfinetune import console
from detfinetune.files import atomic_path

_CHUNK = 1 << 18
# Errors of the disk; those of the network have other numbers.
_CANNOT_WRITE = (
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS,
    errno.ENOTDIR, errno.EEXIST,
)  # fmt: skip


class DownloadError(Exception):
    """A download failed; the text is a short reason for the caller's message."""


def download(url: str, path: Path, timeout_s: float = 30.0) -> None:
    """Download `url` to `path`, atomically.

    Args:
        url: http or https; the size is checked if the server sends Content-Length.
        path: target; its folder is created.
        timeout_s: maximum time without data from the server, seconds.

    Raises:
        DownloadError: no answer, an HTTP error, or a wrong number of bytes.
        OSError: the target cannot be written.
    """
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as response, atomic_path(path) as part:
            _copy(response, part, path.name)
    except urllib.error.HTTPError as error:
        error.close()  # it holds the connection open
        raise DownloadError(f"{url} returned {error.code} {error.reason}.") from error
    except urllib.error.URLError as error:
        raise DownloadError(f"{url} cannot be reached ({error.reason}).") from error
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, OSError) and error.errno in _CANNOT_WRITE:
            raise
        raise DownloadError(f"downloading {url} to {path} failed ({error}).") from error


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
    """Return whether a server answers a HEAD request for `url` within `timeout_s` seconds."""
    request = urllib.request.Request(url, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=timeout_s):
            return True
    except urllib.error.HTTPError as error:
        error.close()  # it holds the connection open
        return False
    except (OSError, http.client.HTTPException):
        return False

"""Response times of the labelling server on generated images.

    python benchmarks/labelling_api.py --images 48 5000
    python benchmarks/labelling_api.py --images 48 --training

Starts `detfinetune label` on a folder with YOLO labels, then loads, changes and saves random
images, one request after the other; with --training, while a training that was started by the API
takes its steps. Milliseconds are those of the client, with the network stack
of the machine.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from detfinetune.console import table

_WIDTH, _HEIGHT = 1280, 960


def main() -> None:
    """Measure each number of images, and print a row a request."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=[48, 5000])
    parser.add_argument("--objects", type=int, default=5, help="per image")
    parser.add_argument("--requests", type=int, default=300, help="of each kind")
    parser.add_argument("--training", action="store_true", help="train meanwhile")
    arguments = parser.parse_args()
    rows: list[list[object]] = []
    for images in arguments.images:
        with tempfile.TemporaryDirectory() as folder:
            _write_dataset(Path(folder), images, arguments.objects)
            for start in ("first start", "later start"):
                is_last = start == "later start"
                seconds, times = _measure(
                    Path(folder), arguments.requests, training=arguments.training and is_last
                )
                rows.append([images, f"{start}, s", seconds, None, None])
            for name, values in times.items():
                p50, p95 = np.percentile(values, (50, 95)).tolist()
                rows.append([images, f"{name}, ms", p50, p95, max(values)])
    print(table(rows, ["images", "", "median", "p95", "most"]))


def _write_dataset(root: Path, images: int, objects: int) -> None:
    draw = random.Random(0)
    Image.radial_gradient("L").resize((_WIDTH, _HEIGHT)).convert("RGB").save(root / "first.jpg")
    pixels = (root / "first.jpg").read_bytes()
    (root / "first.jpg").unlink()
    for number in range(images):
        lines = [
            f"{draw.randrange(5)} {draw.uniform(0.1, 0.9):.4f} {draw.uniform(0.1, 0.9):.4f} 0.1 0.1"
            for _ in range(objects)
        ]
        (root / f"{number:05}.jpg").write_bytes(pixels)
        (root / f"{number:05}.txt").write_text("\n".join(lines))


def _measure(root: Path, requests: int, *, training: bool) -> tuple[float, dict[str, list[float]]]:
    """Return the seconds until the server answers, and milliseconds by kind of request."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "detfinetune", "label", str(root), "--no-browser"]
    server = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=root
    )
    try:
        assert server.stdout is not None
        said = iter(server.stdout)
        address = next(
            found for line in said if (found := re.search(r":(\d+)/\?token=(\S+)", line))
        )
        client = _Client(int(address[1]), address[2])
        images = json.loads(client.request("list", "GET", "/api/images")[0])["images"]
        seconds = time.perf_counter() - started
        if training:
            _start_training(client)
        for _ in range(requests):
            image = random.choice(images)
            path = f"/api/images/{image['id']}"
            text, etag = client.request("GET of a document", "GET", path)
            shapes = json.loads(text)["shapes"]
            shapes[0]["box"][2] = min(_WIDTH, shapes[0]["box"][2] + 1)
            body = json.dumps({"state": "done", "shapes": shapes})
            client.request("PUT of a document", "PUT", path, body, {"If-Match": etag})
            client.request("GET of a picture", "GET", image["pixels"])
        return seconds, client.times
    finally:
        server.terminate()
        server.communicate()


def _start_training(client: _Client) -> None:
    """Start a training, and wait until it has logged its first steps."""
    client.request("start of a training", "POST", "/api/jobs", json.dumps({"kind": "train"}))
    while True:
        job = json.loads(client.request("GET of jobs", "GET", "/api/jobs")[0])["jobs"][-1]
        if job["progress"]["step"]:
            return
        assert job["state"] == "running", job["error"]
        time.sleep(1)


class _Client:
    """Times requests over one connection."""

    def __init__(self, port: int, token: str) -> None:
        self.times: dict[str, list[float]] = {}
        self._connection = http.client.HTTPConnection("127.0.0.1", port)
        self._headers = {"Authorization": f"Bearer {token}"}

    def request(
        self,
        kind: str,
        method: str,
        path: str,
        body: str = "",
        headers: dict[str, str] | None = None,
    ) -> tuple[bytes, str]:
        """Return the body and the ETag."""
        started = time.perf_counter()
        self._connection.request(method, path, body, self._headers | (headers or {}))
        answer = self._connection.getresponse()
        content = answer.read()
        self.times.setdefault(kind, []).append(1000 * (time.perf_counter() - started))
        assert answer.status == 200, content
        return content, answer.headers.get("ETag", "")


if __name__ == "__main__":
    main()

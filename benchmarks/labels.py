"""Converting and checking labels beside globox, supervision and datumaro, on the same files.

    python -m venv peers && peers/bin/pip install -r benchmarks/peers.txt
    python benchmarks/labels.py --images 5000 50000 --peer-python peers/bin/python
    python benchmarks/labels.py --scale                  # 1,000,000 boxes on 100,000 images

The peers are optional. They need an environment of their own, because datumaro wants other versions
of Pillow and OpenCV. The data are made in a temporary folder and removed afterwards.

Every run is a process of its own, and the contestants take turns. What is timed goes from a folder
on disk, in the page cache, to COCO JSON on disk with the images' sizes. detfinetune reads the
header of every image, checks every box, keeps a ledger and makes a stratified split; `again` is
the same with the image headers in its cache; `+ checks` is the first conversion with the checks of
labels that run before a training. The floor opens and reads the files and does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from label_speed.contestants import PEERS
from label_speed.data import LAYOUTS, Outcome, check_outcome, make_data, num_boxes, read_all
from label_speed.memory import TreeMemory

from detfinetune.console import table

CONTESTANTS = Path(__file__).parent / "label_speed" / "contestants.py"
SCALE_IMAGES = 100_000
OWN = ("detfinetune", "detfinetune again", "detfinetune + checks")
FLOOR = "floor"

Row = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """Where a benchmark works, and what it notes."""

    work: Path
    """For outputs and the image cache; removed in the end."""

    peer_python: str
    lines: Path
    """JSON lines, one for each run."""

    watch_memory: bool


def main() -> None:
    """Run what was asked for, and print a table for each size and layout."""
    arguments = _arguments()
    machine = _machine()
    print(", ".join(f"{key} {value}" for key, value in machine.items()))
    peers = _installed(arguments.peer_python)
    names = _contestants(arguments, peers)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    _append(arguments.output, {"machine": machine, "peers": peers})
    if arguments.folder:
        arguments.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="label-benchmark-", dir=arguments.folder) as work:
        place = Place(Path(work), arguments.peer_python, arguments.output, arguments.scale)
        for num_images in [SCALE_IMAGES] if arguments.scale else arguments.images:
            data = (arguments.folder or place.work) / f"data-{num_images}"
            try:
                _apart(make_data, data, num_images)
            except FileExistsError as error:
                raise SystemExit(f"error: {error}") from error
            try:
                for layout in arguments.layouts:
                    _apart(read_all, data / layout)
                    rows = _rounds(place, data / layout, num_images, names, arguments.repeats)
                    print(_report(rows, layout, num_images))
            finally:
                if not arguments.keep:
                    shutil.rmtree(data)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=[5000])
    parser.add_argument("--scale", action="store_true", help=f"{SCALE_IMAGES} images, no peers")
    parser.add_argument("--repeats", type=int, help="default: 3, and 1 with --scale")
    parser.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=list(LAYOUTS))
    parser.add_argument("--only", nargs="+", choices=[FLOOR, "detfinetune", *PEERS])
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--folder", type=Path, help="where data are made; default: a temporary one")
    parser.add_argument("--keep", action="store_true", help="leave the data in --folder")
    parser.add_argument("--output", type=Path, default=Path("runs/benchmark/labels.jsonl"))
    arguments = parser.parse_args()
    if arguments.keep and not arguments.folder:
        parser.error("--keep needs --folder")
    arguments.repeats = arguments.repeats or (1 if arguments.scale else 3)
    return arguments


def _installed(peer_python: str) -> dict[str, str]:
    """Return the versions of the peers that an interpreter has."""
    command = [peer_python, str(CONTESTANTS), "installed"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return dict(json.loads(said))


def _contestants(arguments: argparse.Namespace, peers: dict[str, str]) -> list[str]:
    """Return who takes part, in order; say who is missing."""
    wanted = arguments.only or [FLOOR, "detfinetune", *([] if arguments.scale else PEERS)]
    names = [name for name in (FLOOR, *OWN) if name.split()[0] in wanted]
    for peer in (peer for peer in PEERS if peer in wanted):
        if peer in peers:
            print(f"{peer} {peers[peer]}")
            names.append(peer)
        else:
            print(f"{peer} is left out: {arguments.peer_python} has none (pip install {peer})")
    return names


def _machine() -> dict[str, Any]:
    """Describe what everything runs on."""
    model = platform.processor() or platform.machine()
    cpu_info = Path("/proc/cpuinfo")
    if cpu_info.is_file():
        for line in cpu_info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def _append(path: Path, line: Row) -> None:
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")


def _rounds(
    place: Place, data: Path, num_images: int, names: Sequence[str], repeats: int
) -> list[Row]:
    """Run all contestants by turns, `repeats` times, and return a row for each run."""
    rows = []
    for turn in range(1, repeats + 1):
        for name in names:
            row = {"images": num_images, "layout": data.name, "contestant": name, "turn": turn}
            row |= _run(place, data, name)
            if "seconds" in row and name != FLOOR and turn == 1:
                row["outcome"] = asdict(_outcome(place.work / "output"))
            _append(place.lines, row)
            shown = row.get("failed") or f"{row['seconds']:.2f} s"
            print(f"  {num_images} {data.name}, {turn}/{repeats}, {name}: {shown}", flush=True)
            rows.append(row)
    return rows


def _run(place: Place, data: Path, name: str) -> Row:
    """Run one contestant in a process of its own; `failed` says why there is nothing to time."""
    cache, output = place.work / "cache", place.work / "output"
    shutil.rmtree(output, ignore_errors=True)
    if name != "detfinetune again":
        shutil.rmtree(cache, ignore_errors=True)
    key = {"detfinetune again": "detfinetune", "detfinetune + checks": "detfinetune_checked"}
    command = [
        place.peer_python if name in PEERS else sys.executable,
        str(CONTESTANTS), key.get(name, name), data.name, str(data), str(output),
    ]  # fmt: skip
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"DETFINETUNE_CACHE": str(cache)},
    ) as process:  # fmt: skip
        if place.watch_memory:
            with TreeMemory(process.pid) as memory:
                said, problems = process.communicate()
            more = {"peak_tree_mb": memory.peak_mb}
        else:
            said, problems = process.communicate()
            more = {}
    if process.returncode:
        return {"failed": (problems.strip() or str(process.returncode)).splitlines()[-1]}
    row: Row = json.loads(said.splitlines()[-1])
    return row | more


def _outcome(output: Path) -> Outcome:
    files = [path for path in output.rglob("*.json") if path.name != "dataset.json"]
    return _apart(check_outcome, files)


def _apart(function: Callable[..., T], *arguments: Any) -> T:
    """Call a function in a process of its own.

    Linux counts the memory of who starts a process as the new one's own peak, so this one must
    stay small.
    """
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def _report(rows: Sequence[Row], layout: str, num_images: int) -> str:
    """Return the table of one size and layout, and what it comes to."""
    lines, medians = [], {}
    for name in dict.fromkeys(row["contestant"] for row in rows):
        own = [row for row in rows if row["contestant"] == name]
        done = [row for row in own if "seconds" in row]
        if not done:
            lines.append([name, *[None] * 7, f"failed: {own[0]['failed']}"])
            continue
        times = [row["seconds"] for row in done]
        medians[name] = statistics.median(times)
        lines.append([
            name, medians[name], min(times), max(times),
            statistics.median(row["cpu_seconds"] for row in done),
            round(num_images / medians[name]), round(num_boxes(num_images) / medians[name]),
            round(max(row.get("peak_tree_mb") or row["peak_rss_mb"] for row in done)),
            _remark(done[0], num_images),
        ])  # fmt: skip
    headers = [
        "", "median s", "least", "most", "CPU s", "images/s", "boxes/s", "peak MB", "written",
    ]  # fmt: skip
    whole = any("peak_tree_mb" in row for row in rows)
    memory = "peak MB: all processes together" if whole else "peak MB: the largest process"
    title = f"\n{num_images} images, {num_boxes(num_images)} boxes, {layout} ({memory})"
    return "\n".join([title, table(lines, headers, digits=2), *_comparison(medians), ""])


def _remark(row: Row, num_images: int) -> str:
    if "outcome" not in row:
        return (
            f"{row['headers_per_s']:.0f} headers/s, {row['labels_per_s']:.0f} labels/s"
            if "headers_per_s" in row
            else ""
        )
    remarks = Outcome(**row["outcome"]).remarks(num_images)
    return "; ".join(remarks) or "all images and boxes"


def _comparison(medians: dict[str, float]) -> Iterator[str]:
    """Say how far our runs are from the floor and from the fastest peer."""
    own = {name: medians[name] for name in OWN if name in medians}
    if FLOOR in medians:
        shares = (f"{name} {seconds / medians[FLOOR]:.1f}" for name, seconds in own.items())
        yield f"times the floor: {', '.join(shares)}"
    peers = {name: medians[name] for name in PEERS if name in medians}
    if peers and own:
        fastest = min(peers, key=lambda name: peers[name])
        shares = (f"{name} {peers[fastest] / seconds:.2f}" for name, seconds in own.items())
        yield f"times as fast as the fastest peer, {fastest}: {', '.join(shares)}"


if __name__ == "__main__":
    main()

"""The contestants of the label benchmark, each run in a process of its own.

    python benchmarks/label_speed/contestants.py globox yolo FOLDER OUTPUT

Each turns a folder of images and labels, on disk, into COCO JSON on disk that has the images'
sizes. Imports are not timed; starting worker processes is. The last line printed is the result, as
JSON. This file imports nothing but the standard library, so that an interpreter that has the peers
alone can run it.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PEERS = ("globox", "supervision", "datumaro")
_HEADER_BYTES = 4096

Work = Callable[[], "dict[str, Any]"]
"""What is timed; returns more to say about it."""


def floor(layout: str, folder: Path, output: Path) -> Work:
    """Open, read and close: 4 kB of each image, then each label file whole; in one process."""
    images = _files(folder / ("images" if layout == "yolo" else "JPEGImages"))
    labels = _files(folder / ("labels" if layout == "yolo" else "Annotations"))

    def work() -> dict[str, Any]:
        start = time.perf_counter()
        for path in images:
            with open(path, "rb", buffering=0) as stream:  # noqa: PTH123 - half of Path.open's time
                stream.read(_HEADER_BYTES)
        middle = time.perf_counter()
        for path in labels:
            with open(path, "rb", buffering=0) as stream:  # noqa: PTH123
                stream.read()
        end = time.perf_counter()
        return {
            "headers_per_s": len(images) / (middle - start),
            "labels_per_s": len(labels) / (end - middle),
        }

    return work


def _files(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.iterdir())


def detfinetune(layout: str, folder: Path, output: Path) -> Work:
    """Read every image's header, check every box, keep a ledger, split by class, write COCO."""
    from detfinetune.config.schema import DataConfig
    from detfinetune.labels.convert import convert_dataset

    def work() -> dict[str, Any]:
        convert_dataset(DataConfig(root=folder), output, contact_sheet=0)
        return {}

    return work


def detfinetune_checked(layout: str, folder: Path, output: Path) -> Work:
    """Do the same, and the checks of labels that run before each training."""
    from detfinetune.checks.run import dataset_findings
    from detfinetune.config.schema import DataConfig
    from detfinetune.labels.convert import write_converted
    from detfinetune.labels.read import read_dataset

    def work() -> dict[str, Any]:
        dataset = read_dataset(DataConfig(root=folder))
        findings = dataset_findings(dataset, None, decode=False)
        write_converted(dataset, output)
        return {"findings": len(findings)}

    return work


def globox(layout: str, folder: Path, output: Path) -> Work:
    """Of VOC it takes the sizes that the labels say; it opens no image."""
    from globox import AnnotationSet

    def work() -> dict[str, Any]:
        if layout == "yolo":
            labels = AnnotationSet.from_yolo_v5(folder / "labels", image_folder=folder / "images")
        else:
            labels = AnnotationSet.from_pascal_voc(folder / "Annotations")
        labels.save_coco(output / "coco.json", auto_ids=True)
        return {}

    return work


def supervision(layout: str, folder: Path, output: Path) -> Work:
    """Of VOC it decodes every image, to know its size."""
    from supervision import DetectionDataset

    def work() -> dict[str, Any]:
        if layout == "yolo":
            labels = DetectionDataset.from_yolo(
                images_directory_path=str(folder / "images"),
                annotations_directory_path=str(folder / "labels"),
                data_yaml_path=str(folder / "data.yaml"),
            )
        else:
            labels = DetectionDataset.from_pascal_voc(
                images_directory_path=str(folder / "JPEGImages"),
                annotations_directory_path=str(folder / "Annotations"),
            )
        labels.as_coco(annotations_path=str(output / "coco.json"))
        return {}

    return work


def datumaro(layout: str, folder: Path, output: Path) -> Work:
    """Of VOC it takes the sizes that the labels say."""
    from datumaro.components.dataset import Dataset

    logging.disable(logging.WARNING)

    def work() -> dict[str, Any]:
        labels = Dataset.import_from(str(folder), layout)
        # Instances alone; `coco` would write further files for captions, key points and more.
        labels.export(str(output), "coco_instances", save_media=False)
        return {}

    return work


CONTESTANTS: dict[str, Callable[[str, Path, Path], Work]] = {
    "floor": floor,
    "detfinetune": detfinetune,
    "detfinetune_checked": detfinetune_checked,
    "globox": globox,
    "supervision": supervision,
    "datumaro": datumaro,
}


def installed() -> dict[str, str]:
    """Return the versions of those peers that this interpreter has."""
    found = {}
    for name in PEERS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _used() -> tuple[float, int]:
    """Seconds of CPU, of this process and its children, and the largest one's memory in kB."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
    kilobytes = max(own.ru_maxrss, children.ru_maxrss)
    return seconds, kilobytes // (1024 if sys.platform == "darwin" else 1)


def main() -> None:
    """Time one contestant, or say which peers there are."""
    if sys.argv[1:] == ["installed"]:
        print(json.dumps(installed()))
        return
    name, layout, folder, output = sys.argv[1:]
    if not name.startswith("detfinetune"):
        Path(output).mkdir(parents=True)
    work = CONTESTANTS[name](layout, Path(folder), Path(output))
    before, _ = _used()
    start = time.perf_counter()
    more = work()
    seconds = time.perf_counter() - start
    after, kilobytes = _used()
    result = {"seconds": seconds, "cpu_seconds": after - before, "peak_rss_mb": kilobytes / 1024}
    print(json.dumps(result | more))


if __name__ == "__main__":
    main()

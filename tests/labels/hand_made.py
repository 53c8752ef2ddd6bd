"""The same few boxes as each format writes them, by hand: what `read_dataset` is given to read.

A scene is, for each image of 100 x 80 pixels, its objects as class, left, top, width, height.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

Scene = Mapping[str, Sequence[tuple[str, float, float, float, float]]]

WIDTH, HEIGHT = 100, 80
CLASSES = ("car", "dog")
SCENE: Scene = {
    "a.jpg": [("car", 10, 20, 30, 40), ("dog", 50, 10, 25, 35)],
    "b.jpg": [("dog", 5, 8, 20, 20)],
    "c.jpg": [],
}
"""The last image is a true negative."""

# --- one file for many images ---------------------------------------------------------------------


def label_studio(scene: Scene) -> str:
    tasks = []
    for number, (name, objects) in enumerate(scene.items(), start=1):
        results = [
            {
                "id": f"r{index}", "type": "rectanglelabels", "from_name": "label",
                "to_name": "image", "original_width": WIDTH, "original_height": HEIGHT,
                "image_rotation": 0,
                "value": {
                    "x": 100 * x / WIDTH, "y": 100 * y / HEIGHT, "width": 100 * w / WIDTH,
                    "height": 100 * h / HEIGHT, "rotation": 0, "rectanglelabels": [label],
                },
            }
            for index, (label, x, y, w, h) in enumerate(objects)
        ]  # fmt: skip
        annotations = [{"id": number, "was_cancelled": False, "result": results}]
        tasks.append({"id": number, "annotations": annotations, "data": {"image": name}})
    return json.dumps(tasks)


def via(scene: Scene) -> str:
    entries = {}
    for name, objects in scene.items():
        regions = [
            {
                "shape_attributes": {"name": "rect", "x": x, "y": y, "width": w, "height": h},
                "region_attributes": {"kind": label},
            }
            for label, x, y, w, h in objects
        ]
        entries[f"{name}999"] = {
            "filename": name, "size": 999, "regions": regions, "file_attributes": {},
        }  # fmt: skip
    return json.dumps(entries)


def plain_csv(scene: Scene) -> str:
    lines = ["filename,width,height,class,xmin,ymin,xmax,ymax"]
    for name, objects in scene.items():
        lines += [
            f"{name},{WIDTH},{HEIGHT},{label},{x},{y},{x + w},{y + h}"
            for label, x, y, w, h in objects
        ] or [f"{name},{WIDTH},{HEIGHT},,,,,"]
    return "\n".join(lines) + "\n"


def split_csv(scene: Scene, split_of: Mapping[str, str]) -> str:
    """Return a table whose last column says the split."""
    heading, *rows = plain_csv(scene).splitlines()
    named = [f"{row},{split_of[row.partition(',')[0]]}" for row in rows]
    return "\n".join([f"{heading},split", *named]) + "\n"


def open_images(scene: Scene) -> str:
    lines = ["ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax"]
    for name, objects in scene.items():
        lines += [
            f"{name.removesuffix('.jpg')},x,{label},1,{x / WIDTH},{(x + w) / WIDTH},"
            f"{y / HEIGHT},{(y + h) / HEIGHT}"
            for label, x, y, w, h in objects
        ]
    return "\n".join(lines) + "\n"


def coco(scene: Scene) -> str:
    objects = [(i, entry) for i, entries in enumerate(scene.values(), 1) for entry in entries]
    return json.dumps(
        {
            "images": [
                {"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT}
                for number, name in enumerate(scene, start=1)
            ],
            "annotations": [
                {"id": n, "image_id": i, "category_id": CLASSES.index(label) + 1,
                 "bbox": [x, y, w, h], "area": w * h, "iscrowd": 0, "segmentation": []}
                for n, (i, (label, x, y, w, h)) in enumerate(objects, start=1)
            ],
            "categories": [{"id": n, "name": name} for n, name in enumerate(CLASSES, start=1)],
        }
    )  # fmt: skip


def cvat(scene: Scene, subset_of: Mapping[str, str] | None = None) -> str:
    images = []
    for number, (name, objects) in enumerate(scene.items()):
        subset = f' subset="{subset_of[name]}"' if subset_of else ""
        boxes = "".join(
            f'<box label="{label}" occluded="0" xtl="{x}" ytl="{y}" xbr="{x + w}" ybr="{y + h}"/>\n'
            for label, x, y, w, h in objects
        )
        images.append(
            f'<image id="{number}" name="{name}"{subset} width="{WIDTH}" height="{HEIGHT}">\n'
            f"{boxes}</image>\n"
        )
    return (
        f"<annotations><version>1.1</version>\n<meta><task>{_cvat_labels()}</task></meta>\n"
        f"{''.join(images)}</annotations>\n"
    )


def cvat_video(scene: Scene) -> str:
    """Return a track for each object; the frames are the images in order."""
    tracks = []
    for frame, objects in enumerate(scene.values()):
        for label, x, y, w, h in objects:
            xyxy = f'xtl="{x}" ytl="{y}" xbr="{x + w}" ybr="{y + h}"'
            tracks.append(
                f'<track id="{len(tracks)}" label="{label}">\n'
                f'<box frame="{frame}" outside="0" keyframe="1" {xyxy}/>\n'
                f'<box frame="{frame + 1}" outside="1" keyframe="1" {xyxy}/>\n</track>\n'
            )
    return (
        "<annotations><version>1.1</version>\n<meta><task><mode>interpolation</mode>"
        f"<start_frame>0</start_frame><stop_frame>{len(scene) - 1}</stop_frame>{_cvat_labels()}"
        f"<original_size><width>{WIDTH}</width><height>{HEIGHT}</height></original_size>"
        f"</task></meta>\n{''.join(tracks)}</annotations>\n"
    )


def _cvat_labels() -> str:
    names = "".join(f"<label><name>{name}</name></label>" for name in CLASSES)
    return f"<labels>{names}</labels>"


DOCUMENTS: dict[str, tuple[Callable[[Scene], str], str, str]] = {
    "label_studio": (label_studio, "export.json", "JSON list of tasks with annotations"),
    "via": (via, "via_region_data.json", "JSON with regions and shape_attributes"),
    "csv": (
        plain_csv, "boxes.csv",
        "a heading with filename, xmin, ymin, xmax, ymax, class",
    ),
    "cvat": (cvat, "annotations.xml", "<annotations> with <image>"),
    "coco": (coco, "boxes.json", "JSON with images and annotations and categories"),
    "openimages": (
        open_images, "boxes.csv", "a heading with ImageID, LabelName, XMin, XMax, YMin, YMax",
    ),
}  # fmt: skip
"""How the file is written, what it is called, and by what it is recognised."""

# --- a file for each image ------------------------------------------------------------------------


def _corner_points(x: float, y: float, w: float, h: float) -> list[tuple[float, float]]:
    return [(x, y), (x + w, y), (x + w, y + h), (x, y + h)]


def dota(objects: Sequence[tuple[str, float, float, float, float]]) -> str:
    lines = ["imagesource:GoogleEarth", "gsd:0.15"]
    for label, *box in objects:
        points = " ".join(f"{x} {y}" for x, y in _corner_points(*box))
        lines.append(f"{points} {label} 0")
    return "\n".join(lines) + "\n"


def yolo_oriented(objects: Sequence[tuple[str, float, float, float, float]]) -> str:
    return "".join(
        f"{CLASSES.index(label)} "
        + " ".join(f"{x / WIDTH} {y / HEIGHT}" for x, y in _corner_points(*box))
        + "\n"
        for label, *box in objects
    )


def yolo(objects: Sequence[tuple[str, float, float, float, float]]) -> str:
    return "".join(
        f"{CLASSES.index(label)} {(x + w / 2) / WIDTH} {(y + h / 2) / HEIGHT} {w / WIDTH} "
        f"{h / HEIGHT}\n"
        for label, x, y, w, h in objects
    )


def txt(objects: Sequence[tuple[str, float, float, float, float]]) -> str:
    return "".join(f"{label} {x} {y} {x + w} {y + h}\n" for label, x, y, w, h in objects)


def voc(objects: Sequence[tuple[str, float, float, float, float]]) -> str:
    boxes = "".join(
        f"<object><name>{label}</name><bndbox><xmin>{x}</xmin><ymin>{y}</ymin><xmax>{x + w}</xmax>"
        f"<ymax>{y + h}</ymax></bndbox></object>\n"
        for label, x, y, w, h in objects
    )
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
    return f"<annotation><filename>x.jpg</filename>{size}\n{boxes}</annotation>\n"


def labelme(objects: Sequence[tuple[str, float, float, float, float]]) -> str:
    shapes = [
        {"label": label, "points": [[x, y], [x + w, y + h]], "shape_type": "rectangle"}
        for label, x, y, w, h in objects
    ]
    return json.dumps(
        {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": "x.jpg",
         "imageData": None, "imageHeight": HEIGHT, "imageWidth": WIDTH}
    )  # fmt: skip


FILES: dict[str, tuple[Callable[..., str], str, str, str]] = {
    "DOTA": (dota, ".txt", "dota", "a header line of DOTA (imagesource or gsd)"),
    "YOLO, oriented": (yolo_oriented, ".txt", "yolo", "polygons, values between 0 and 1"),
    "YOLO": (yolo, ".txt", "yolo", "5 values a line, values between 0 and 1"),
    "txt": (txt, ".txt", "txt", "columns class,x1,y1,x2,y2; values above 1"),
    "VOC": (voc, ".xml", "voc", "<annotation> with <object> and <bndbox>"),
    "LabelMe": (labelme, ".json", "labelme", "JSON with shapes and imagePath"),
}
"""How a file is written, its ending, the format, and by what it is recognised."""

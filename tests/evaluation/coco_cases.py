"""COCO JSON and detections small enough to work out by hand."""

from __future__ import annotations

from typing import Any

Truth = dict[str, Any]


def make_truth(
    boxes: list[tuple[int, int, list[float]]], num_images: int = 2, names: tuple[str, ...] = ("a",)
) -> Truth:
    """Return COCO JSON of (image id, category id, XYWH) on images of 200x200 px."""
    return {
        "images": [
            {"id": number, "file_name": f"{number}.png", "width": 200, "height": 200}
            for number in range(1, num_images + 1)
        ],
        "annotations": [
            {
                "id": number,
                "image_id": image,
                "category_id": category,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": 0,
            }
            for number, (image, category, box) in enumerate(boxes, start=1)
        ],
        "categories": [{"id": number, "name": name} for number, name in enumerate(names, start=1)],
    }


def found(image: int, box: list[float], score: float, category: int = 1) -> dict[str, Any]:
    """Return one detection."""
    return {"image_id": image, "category_id": category, "bbox": box, "score": score}

"""What a detector finds in one image: numbers, pictures, and other tools' formats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as mask_api

from detfinetune.errors import MissingExtraError
from detfinetune.labels.dataset.masks import segmentation_polygons
from detfinetune.labels.dataset.records import Polygon
from detfinetune.pictures import DrawnObject, draw_objects

if TYPE_CHECKING:
    import supervision


@dataclass(frozen=True, eq=False)
class Prediction:
    """Detections in one image, highest score first; coordinates in pixels of the image as given."""

    boxes: NDArray[np.float32]
    """x1, y1, x2, y2; (n, 4)."""

    scores: NDArray[np.floating[Any]]
    """0-1; (n,)."""

    class_ids: NDArray[np.int64]
    """Contiguous class ids, from 0; (n,)."""

    classes: tuple[str, ...]
    """Names of all classes of the model, by class id."""

    width: int
    height: int

    rle_masks: tuple[dict[str, Any], ...] | None = None
    """Masks as COCO's compressed RLE; None for a model without masks."""

    image: NDArray[np.uint8] | None = field(default=None, repr=False)
    """The image as RGB, for `plot`; (height, width, 3)."""

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, chosen: slice | Sequence[int] | NDArray[Any]) -> Prediction:
        """Return some of the detections: by a slice, numbers or a mask of booleans."""
        numbers = np.arange(len(self))[chosen]
        if numbers.ndim != 1:
            raise IndexError("choose detections by a slice, a list of numbers or a boolean array")
        masks = self.rle_masks
        return Prediction(
            self.boxes[numbers], self.scores[numbers], self.class_ids[numbers], self.classes,
            self.width, self.height,
            None if masks is None else tuple(masks[number] for number in numbers), self.image,
        )  # fmt: skip

    @property
    def class_names(self) -> list[str]:
        """Class name of each detection."""
        return [self.classes[number] for number in self.class_ids]

    @cached_property
    def masks(self) -> NDArray[np.bool_] | None:
        """Masks, (n, height, width); None for a model without masks."""
        if self.rle_masks is None:
            return None
        decoded = [mask_api.decode(dict(mask)) for mask in self.rle_masks]
        return np.array(decoded, dtype=bool).reshape(-1, self.height, self.width)

    def polygons(self, number: int) -> tuple[Polygon, ...]:
        """Return the mask of a detection as polygons x0, y0, x1, y1, ...; empty without masks."""
        if self.rle_masks is None:
            return ()
        mask = self.rle_masks[number]
        return segmentation_polygons(mask, width=self.width, height=self.height)

    def plot(self) -> Image.Image:
        """Return the image with boxes or masks, class names and scores drawn on it.

        Raises:
            ValueError: the prediction has no image.
        """
        if self.image is None:
            raise ValueError("this prediction has no image to draw on")
        rows = zip(self.xywh.tolist(), self.class_ids.tolist(), self.scores.tolist(), strict=True)
        objects = [
            DrawnObject((x, y, w, h), f"{self.classes[kind]} {score:.2f}", kind, self.polygons(at))
            for at, ((x, y, w, h), kind, score) in enumerate(rows)
        ]
        return draw_objects(Image.fromarray(self.image), objects)

    @property
    def xywh(self) -> NDArray[np.float32]:
        """Boxes as x1, y1, width, height; (n, 4)."""
        return np.concatenate([self.boxes[:, :2], self.boxes[:, 2:] - self.boxes[:, :2]], axis=1)

    def to_coco(self, image_id: int = 1, category_ids: Sequence[int] = ()) -> list[dict[str, Any]]:
        """Return COCO results.

        Args:
            image_id: of the image.
            category_ids: by class id; empty: class ids + 1.
        """
        ids = category_ids or range(1, len(self.classes) + 1)
        results: list[dict[str, Any]] = []
        for at, (box, kind) in enumerate(zip(self.xywh.tolist(), self.class_ids, strict=True)):
            result = {
                "image_id": image_id, "category_id": ids[kind], "bbox": box,
                "score": float(self.scores[at]),
            }  # fmt: skip
            if self.rle_masks is not None:
                result["segmentation"] = dict(self.rle_masks[at])
            results.append(result)
        return results

    def to_supervision(self) -> supervision.Detections:
        """Return `supervision.Detections`, with class names in its data.

        Raises:
            MissingExtraError: supervision is not installed.
        """
        try:
            import supervision
        except ImportError as error:
            raise MissingExtraError("supervision", "Prediction.to_supervision") from error
        return supervision.Detections(
            xyxy=self.boxes,
            mask=self.masks,
            confidence=self.scores,
            class_id=self.class_ids,
            data={"class_name": np.array(self.class_names, dtype=np.str_)},
        )

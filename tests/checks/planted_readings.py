"""Labels that are misread; see `fault_list`."""

from __future__ import annotations

from fault_list import Spot, at, every_object, fault
from planted import SIZE, Corners, Planted, txt_line, voc_text

# --- how boxes are read -------------------------------------------------------------------------


@fault(
    "xywh read as xyxy", "xywh_as_xyxy", "error", form="txt", only_some=True,
    also=("labels_misread", "corners_swapped", "box_empty", "thin_box", "anchor_recall"),
)  # fmt: skip
def _xywh(p: Planted) -> list[Spot]:
    p.rewrite(lambda c, b: txt_line(c, (b[0], b[1], b[2] - b[0], b[3] - b[1])))
    return every_object(p)


@fault(
    "xyxy read as xywh", "xyxy_as_xywh", "error", form="txt", only_some=True,
    also=("box_partly_outside", "boxes_at_edge"), columns="class,x,y,w,h",
)  # fmt: skip
def _xyxy(p: Planted) -> list[Spot]:
    return every_object(p)


@fault(
    "absolute coordinates read as normalized", "absolute_as_normalized", "error", only_some=True,
    also=("labels_misread", "box_outside", "no_training_objects", "empty_split"),
    format="yolo",
)  # fmt: skip
def _pixels(p: Planted) -> list[Spot]:
    def line(category: int, b: Corners) -> str:
        return txt_line(category, ((b[0] + b[2]) / 2, (b[1] + b[3]) / 2, b[2] - b[0], b[3] - b[1]))

    p.rewrite(line)
    return every_object(p)


@fault(
    "normalized coordinates read as absolute", "normalized_as_absolute", "error", only_some=True,
    form="yolo", format="txt", coordinates="absolute",
    also=(
        "labels_misread", "corners_swapped", "box_empty", "tiny_box", "small_after_resizing",
        "anchor_recall", "boxes_at_edge",
    ),
)  # fmt: skip
def _normalized(p: Planted) -> list[Spot]:
    return every_object(p)


@fault(
    "xywh in one split", "xywh_as_xyxy", "error", form="txt", only_some=True,
    also=("corners_swapped", "box_empty", "thin_box", "split_sizes_differ"),
)  # fmt: skip
def _xywh_in_a_split(p: Planted) -> list[Spot]:
    p.rewrite(lambda c, b: txt_line(c, (b[0], b[1], b[2] - b[0], b[3] - b[1])), ("val",))
    return every_object(p, ("val",))


@fault("absolute coordinates in one split", "absolute_as_normalized", "error",
       also=("box_outside", "empty_split"))  # fmt: skip
def _pixels_in_a_split(p: Planted) -> list[Spot]:
    def line(category: int, b: Corners) -> str:
        return txt_line(category, ((b[0] + b[2]) / 2, (b[1] + b[3]) / 2, b[2] - b[0], b[3] - b[1]))

    p.rewrite(line, ("val",))
    return every_object(p, ("val",))


@fault(
    "absolute cxcywh read as xyxy", "cxcywh_as_xyxy", "error", form="txt",
    only_some=True,
    also=("labels_misread", "corners_swapped", "box_empty", "thin_box", "anchor_recall"),
)  # fmt: skip
def _centre(p: Planted) -> list[Spot]:
    def line(category: int, b: Corners) -> str:
        return txt_line(category, ((b[0] + b[2]) / 2, (b[1] + b[3]) / 2, b[2] - b[0], b[3] - b[1]))

    p.rewrite(line)
    return every_object(p)


@fault("normalized xyxy read as YOLO", "xyxy_as_cxcywh", "error", only_some=True,
       also=("box_partly_outside",), format="yolo")  # fmt: skip
def _corner_normalized(p: Planted) -> list[Spot]:
    p.rewrite(lambda c, b: txt_line(c, tuple(v / SIZE[i % 2] for i, v in enumerate(b))))
    return every_object(p)


@fault(
    "x1,x2,y1,y2", "wrong_column_order", "error", form="txt", only_some=True,
    also=(
        "labels_misread", "corners_swapped", "box_empty", "box_partly_outside", "thin_box",
        "tiny_box",
    ),
)  # fmt: skip
def _other_order(p: Planted) -> list[Spot]:
    p.rewrite(lambda c, b: txt_line(c, (b[0], b[2], b[1], b[3])))
    return every_object(p)


@fault("labels cut to a smaller image", "boxes_at_edge", "warning", form="txt", only_some=True)
def _cut_to_image(p: Planted) -> list[Spot]:
    def line(category: int, b: Corners) -> str:
        cut = (min(b[2] + 20, SIZE[0]), min(b[3] + 20, SIZE[1]))
        return txt_line(category, (b[0] + 20, b[1] + 20, *cut))

    p.rewrite(line)
    return every_object(p)


@fault("x and y swapped", "xy_swapped", "error", form="txt", only_some=True,
       also=("labels_misread", "box_outside", "split_too_small"))  # fmt: skip
def _exchanged(p: Planted) -> list[Spot]:
    p.rewrite(lambda c, b: txt_line(c, (b[1], b[0], b[3], b[2])))
    return every_object(p)


@fault("labels made for images of twice the size", "box_scale_mismatch", "error", form="txt",
       only_some=True, also=("box_outside", "box_partly_outside", "labels_misread",
                             "split_too_small"))  # fmt: skip
def _other_size(p: Planted) -> list[Spot]:
    p.rewrite(lambda c, b: txt_line(c, tuple(2 * value for value in b)))
    return every_object(p)


@fault("a label file made for another image size", "image_size_mismatch", "warning", form="voc")
def _stated_size(p: Planted) -> list[Spot]:
    p.write(p.label("train", 9), voc_text(p.scenes["train"][9], size=(320, 240)))
    return [at(p, "train", 9, 0)]

"""Faults of single labels: their box, their values; see `fault_list`."""

from __future__ import annotations

from fault_list import Spot, appended, at, fault
from planted import SIZE, Planted, polygon_line, txt_line, voc_text, yolo_line

# --- one box ----------------------------------------------------------------------------------


@fault("box wholly outside", "box_outside", "error")
def _outside(p: Planted) -> list[Spot]:
    return appended(p, yolo_line(1, (270, 20, 300, 50)))


@fault("box partly outside", "box_partly_outside", "warning")
def _partly_outside(p: Planted) -> list[Spot]:
    return appended(p, yolo_line(1, (230, 20, 264, 54)), split="test", number=7)


@fault("empty box", "box_empty", "error", form="txt")
def _empty(p: Planted) -> list[Spot]:
    return appended(p, txt_line(0, (40, 40, 40, 40)))


@fault("thin box", "thin_box", "warning")
def _thin(p: Planted) -> list[Spot]:
    return appended(p, yolo_line(2, (100, 20, 101.6, 80)))


@fault("tiny box", "tiny_box", "warning")
def _tiny(p: Planted) -> list[Spot]:
    return appended(p, yolo_line(2, (100, 20, 101.5, 21.5)))


@fault("box as large as the image", "box_covers_image", "warning")
def _covering(p: Planted) -> list[Spot]:
    return appended(p, yolo_line(0, (0, 0, *SIZE)))


@fault("negative size", "box_negative_size", "error")
def _negative(p: Planted) -> list[Spot]:
    return appended(p, "0 0.5 0.5 -0.1 0.1")


@fault("swapped corners", "corners_swapped", "warning", form="voc")
def _swapped(p: Planted) -> list[Spot]:
    scene = p.scenes["val"][3]
    x1, y1, x2, y2 = scene.objects[2][1]
    text = voc_text(scene).replace(
        f"<xmin>{x1}</xmin>\n      <ymin>{y1}</ymin>\n      <xmax>{x2}</xmax>\n      "
        f"<ymax>{y2}</ymax>",
        f"<xmin>{x2}</xmin>\n      <ymin>{y2}</ymin>\n      <xmax>{x1}</xmax>\n      "
        f"<ymax>{y1}</ymax>",
    )
    p.write(p.label("val", 3), text)
    return [at(p, "val", 3, 8 + 9 * 2)]


@fault("the same line twice", "duplicate_label", "warning")
def _repeated(p: Planted) -> list[Spot]:
    return appended(p, p.lines("train", 5)[2])


@fault("nearly the same box twice", "near_duplicate_box", "warning")
def _nearly_repeated(p: Planted) -> list[Spot]:
    category, (x1, y1, x2, y2) = p.scenes["train"][5].objects[2]
    return appended(p, yolo_line(category, (x1 + 0.5, y1, x2, y2)))


@fault("one box under two classes", "same_box_two_classes", "warning")
def _two_classes(p: Planted) -> list[Spot]:
    category, xyxy = p.scenes["train"][5].objects[2]
    return appended(p, yolo_line((category + 1) % 3, xyxy))


@fault("self-intersecting polygon", "self_intersecting_polygon", "warning", form="polygons")
def _crossing(p: Planted) -> list[Spot]:
    points = [(20.0, 20.0), (60.0, 60.0), (60.0, 20.0), (20.0, 40.0)]
    return appended(p, polygon_line(1, points))


# --- values -------------------------------------------------------------------------------------


@fault("NaN", "not_finite", "error")
def _nan(p: Planted) -> list[Spot]:
    return appended(p, "0 0.5 nan 0.1 0.1", "1 0.5 0.5 inf 0.1")


@fault("words for numbers", "not_a_number", "error")
def _words(p: Planted) -> list[Spot]:
    return appended(p, "0 0.5 half 0.1 0.1")


@fault("too few values", "too_few_values", "error", form="txt")
def _too_few(p: Planted) -> list[Spot]:
    return appended(p, "0 40 40 80")


@fault("too many values", "too_many_values", "error", form="txt")
def _too_many(p: Planted) -> list[Spot]:
    return appended(p, "0 40 40 80 80 12")


@fault("a YOLO line with a score", "wrong_number_of_values", "error")
def _with_score(p: Planted) -> list[Spot]:
    return appended(p, "0 0.5 0.5 0.1 0.1 0.93")

"""Faults in labels and classes: each is planted into a clean copy, and says where it must be found.

`also` names whatever else of severity error or warning the same fault brings about.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from planted import (
    ANCHORS,
    CLASSES,
    COUNTS,
    SIZE,
    Corners,
    LabelForm,
    Planted,
    outline_line,
    txt_line,
    voc_text,
    yolo_line,
)

from detfinetune.checks.anchors import AnchorSettings
from detfinetune.checks.findings import Severity


class Spot(NamedTuple):
    """Where a fault is."""

    split: str = ""
    image: str = ""
    label_file: str = ""
    line: int = 0


@dataclass(frozen=True)
class Fault:
    """A fault, how it is planted, and what is to be said of it."""

    kind: str
    severity: Severity
    plant: Callable[[Planted], list[Spot]]
    """Changes the data, and returns where the fault must be found."""

    form: LabelForm = "yolo"
    also: frozenset[str] = frozenset()
    options: tuple[tuple[str, object], ...] = ()
    """Keys of `data`, where the reading is told something."""

    only_some: bool = False
    """Whether the places found may be fewer than those planted: not each wrong box shows it."""

    anchors: AnchorSettings = ANCHORS


FAULTS: dict[str, Fault] = {}
Plant = Callable[[Planted], list[Spot]]


def fault(
    name: str,
    kind: str,
    severity: Severity,
    form: LabelForm = "yolo",
    also: tuple[str, ...] = (),
    only_some: bool = False,
    **options: object,
) -> Callable[[Plant], Plant]:
    """Enter a fault under a name."""

    def enter(plant: Plant) -> Plant:
        if name in FAULTS:
            raise ValueError(f"two faults are called '{name}'")
        FAULTS[name] = Fault(
            kind, severity, plant, form, frozenset(also), tuple(options.items()), only_some
        )
        return plant

    return enter


def at(p: Planted, split: str, number: int, line: int) -> Spot:
    """Return the spot of a label."""
    return Spot(split, p.image(split, number), p.label(split, number), line)


def every_object(p: Planted, splits: tuple[str, ...] = tuple(COUNTS)) -> list[Spot]:
    return [
        at(p, split, number, line)
        for split in splits
        for number in range(COUNTS[split])
        for line in range(1, 7)
    ]


def appended(p: Planted, *lines: str, split: str = "train", number: int = 5) -> list[Spot]:
    p.append(split, number, *lines)
    return [at(p, split, number, 7 + i) for i in range(len(lines))]


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


@fault("hair-thin box", "thin_box", "warning")
def _thin(p: Planted) -> list[Spot]:
    return appended(p, yolo_line(2, (100, 20, 101.6, 80)))


@fault("speck", "speck", "warning")
def _speck(p: Planted) -> list[Spot]:
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


@fault("the same line twice", "box_repeated", "warning")
def _repeated(p: Planted) -> list[Spot]:
    return appended(p, p.lines("train", 5)[2])


@fault("nearly the same box twice", "near_duplicate_box", "warning")
def _nearly_repeated(p: Planted) -> list[Spot]:
    category, (x1, y1, x2, y2) = p.scenes["train"][5].objects[2]
    return appended(p, yolo_line(category, (x1 + 0.5, y1, x2, y2)))


@fault("one box under two classes", "same_box_two_classes", "warning")
def _two_classes(p: Planted) -> list[Spot]:
    category, corners = p.scenes["train"][5].objects[2]
    return appended(p, yolo_line((category + 1) % 3, corners))


@fault("outline that crosses itself", "outline_crosses_itself", "warning", form="outlines")
def _crossing(p: Planted) -> list[Spot]:
    points = [(20.0, 20.0), (60.0, 60.0), (60.0, 20.0), (20.0, 40.0)]
    return appended(p, outline_line(1, points))


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


# --- how boxes are read -------------------------------------------------------------------------


@fault(
    "x,y,w,h read as corners", "xywh_as_xyxy", "error", form="txt", only_some=True,
    also=("labels_misread", "corners_swapped", "box_empty", "thin_box", "anchor_recall"),
)  # fmt: skip
def _xywh(p: Planted) -> list[Spot]:
    p.rewrite(lambda c, b: txt_line(c, (b[0], b[1], b[2] - b[0], b[3] - b[1])))
    return every_object(p)


@fault(
    "corners read as x,y,w,h", "xyxy_as_xywh", "error", form="txt", only_some=True,
    also=("box_partly_outside", "boxes_at_edge"), columns="class,x,y,w,h",
)  # fmt: skip
def _xyxy(p: Planted) -> list[Spot]:
    return every_object(p)


@fault(
    "pixels read as fractions", "pixels_as_fractions", "error", only_some=True,
    also=("labels_misread", "box_outside", "no_training_objects", "split_without_objects"),
    format="yolo",
)  # fmt: skip
def _pixels(p: Planted) -> list[Spot]:
    def line(category: int, b: Corners) -> str:
        return txt_line(category, ((b[0] + b[2]) / 2, (b[1] + b[3]) / 2, b[2] - b[0], b[3] - b[1]))

    p.rewrite(line)
    return every_object(p)


@fault(
    "fractions read as pixels", "fractions_as_pixels", "error", only_some=True,
    form="yolo", format="txt", coordinates="pixels",
    also=(
        "labels_misread", "corners_swapped", "box_empty", "speck", "small_after_resizing",
        "anchor_recall", "boxes_at_edge",
    ),
)  # fmt: skip
def _fractions(p: Planted) -> list[Spot]:
    return every_object(p)


@fault(
    "x,y,w,h in one split", "xywh_as_xyxy", "error", form="txt", only_some=True,
    also=("corners_swapped", "box_empty", "thin_box", "split_sizes_differ"),
)  # fmt: skip
def _xywh_in_a_split(p: Planted) -> list[Spot]:
    p.rewrite(lambda c, b: txt_line(c, (b[0], b[1], b[2] - b[0], b[3] - b[1])), ("val",))
    return every_object(p, ("val",))


@fault("pixels in one split", "pixels_as_fractions", "error",
       also=("box_outside", "split_without_objects"))  # fmt: skip
def _pixels_in_a_split(p: Planted) -> list[Spot]:
    def line(category: int, b: Corners) -> str:
        return txt_line(category, ((b[0] + b[2]) / 2, (b[1] + b[3]) / 2, b[2] - b[0], b[3] - b[1]))

    p.rewrite(line, ("val",))
    return every_object(p, ("val",))


@fault("x and y exchanged", "xy_swapped", "error", form="txt", only_some=True,
       also=("labels_misread", "box_outside", "split_too_small"))  # fmt: skip
def _exchanged(p: Planted) -> list[Spot]:
    p.rewrite(lambda c, b: txt_line(c, (b[1], b[0], b[3], b[2])))
    return every_object(p)


@fault("labels made for images of twice the size", "boxes_of_other_size", "error", form="txt",
       only_some=True, also=("box_outside", "box_partly_outside", "labels_misread",
                             "split_too_small"))  # fmt: skip
def _other_size(p: Planted) -> list[Spot]:
    p.rewrite(lambda c, b: txt_line(c, tuple(2 * value for value in b)))
    return every_object(p)


@fault("a label file made for another image size", "label_size_differs", "warning", form="voc")
def _stated_size(p: Planted) -> list[Spot]:
    p.write(p.label("train", 9), voc_text(p.scenes["train"][9], size=(320, 240)))
    return [at(p, "train", 9, 0)]


# --- classes ------------------------------------------------------------------------------------


@fault("class ids off by one", "class_ids_shifted", "error",
       also=("class_out_of_range", "split_too_small"), first_class=0)  # fmt: skip
def _shifted(p: Planted) -> list[Spot]:
    p.rewrite(lambda c, b: yolo_line(c + 1, b))
    return [
        at(p, split, number, line)
        for split in COUNTS
        for number in range(COUNTS[split])
        for line in (3, 6)
    ]


@fault("class ids off by one in a split", "class_out_of_range", "error",
       also=("class_not_measured", "split_too_small", "split_crowding_differs"))  # fmt: skip
def _shifted_split(p: Planted) -> list[Spot]:
    p.rewrite(lambda c, b: yolo_line(c + 1, b), splits=("val",))
    return [at(p, "val", number, line) for number in range(COUNTS["val"]) for line in (3, 6)]


@fault("class id out of range", "class_out_of_range", "error")
def _out_of_range(p: Planted) -> list[Spot]:
    return appended(p, yolo_line(7, (40, 40, 80, 80)))


@fault("unknown class name", "class_unknown", "error", form="voc", classes=list(CLASSES))
def _unknown(p: Planted) -> list[Spot]:
    names = (CLASSES[0], "hoose", CLASSES[2])
    p.write(p.label("train", 4), voc_text(p.scenes["train"][4], names=names))
    return [at(p, "train", 4, 8 + 9 * n) for n in (1, 4)]


@fault("class missing from a split", "class_not_measured", "warning")
def _not_measured(p: Planted) -> list[Spot]:
    p.rewrite(lambda c, b: yolo_line(min(c, 1), b), splits=("val",))
    return [Spot("val")]


@fault("class missing from train", "class_missing_from_train", "error")
def _not_trained(p: Planted) -> list[Spot]:
    p.rewrite(lambda c, b: yolo_line(min(c, 1), b), splits=("train",))
    return [
        at(p, split, number, line)
        for split in ("val", "test")
        for number in range(COUNTS[split])
        for line in (3, 6)
    ]


@fault("class without objects", "class_without_objects", "warning")
def _no_objects(p: Planted) -> list[Spot]:
    p.write("classes.txt", "\n".join((*CLASSES, "boat")) + "\n")
    return [Spot(label_file="classes.txt", line=4)]


@fault("rare class", "class_rare", "warning", also=("class_not_measured",))
def _rare(p: Planted) -> list[Spot]:
    p.write("classes.txt", "\n".join((*CLASSES, "boat")) + "\n")
    return appended(p, yolo_line(3, (100, 80, 130, 110)), yolo_line(3, (140, 80, 175, 110)))


@fault("one class under two spellings", "class_spelled_twice", "warning", form="voc",
       also=("class_not_measured",))  # fmt: skip
def _two_spellings(p: Planted) -> list[Spot]:
    names = (CLASSES[0], "Houses", CLASSES[2])
    for number in range(8):
        p.write(p.label("train", number), voc_text(p.scenes["train"][number], names=names))
    return [Spot(), *(at(p, "train", number, 8 + 9 * n) for number in range(8) for n in (1, 4))]


@fault("class imbalance", "class_imbalance", "warning", also=("class_rare",))
def _imbalance(p: Planted) -> list[Spot]:
    p.rewrite(lambda c, b: yolo_line(0 if c == 1 else c, b), splits=("train",))
    p.append("train", 5, yolo_line(1, (40, 40, 75, 72)))
    return []


@fault("class names in Latin-1", "not_utf8", "note")
def _latin1(p: Planted) -> list[Spot]:
    p.write("classes.txt", "car\nhouse\nB\xfcsche\n".encode("latin-1"))
    return [Spot(label_file="classes.txt")]


@fault("labels in Latin-1", "not_utf8", "note", form="txt")
def _latin1_labels(p: Planted) -> list[Spot]:
    p.write("classes.txt", "car\nhouse\nB\xfcsche\n".encode())
    text = (p.root / p.label("train", 5)).read_text(encoding="utf-8") + "B\xfcsche 40 40 80 80\n"
    p.write(p.label("train", 5), text.encode("latin-1"))
    return [at(p, "train", 5, 0)]


# --- sizes and counts ---------------------------------------------------------------------------


@fault("boxes that no anchor fits", "anchor_recall", "warning")
def _no_anchor(p: Planted) -> list[Spot]:
    def line(category: int, b: Corners) -> str:
        left = b[0] // 64 * 64
        return yolo_line(category, (left + 2, b[1], left + 62, b[1] + 7))

    p.rewrite(line)
    return every_object(p, ("train",))


@fault("objects too small after resizing", "small_after_resizing", "warning",
       also=("anchor_recall",))  # fmt: skip
def _small(p: Planted) -> list[Spot]:
    p.rewrite(lambda c, b: yolo_line(c, (b[0] + 10, b[1] + 10, b[0] + 15, b[1] + 15)))
    return every_object(p, ("train",))


@fault("object of unusual size", "unusual_size", "note")
def _unusual_size(p: Planted) -> list[Spot]:
    return appended(p, yolo_line(0, (10, 10, 200, 180)))


@fault("image with unusually many objects", "unusual_count", "note")
def _unusual_count(p: Planted) -> list[Spot]:
    boxes = [(x, y, x + 34, y + 34) for x in range(10, 210, 40) for y in range(10, 150, 30)]
    appended(p, *(yolo_line(n % 3, box) for n, box in enumerate(boxes)))
    return [at(p, "train", 5, 0)]

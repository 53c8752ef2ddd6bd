"""Faults in classes, and in the sizes and numbers of objects; see `fault_list`."""

from __future__ import annotations

from fault_list import Spot, appended, at, every_object, fault
from planted import CLASSES, COUNTS, Corners, Planted, voc_text, yolo_line

# --- classes ------------------------------------------------------------------------------------


@fault("class ids off by one", "class_ids_off_by_one", "error",
       also=("class_id_out_of_range", "split_too_small"), first_class=0)  # fmt: skip
def _shifted(p: Planted) -> list[Spot]:
    p.rewrite(lambda c, b: yolo_line(c + 1, b))
    return [
        at(p, split, number, line)
        for split in COUNTS
        for number in range(COUNTS[split])
        for line in (3, 6)
    ]


@fault("class ids off by one in a split", "class_id_out_of_range", "error",
       also=("class_not_evaluated", "split_too_small", "split_density_differs"))  # fmt: skip
def _shifted_split(p: Planted) -> list[Spot]:
    p.rewrite(lambda c, b: yolo_line(c + 1, b), splits=("val",))
    return [at(p, "val", number, line) for number in range(COUNTS["val"]) for line in (3, 6)]


@fault("class id out of range", "class_id_out_of_range", "error")
def _out_of_range(p: Planted) -> list[Spot]:
    return appended(p, yolo_line(7, (40, 40, 80, 80)))


@fault("unknown class name", "unknown_class", "error", form="voc", classes=list(CLASSES))
def _unknown(p: Planted) -> list[Spot]:
    names = (CLASSES[0], "hoose", CLASSES[2])
    p.write(p.label("train", 4), voc_text(p.scenes["train"][4], names=names))
    return [at(p, "train", 4, 8 + 9 * n) for n in (1, 4)]


@fault("class missing from a split", "class_not_evaluated", "warning")
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


@fault("class without objects", "empty_class", "warning")
def _no_objects(p: Planted) -> list[Spot]:
    p.write("classes.txt", "\n".join((*CLASSES, "boat")) + "\n")
    return [Spot(label_file="classes.txt", line=4)]


@fault("rare class", "rare_class", "warning", also=("class_not_evaluated",))
def _rare(p: Planted) -> list[Spot]:
    p.write("classes.txt", "\n".join((*CLASSES, "boat")) + "\n")
    return appended(p, yolo_line(3, (100, 80, 130, 110)), yolo_line(3, (140, 80, 175, 110)))


@fault("one class under two spellings", "duplicate_class_name", "warning", form="voc",
       also=("class_not_evaluated",))  # fmt: skip
def _two_spellings(p: Planted) -> list[Spot]:
    names = (CLASSES[0], "Houses", CLASSES[2])
    for number in range(8):
        p.write(p.label("train", number), voc_text(p.scenes["train"][number], names=names))
    return [Spot(), *(at(p, "train", number, 8 + 9 * n) for number in range(8) for n in (1, 4))]


@fault("typo in a class name", "class_name_typo", "note", form="voc",
       also=("rare_class", "class_not_evaluated"))  # fmt: skip
def _typo(p: Planted) -> list[Spot]:
    names = (CLASSES[0], CLASSES[1], "scooter")
    for split in COUNTS:
        for number in range(COUNTS[split]):
            p.write(p.label(split, number), voc_text(p.scenes[split][number], names=names))
    p.write(p.label("train", 5), voc_text(p.scenes["train"][5], names=(*names[:2], "scoter")))
    return [Spot(), *(at(p, "train", 5, 8 + 9 * n) for n in (2, 5))]


@fault("class that is no class", "placeholder_class", "warning",
       also=("rare_class", "class_not_evaluated"))  # fmt: skip
def _no_class(p: Planted) -> list[Spot]:
    p.write("classes.txt", "\n".join((*CLASSES, "todo")) + "\n")
    return [Spot(label_file="classes.txt", line=4), *appended(p, yolo_line(3, (100, 80, 130, 110)))]


@fault("class imbalance", "class_imbalance", "warning", also=("rare_class",))
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


@fault("object of unusual shape", "unusual_shape", "note")
def _unusual_shape(p: Planted) -> list[Spot]:
    return appended(p, yolo_line(0, (20, 40, 140, 52)))


@fault("split without objects", "empty_split", "error")
def _empty_split(p: Planted) -> list[Spot]:
    for number in range(COUNTS["val"]):
        p.write_lines("val", number, [])
    return [Spot("val")]


@fault("image with unusually many objects", "unusual_count", "note")
def _unusual_count(p: Planted) -> list[Spot]:
    boxes = [(x, y, x + 34, y + 34) for x in range(10, 210, 40) for y in range(10, 150, 30)]
    appended(p, *(yolo_line(n % 3, box) for n, box in enumerate(boxes)))
    return [at(p, "train", 5, 0)]

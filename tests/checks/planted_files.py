"""Faults in images, in the pairing of files and across splits; see `fault_list`."""

from __future__ import annotations

import numpy as np
from fault_list import Spot, at, fault
from PIL import Image
from planted import COUNTS, SIZE, Planted, encoded, polygon_line, voc_text, yolo_line

ROOM = (40.0, 40.0, 80.0, 80.0)


def image_spot(p: Planted, split: str, number: int, suffix: str = ".jpg") -> Spot:
    return Spot(split, p.image(split, number).replace(".jpg", suffix))


def as_png(p: Planted, split: str, number: int, image: Image.Image, **options: object) -> Spot:
    """Put a PNG in the place of an image."""
    path = f"images/{split}/{p.image(split, number)}"
    (p.root / path).unlink()
    p.write(path.replace(".jpg", ".png"), encoded(image, "PNG", **options))
    return image_spot(p, split, number, ".png")


def copied(p: Planted, source: int, split: str, lines: list[str] | None = None) -> Spot:
    """Copy a training image and its labels under a new name to a split."""
    content = (p.root / "images/train" / p.image("train", source)).read_bytes()
    p.write(f"images/{split}/zz.jpg", content)
    lines = p.lines("train", source) if lines is None else lines
    p.write(f"labels/{split}/zz.txt", "\n".join(lines))
    return Spot(split, "zz.jpg")


# --- files that cannot be used ------------------------------------------------------------------


@fault("truncated image", "image_truncated", "error")
def _truncated(p: Planted) -> list[Spot]:
    content = (p.root / "images/train" / p.image("train", 6)).read_bytes()
    p.write_image("train", 6, content[: len(content) // 2])
    return [image_spot(p, "train", 6)]


@fault("corrupt image", "image_unreadable", "error")
def _corrupt(p: Planted) -> list[Spot]:
    p.write_image("train", 6, np.random.default_rng(1).bytes(4000))
    return [image_spot(p, "train", 6)]


@fault("image damaged within", "image_corrupt", "error")
def _damaged(p: Planted) -> list[Spot]:
    spot = as_png(p, "val", 6, p.read_image("val", 6))
    path = p.root / "images/val" / spot.image
    content = path.read_bytes()
    path.write_bytes(content[:400] + bytes(300) + content[700:])
    return [spot]


@fault("all images of a split empty", "image_empty", "error",
       also=("no_training_objects",))  # fmt: skip
def _all_empty(p: Planted) -> list[Spot]:
    for number in range(COUNTS["train"]):
        p.write_image("train", number, b"")
    return [image_spot(p, "train", number) for number in range(COUNTS["train"])]


@fault("empty image file", "image_empty", "error")
def _empty(p: Planted) -> list[Spot]:
    p.write_image("train", 6, b"")
    return [image_spot(p, "train", 6)]


@fault("label file cut short", "label_file_unreadable", "error", form="voc")
def _cut_label(p: Planted) -> list[Spot]:
    text = voc_text(p.scenes["train"][6])
    p.write(p.label("train", 6), text[: len(text) // 2])
    return [at(p, "train", 6, text[: len(text) // 2].count("\n") + 1)]


@fault("labels of an unreadable image", "label_of_unreadable_image", "note", also=("image_empty",))
def _labels_lost(p: Planted) -> list[Spot]:
    p.write_image("train", 6, b"")
    return [at(p, "train", 6, line) for line in range(1, 7)]


# --- images that look otherwise in training -----------------------------------------------------


@fault("16-bit image", "image_16bit", "note")
def _deep(p: Planted) -> list[Spot]:
    grey = np.asarray(p.read_image("train", 6).convert("L"), dtype=np.uint16) * 257
    return [as_png(p, "train", 6, Image.fromarray(grey))]


@fault("transparency over a picture", "image_hidden_content", "warning")
def _hidden(p: Planted) -> list[Spot]:
    image = p.read_image("train", 6).convert("RGBA")
    alpha = np.full(SIZE[::-1], 255, dtype=np.uint8)
    alpha[:90] = 0
    image.putalpha(Image.fromarray(alpha))
    return [as_png(p, "train", 6, image)]


@fault("CMYK image", "image_cmyk", "warning")
def _cmyk(p: Planted) -> list[Spot]:
    p.write_image("train", 6, encoded(p.read_image("train", 6).convert("CMYK")))
    return [image_spot(p, "train", 6)]


@fault("animation", "image_animated", "warning")
def _animation(p: Planted) -> list[Spot]:
    more = [p.read_image("train", 7), p.read_image("train", 8)]
    image = p.read_image("train", 6)
    return [as_png(p, "train", 6, image, save_all=True, append_images=more)]


@fault("image of a single colour", "image_constant", "warning")
def _constant(p: Planted) -> list[Spot]:
    p.write_image("train", 6, encoded(Image.new("RGB", SIZE, (90, 90, 90))))
    return [image_spot(p, "train", 6)]


@fault("icon among photos", "image_size_extreme", "note")
def _icon(p: Planted) -> list[Spot]:
    image = p.read_image("train", 6).resize((40, 30))
    p.write_image("train", 6, encoded(image))
    return [image_spot(p, "train", 6)]


@fault("EXIF-rotated image", "image_exif_rotated", "note")
def _exif_rotated(p: Planted) -> list[Spot]:
    block = Image.Exif()
    block[0x0112] = 3
    p.write_image("train", 6, encoded(p.read_image("train", 6), exif=block))
    return [image_spot(p, "train", 6)]


@fault("labels made before EXIF rotation", "boxes_before_exif_rotation", "error",
       form="txt", also=("box_outside",))  # fmt: skip
def _before_exif_rotation(p: Planted) -> list[Spot]:
    block = Image.Exif()
    block[0x0112] = 6
    spots = []
    for number in range(8):
        p.write_image("train", number, encoded(p.read_image("train", number), exif=block))
        spots.append(at(p, "train", number, 0))
        spots += [
            at(p, "train", number, line)
            for line, (_, xyxy) in enumerate(p.scenes["train"][number].objects, start=1)
            if xyxy[2] > SIZE[1]
        ]
    return spots


# --- pairing ------------------------------------------------------------------------------------


@fault("label file without image", "label_without_image", "error")
def _orphan(p: Planted) -> list[Spot]:
    p.write("labels/val/zz.txt", f"{yolo_line(0, ROOM)}\n{yolo_line(1, ROOM)}\n")
    return [Spot("val", "", "labels/val/zz.txt", line) for line in (1, 2)]


@fault("empty label file without image", "empty_label_without_image", "note")
def _empty_orphan(p: Planted) -> list[Spot]:
    p.write("labels/val/zz.txt", "")
    return [Spot("val", "", "labels/val/zz.txt")]


@fault("most images without labels", "split_mostly_unlabelled", "warning",
       also=("split_negatives_differ", "split_density_differs"))  # fmt: skip
def _unlabelled(p: Planted) -> list[Spot]:
    for number in range(25):
        (p.root / p.label("train", number)).unlink()
    return [image_spot(p, "train", number) for number in range(25)]


@fault("two images of one stem", "label_file_shared", "warning")
def _same_stem(p: Planted) -> list[Spot]:
    name = p.image("train", 6).replace(".jpg", ".png")
    p.write(f"images/train/{name}", encoded(p.read_image("train", 7), "PNG"))
    return [Spot("train", name)]


@fault("listed image that is not there", "image_missing", "error", image_list="lists/{split}.txt",
       images="images/{split}", labels="labels/{split}")  # fmt: skip
def _listed_missing(p: Planted) -> list[Spot]:
    return _with_list(p, "gone.jpg")


@fault("labels of a listed image that is not there", "label_without_image", "error",
       also=("image_missing",), image_list="lists/{split}.txt", images="images/{split}",
       labels="labels/{split}")  # fmt: skip
def _labels_of_missing(p: Planted) -> list[Spot]:
    p.write("labels/val/gone.txt", f"{yolo_line(0, ROOM)}\n")
    _with_list(p, "gone.jpg")
    return [Spot("val", "", "labels/val/gone.txt", 1)]


@fault("image listed twice", "image_listed_twice", "note", image_list="lists/{split}.txt",
       images="images/{split}", labels="labels/{split}")  # fmt: skip
def _listed_twice(p: Planted) -> list[Spot]:
    return _with_list(p, p.image("val", 2))


def _with_list(p: Planted, entry: str) -> list[Spot]:
    """List all images, and another in line 5 of the list of val."""
    (p.root / "lists").mkdir()
    for split, count in COUNTS.items():
        names = [p.image(split, number) for number in range(count)]
        if split == "val":
            names.insert(4, entry)
        p.write(f"lists/{split}.txt", "\n".join(names) + "\n")
    return [Spot("val", "", "lists/val.txt", 5)]


# --- pictures that are there twice --------------------------------------------------------------


@fault("the same file twice in a split", "duplicate_images", "warning")
def _twice(p: Planted) -> list[Spot]:
    return [copied(p, 6, "train")]


@fault("the same file in two splits", "duplicate_images_across_splits", "error")
def _in_two_splits(p: Planted) -> list[Spot]:
    return [copied(p, 6, "test")]


@fault("the same file with other labels", "duplicate_images_labels_differ", "error",
       also=("duplicate_images",))  # fmt: skip
def _other_labels(p: Planted) -> list[Spot]:
    return [copied(p, 6, "train", p.lines("train", 6)[:-1])]


@fault("a picture saved again in another split", "near_duplicate_images_across_splits", "warning")
def _saved_again(p: Planted) -> list[Spot]:
    spot = copied(p, 6, "val")
    p.write("images/val/zz.jpg", encoded(p.read_image("train", 6), quality=55))
    return [spot]


@fault("a picture saved again in its split", "near_duplicate_images", "note")
def _saved_again_beside(p: Planted) -> list[Spot]:
    spot = copied(p, 6, "train")
    p.write("images/train/zz.jpg", encoded(p.read_image("train", 6), quality=55))
    return [spot]


@fault("polygon outside the image", "box_partly_outside", "warning", form="polygons")
def _polygon_outside(p: Planted) -> list[Spot]:
    p.append("train", 5, polygon_line(1, [(230, 20), (270, 25), (260, 60), (232, 50)]))
    return [at(p, "train", 5, 7)]

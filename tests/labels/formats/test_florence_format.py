"""Florence-2's JSONL: lines of three texts, of which a suffix holds names and locations."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import MakeDataset
from hypothesis import given
from hypothesis import strategies as st

from detfinetune.config.schema import DataConfig
from detfinetune.errors import DataError
from detfinetune.labels.formats.json.florence import detect_florence, parse_florence
from detfinetune.labels.formats.raw_labels import BadFile
from detfinetune.labels.read import read_dataset


def line(suffix: Any, image: Any = "a.jpg", prefix: Any = "<OD>") -> str:
    return json.dumps({"image": image, "prefix": prefix, "suffix": suffix}) + "\n"


def box(*bins: int | str) -> str:
    return "".join(f"<loc_{bin_}>" for bin_ in bins)


# --- objects --------------------------------------------------------------------------------------


def test_locations_stand_for_the_centres_of_their_bins() -> None:
    document = parse_florence(line(f"car{box(0, 1, 500, 999)}"))
    (image,) = document.images
    (label,) = image.labels
    assert document.normalized
    assert (image.name, image.problems, label.class_token, label.line) == ("a.jpg", [], "car", 1)
    assert label.xyxy == pytest.approx((0.0005, 0.0015, 0.5005, 0.9995))


def test_several_boxes_may_follow_one_name() -> None:
    suffix = f"car{box(1, 2, 3, 4)}{box(5, 6, 7, 8)} dog {box(1, 1, 2, 2)}"
    (image,) = parse_florence(line(suffix)).images
    assert [label.class_token for label in image.labels] == ["car", "car", "dog"]
    assert image.labels[1].text == f"car{box(5, 6, 7, 8)}"


@pytest.mark.parametrize(
    "name",
    ["Straße", "white  pawn", "8", "2 cm nut", "<5 mm>", "a<b", "loc_5", "<OD>", "</s>x", "µ"],
)
def test_names_survive(name: str) -> None:
    (image,) = parse_florence(line(f"{name}{box(1, 2, 3, 4)}" * 2)).images
    assert [label.class_token for label in image.labels] == [name, name]
    assert image.problems == []


@pytest.mark.parametrize(
    ("suffix", "kind", "reason"),
    [
        (f"car{box(1, 2, 3)}", "wrong number of values", "3 locations; a box has four"),
        (f"car{box(1, 2, 3, 4, 5)}", "wrong number of values", "5 locations; a box has four"),
        ("car", "wrong number of values", "no locations after the class name"),
        (f" {box(1, 2, 3, 4)}", "no class", "no class name before the locations"),
        (f"car{box(1, 2, 3, 1000)}", "out of range", "locations run from 0 to 999"),
        (f"car{box(1, 2, 3, '0' + '9' * 5000)}", "out of range", "locations run from 0 to 999"),
    ],
)
def test_a_wrong_object_is_rejected_and_the_others_are_kept(
    suffix: str, kind: str, reason: str
) -> None:
    text = line(f"dog{box(1, 2, 3, 4)}", "b.jpg") + line(f"dog{box(1, 2, 3, 4)}{suffix}")
    if suffix.startswith(" "):
        text = line("", "b.jpg") + line(suffix + f"dog{box(1, 2, 3, 4)}")
    first, second = parse_florence(text).images
    (problem,) = second.problems
    assert (problem.kind, problem.reason, problem.line) == (kind, reason, 2)
    assert first.problems == []
    assert [label.class_token for label in second.labels] == ["dog"]


@given(st.lists(st.sampled_from(["car", " ", "<", "<loc_", "5>", *map(box, (0, 7, 999, 1000))])))
def test_each_location_is_in_a_label_or_a_problem(parts: list[str]) -> None:
    (image,) = parse_florence(line("".join(parts))).images
    for label in image.labels:
        assert label.class_token.strip() == label.class_token != ""
        assert all(0 < value < 1 for value in label.xyxy)
    if "".join(parts).strip():
        assert image.labels or image.problems


# --- lines ----------------------------------------------------------------------------------------


def test_an_empty_suffix_is_an_image_without_objects(make_dataset: MakeDataset) -> None:
    text = line(f"car{box(100, 250, 400, 750)}") + "\n" + line("", "b.jpg")
    root = make_dataset(["train/a.jpg", "train/b.jpg"], {"train/annotations.jsonl": text})
    dataset = read_dataset(DataConfig(root=root, val_fraction=0, test_fraction=0))
    table = dataset.tables["train"]
    assert (dataset.format, dataset.classes) == ("florence", ("car",))
    assert dataset.evidence == "JSON lines with image, prefix, suffix"
    assert table.names == ("a.jpg", "b.jpg")
    assert table.boxes.tolist() == [[10.05, 20.04, 30.0, 40.0]]
    assert dataset.ledger.counts["train"].negatives == 1


def test_other_prefixes_are_counted(make_dataset: MakeDataset) -> None:
    text = line("a car", prefix="<CAPTION>") + line(f"car{box(1, 2, 300, 400)}")
    text += line("two cars", "b.jpg", "<CAPTION>") + line("yes", "a.jpg", "<VQA>is it red?")
    root = make_dataset(["a.jpg", "b.jpg"], {"_annotations.train.jsonl": text})
    dataset = read_dataset(DataConfig(root=root, val_fraction=0, test_fraction=0))
    assert dataset.tables["train"].names == ("a.jpg",)
    assert (
        "_annotations.train.jsonl: lines with another prefix than <OD>, ignored: 3, such as "
        "<CAPTION> (2), <VQA>is it red? (1)"
    ) in dataset.notes
    with pytest.raises(BadFile, match=r"no line has the prefix <OD>, but <CAPTION> \(1\)"):
        parse_florence(line("a car", prefix="<CAPTION>"))


@pytest.mark.parametrize(
    ("damaged", "reason"),
    [
        (line("")[:20], r"the JSON ends too soon; was the file copied whole\?"),
        (line("")[:-2] + ",}\n", "not valid JSON at column"),
        ("[1]\n", "the line is a list of 1, not an object with image, prefix, suffix"),
        ('{"image": "a.jpg", "prefix": "<OD>"}\n', "suffix is missing; each line has the texts"),
        (line(None), "suffix is None; each line has the texts image, prefix, suffix"),
        (line("", image=" "), "image is ' '; each line has the texts image, prefix, suffix"),
        (line("").rstrip() + line(""), "more text follows after the JSON has ended"),
    ],
)
def test_a_damaged_line_is_an_error_that_names_it(
    make_dataset: MakeDataset, damaged: str, reason: str
) -> None:
    text = line(f"car{box(1, 2, 300, 400)}") + "\n" + damaged
    root = make_dataset(["a.jpg"], {"annotations.jsonl": text})
    with pytest.raises(DataError, match=rf"annotations\.jsonl:3: {reason}"):
        read_dataset(DataConfig(root=root))


# --- detection ------------------------------------------------------------------------------------


def test_detection() -> None:
    long = line(f"car{box(1, 2, 3, 4)}" * 5000)
    assert detect_florence("\n" + long[:16_000]) == "JSON lines with image, prefix, suffix"
    assert detect_florence('{"image": "a.jpg", "label": 3}\n') == ""
    assert detect_florence(line([{"image": "a", "prefix": "b", "suffix": "c"}])[40:]) == ""
    assert detect_florence("") == ""


def test_a_damaged_file_of_a_split_is_not_passed_over(make_dataset: MakeDataset) -> None:
    text = line(f"car{box(1, 2, 300, 400)}")
    root = make_dataset(
        ["train/a.jpg", "valid/a.jpg"],
        {"train/annotations.jsonl": text, "valid/annotations.jsonl": text[:10]},
    )
    with pytest.raises(DataError, match=r"valid/annotations\.jsonl: the name is that of a label"):
        read_dataset(DataConfig(root=root))


def test_unread_lines_are_named_beside_other_labels(make_dataset: MakeDataset) -> None:
    texts = {"a.txt": "0 10 10 30 30\n", "annotations.jsonl": line(f"car{box(1, 2, 3, 4)}")}
    dataset = read_dataset(DataConfig(root=make_dataset(["a.jpg"], texts), val_fraction=0))
    assert any(
        "annotations.jsonl is not read: format florence; the .txt" in n for n in dataset.notes
    )

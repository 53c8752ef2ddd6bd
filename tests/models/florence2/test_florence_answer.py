"""Reading answers to any prompt: whole ones exactly, and any others without failing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tiny_florence import tiny_processor, tiny_tokenizer
from transformers import AddedToken

from detfinetune.answer import Answer, Region
from detfinetune.models.florence2.read_answer import build_answer_reader
from detfinetune.models.florence2.tasks import TASKS, Form


def full_tokenizer():  # type: ignore[no-untyped-def]
    """Return a tokenizer with the markup of polygons, as the published one has."""
    tokenizer = tiny_tokenizer()
    markup = [AddedToken(text, special=True) for text in ("<sep>", "<poly>", "</poly>")]
    tokenizer.add_tokens(markup, special_tokens=True)
    return tokenizer


TOKENIZER = full_tokenizer()
READER = build_answer_reader(TOKENIZER)
SIZE = (2000, 500)


def read(text: str, form: Form, end: str = "</s>", unnamed: str = "") -> Answer:
    tokens = TOKENIZER(f"<s>{text}{end}", add_special_tokens=False).input_ids
    return READER.read(tokens, form, *SIZE, unnamed=unnamed)


def locations(*bins: int) -> str:
    return "".join(f"<loc_{number}>" for number in bins)


def test_text_keeps_all_letters() -> None:
    assert read(" Grüße, Ωmega 图 <3\nline", "text").text == "Grüße, Ωmega 图 <3\nline"
    assert not read("short", "text").cut_off
    assert read("never en", "text", end="").cut_off
    assert read("<poly>no <loc_7>markup", "text").text == "no markup"


def test_boxes_are_centres_of_bins() -> None:
    box, other = locations(0, 10, 499, 999), locations(1, 2, 3, 4)
    found = read(f"Fußgänger{box}{other}car{box}", "boxes")
    assert [region.text for region in found.regions] == ["Fußgänger", "Fußgänger", "car"]
    assert found.regions[0].box == pytest.approx((1, 5.25, 999, 499.75))
    assert found.regions[1].box == pytest.approx((3, 1.25, 7, 2.25))
    assert read(box + other, "boxes").regions[1].text == ""


@pytest.mark.parametrize("broken", [locations(5, 5, 5, 9), locations(5, 5, 9), "only a name"])
def test_broken_boxes_are_counted(broken: str) -> None:
    found = read(f"a{locations(0, 0, 9, 9)}b{broken}", "boxes")
    assert (len(found.regions), found.invalid, found.cut_off) == (1, 1, False)
    assert read(f"a{broken}", "boxes", end="").cut_off


def test_polygons() -> None:
    first, second = locations(0, 0, 10, 0, 10, 10), locations(20, 20, 30, 20, 30, 30, 20, 30)
    found = read(f"{first}<sep>{second}", "polygons", unnamed="a dog")
    assert found.regions == (
        Region("a dog", polygons=((1, 0.25, 21, 0.25, 21, 5.25),
                                  (41, 10.25, 61, 10.25, 61, 15.25, 41, 15.25))),
    )  # fmt: skip
    apart = read(f"dog<poly>{first}</poly><poly>{second}</poly>", "polygons")
    assert [len(region.polygons) for region in apart.regions] == [1, 1]
    assert [region.text for region in apart.regions] == ["dog", "dog"]
    assert apart.invalid == 0
    # A last coordinate alone is no point; two points, or three on a line, are no polygon.
    assert len(read(f"{first}<loc_5>", "polygons").regions) == 1
    assert read(locations(1, 2, 3, 4, 5), "polygons").invalid == 1
    assert read(locations(1, 1, 2, 2, 3, 3), "polygons").invalid == 1


def test_quads() -> None:
    found = read(f"STRAẞE{locations(0, 0, 10, 0, 10, 10, 0, 10)}Öl{locations(1, 2, 3)}", "quads")
    assert found.regions == (Region("STRAẞE", polygons=((1, 0.25, 21, 0.25, 21, 5.25, 1, 5.25),)),)
    assert found.invalid == 1


@given(
    tokens=st.lists(st.integers(0, len(TOKENIZER) - 1) | st.integers(1255, 1275), max_size=80),
    form=st.sampled_from(["text", "boxes", "polygons", "quads"]),
)
def test_any_tokens_can_be_read(tokens: list[int], form: Form) -> None:
    found = READER.read(tokens, form, 640, 480)
    assert found.cut_off == (TOKENIZER.eos_token_id not in tokens)
    for region in found.regions:
        assert (region.box is None) == (form != "boxes")
        for shape in [region.box] if region.box else region.polygons:
            points = np.array(shape).reshape(-1, 2)
            assert (points > 0).all()
            assert (points < [640, 480]).all()
            assert (np.ptp(points, axis=0) > 0).all()
    found.to_json()


@given(tokens=st.lists(st.integers(0, len(TOKENIZER) - 1), min_size=1, max_size=40))
def test_any_answer_can_be_drawn(tokens: list[int]) -> None:
    text = READER.read(tokens, "text", 9, 9).text
    region = Region(text, (0.5, 0.5, 8.0, 8.0))
    drawn = Answer(9, 9, text, (region,)).plot(Image.new("RGB", (9, 9)))
    assert drawn.width == 480


def test_questions_are_those_of_the_library() -> None:
    processor = tiny_processor(tiny_tokenizer())
    theirs = {
        **processor.task_prompts_without_inputs,
        **{key: value.replace("{input}", "{text}")
           for key, value in processor.task_prompts_with_input.items()},
    }  # fmt: skip
    assert {task.question for task in TASKS.values()} <= set(theirs.values())
    assert all(task.takes_text == ("{text}" in task.question) for task in TASKS.values())

"""Grounding DINO, MM-Grounding-DINO and OWLv2 with random weights, loaded as a user's are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from tiny_detectors import KINDS, write_tiny_grounding_dino
from torchvision.ops import box_convert

from detfinetune.errors import ConfigError
from detfinetune.prediction import Prediction
from detfinetune.propose.grounding_dino import GroundingDinoProposer
from detfinetune.propose.prompts import Prompts, prompts_of_classes
from detfinetune.propose.proposer import Proposer
from detfinetune.propose.sources import load_zero_shot

Folder = Callable[[str], Path]
Pictures = list[NDArray[np.uint8]]
AWKWARD = (
    "T-shirt", "japanese_fruit", "fish", "fish tank", "St. John's wort", "what?", "Fußgänger", "12",
)  # fmt: skip
MANY = tuple(f"{first}{second}x" for first in "abcde" for second in "vwxyz")


@pytest.fixture(scope="module", params=KINDS)
def proposer(request: pytest.FixtureRequest, tiny: Folder) -> Proposer:
    return load_zero_shot(str(tiny(request.param)), "cpu")


@pytest.fixture(scope="module", params=KINDS[:2])
def dino(request: pytest.FixtureRequest, tiny: Folder) -> GroundingDinoProposer:
    found = load_zero_shot(str(tiny(request.param)), "cpu")
    assert isinstance(found, GroundingDinoProposer)
    return found


def same(one: Prediction, other: Prediction) -> None:
    assert one.class_ids.tolist() == other.class_ids.tolist()
    sides = [one.width, one.height] * 2
    np.testing.assert_allclose(one.boxes / sides, other.boxes / sides, atol=1e-4)
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)


def test_every_proposal_has_a_class_and_lies_in_its_image(
    proposer: Proposer, pictures: Pictures
) -> None:
    prompts = prompts_of_classes(AWKWARD)
    classes: set[str] = set()
    for picture, found in zip(pictures, proposer.propose(pictures, prompts), strict=True):
        height, width = picture.shape[:2]
        assert (found.width, found.height, found.classes) == (width, height, AWKWARD)
        assert 0 < len(found) <= 300
        assert found.boxes.min() >= 0
        assert (found.boxes <= [width, height, width, height]).all()
        assert (found.xywh[:, 2:] >= 1).all()
        assert sorted(found.scores, reverse=True) == found.scores.tolist()
        assert ((found.scores >= 0.05) & (found.scores <= 1)).all()
        classes |= set(found.class_names)
    assert len(classes) > 1


def test_a_batch_finds_what_single_images_do(proposer: Proposer, pictures: Pictures) -> None:
    prompts = prompts_of_classes(AWKWARD)
    for picture, found in zip(pictures, proposer.propose(pictures, prompts), strict=True):
        (alone,) = proposer.propose([picture], prompts)
        same(found, alone)


def test_narrow_images_are_no_other_channels(proposer: Proposer) -> None:
    """Of an array with a first side of 3 px, channels could be taken to come first."""
    picture = np.zeros((3, 60, 3), dtype=np.uint8)
    (found,) = proposer.propose([picture], prompts_of_classes(["a"]))
    assert (found.width, found.height) == (60, 3)


def test_synonyms_are_one_class(proposer: Proposer, pictures: Pictures) -> None:
    apart = prompts_of_classes(["fish", "tank", "a"])
    together = Prompts(("b", "c"), apart.phrases, (0, 1, 1))
    for one, both in zip(
        proposer.propose(pictures, apart), proposer.propose(pictures, together), strict=True
    ):
        # Those that were apart are now one object where they overlap.
        assert 0 < len(both) <= len(one)
        rows = {(*box, [0, 1, 1][int(kind)]) for *box, kind in rows_of(one)}
        assert rows >= {tuple(row) for row in rows_of(both)}


def rows_of(found: Prediction) -> list[list[float]]:
    return np.column_stack([found.boxes, found.scores, found.class_ids]).tolist()


def test_many_classes_are_looked_for_in_parts(dino: GroundingDinoProposer) -> None:
    phrases = prompts_of_classes(MANY).phrases
    (first, one), (second, other) = dino.encode(phrases)
    assert (first, second) == (range(20), range(20, 25))
    for part, caption in ((first, one), (second, other)):
        ((_, alone),) = dino.encode([phrases[number] for number in part])
        assert torch.equal(caption.tokens, alone.tokens)
        assert torch.equal(caption.shares, alone.shares)


def test_parts_find_what_each_finds_alone(dino: GroundingDinoProposer, pictures: Pictures) -> None:
    (found,) = dino.propose(pictures[:1], prompts_of_classes(MANY))
    for part in (range(20), range(20, 25)):
        (alone,) = dino.propose(pictures[:1], prompts_of_classes([MANY[at] for at in part]))
        known = {(*row[:5], int(row[5]) + part.start) for row in rows_of(alone)}
        own = {tuple(row) for row in rows_of(found) if int(row[5]) in part}
        assert own
        # The other part may have better boxes of the same objects, never others.
        assert own <= known


def test_a_class_is_scored_by_its_own_tokens(
    dino: GroundingDinoProposer, pictures: Pictures
) -> None:
    """Compared with the caption that transformers makes, and spans counted by hand."""
    processor: Any = dino.processor
    inputs = processor(
        images=Image.fromarray(pictures[0]), text=[["fish", "fish tank"]], return_tensors="pt"
    )
    with torch.no_grad():
        output = dino.network(**inputs)
    ((_, caption),) = dino.encode(["fish", "fish tank"])
    assert torch.equal(caption.tokens, inputs.input_ids)
    # Start, 4 letters, period, 8 letters, period, end.
    chances = output.logits[0].sigmoid()
    scores = torch.stack([chances[:, 1:5].mean(1), chances[:, 6:14].mean(1)], dim=1)
    (found,) = dino.find(inputs.pixel_values, caption)
    torch.testing.assert_close(found.scores, scores.max(1).values)
    assert torch.equal(found.phrases, scores.argmax(1))
    torch.testing.assert_close(found.boxes, box_convert(output.pred_boxes[0], "cxcywh", "xyxy"))


def test_periods_do_not_end_a_phrase(dino: GroundingDinoProposer) -> None:
    ((_, caption),) = dino.encode(["st. j?", "a"])
    assert caption.tokens.tolist() == [[101, 218, 319, 209, 1012, 200, 1012, 102]]
    assert (caption.shares > 0).nonzero().tolist() == [[1, 0], [2, 0], [3, 0], [5, 1]]


def test_unknown_words_are_refused(dino: GroundingDinoProposer) -> None:
    with pytest.raises(ConfigError, match=r"knows no word of '自行车'\. Give English ones with"):
        dino.encode(["car", "自行车"])
    ((_, caption),) = dino.encode(["自 car"])
    assert caption.tokens.shape == (1, 6)


def test_long_phrases_are_refused(tmp_path: Path) -> None:
    folder = write_tiny_grounding_dino(tmp_path / "short", max_text_len=16)
    dino = GroundingDinoProposer(folder, "it", "cpu", None)
    assert [part for part, _ in dino.encode(["abcdefghijklm", "a", "b"])] == [
        range(1), range(1, 3),
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="has 14 tokens, and it takes 13"):
        dino.encode(["a", "abcdefghijklmn"])


def test_owlv2_scores_are_those_of_transformers(tiny: Folder, pictures: Pictures) -> None:
    owl: Any = load_zero_shot(str(tiny("owlv2")), "cpu")
    phrases = prompts_of_classes(MANY).phrases
    ((part, vectors),) = owl.encode(phrases)
    assert part == range(25)
    image = Image.fromarray(pictures[0])
    inputs = owl.processor(
        images=image, text=[f"a photo of a {phrase}" for phrase in phrases],
        max_length=32, return_tensors="pt",
    )  # fmt: skip
    with torch.no_grad():
        output = owl.network(**inputs)
        (found,) = owl.find(inputs.pixel_values, vectors)
    scores, best = output.logits[0].sigmoid().max(-1)
    torch.testing.assert_close(found.scores, scores)
    assert torch.equal(found.phrases, best)
    torch.testing.assert_close(found.boxes, box_convert(output.pred_boxes[0], "cxcywh", "xyxy"))
    wanted = owl.processor.post_process_grounded_object_detection(
        output, threshold=0, target_sizes=[(100, 150)]
    )[0]["boxes"]
    torch.testing.assert_close(found.boxes * torch.tensor(owl.scale(150, 100) * 2), wanted)


def test_long_phrases_are_refused_by_owlv2(tiny: Folder) -> None:
    owl: Any = load_zero_shot(str(tiny("owlv2")), "cpu")
    owl.encode(["x" * 21])
    with pytest.raises(ConfigError, match="is 1 tokens too long"):
        owl.encode(["a", "x" * 22])

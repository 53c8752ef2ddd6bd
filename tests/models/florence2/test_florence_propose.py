"""Florence-2 as a source of proposals: a tiny one that has learned to ground a phrase."""

from __future__ import annotations

import numpy as np
import pytest
from taught_florence import draw_picture, write_taught_florence

from detfinetune.errors import ConfigError
from detfinetune.propose.florence2 import Florence2Proposer
from detfinetune.propose.prompts import Prompts, prompts_of_classes
from detfinetune.propose.sources import load_zero_shot

PICTURE = np.asarray(draw_picture())


@pytest.fixture(scope="module")
def proposer(tmp_path_factory: pytest.TempPathFactory) -> Florence2Proposer:
    folder = write_taught_florence(
        tmp_path_factory.mktemp("grounding") / "base", ["phrase_grounding"]
    )
    found = load_zero_shot(str(folder), "cpu")
    assert isinstance(found, Florence2Proposer)
    return found


def test_a_phrase_that_it_knows_is_found(proposer: Florence2Proposer) -> None:
    for prompts in (
        Prompts(("round",), ("the disc",), (0,)),
        Prompts(("flat", "round"), ("the box", "the disc"), (0, 1)),
    ):
        (found,) = proposer.propose([PICTURE], prompts)
        assert found.class_names == ["round"]
        np.testing.assert_allclose(found.boxes, [[10.1, 10.05, 50.1, 50.05]], atol=0.01)
        assert found.scores[0] > 0.9


def test_awkward_names_have_classes_and_a_batch_finds_what_single_images_do(
    proposer: Florence2Proposer,
) -> None:
    prompts = prompts_of_classes(
        ["T-shirt", "japanese_fruit", "fish", "fish tank", "No. 5?", "Über", "a<b>"]
    )
    images = [PICTURE, PICTURE[:, :150], PICTURE]
    together = proposer.propose(images, prompts)
    assert all(len(found) for found in together)
    for image, found in zip(images, together, strict=True):
        (alone,) = proposer.propose([image], prompts)
        assert set(found.class_ids) <= set(range(7))
        assert found.class_ids.tolist() == alone.class_ids.tolist()
        np.testing.assert_allclose(found.boxes, alone.boxes, atol=1e-4)
        np.testing.assert_allclose(found.scores, alone.scores, atol=1e-4)


def test_phrases_are_asked_for_in_parts(proposer: Florence2Proposer) -> None:
    names = [f"{number}x" for number in range(45)]
    parts = [part for part, _ in proposer.encode(names)]
    assert parts == [range(20), range(20, 40), range(40, 45)]
    # Each byte is a token of the tiny model, of which an eighth of a thousand is room.
    long = ["x" * 100, "y" * 100, "z"]
    assert [part for part, _ in proposer.encode(long)] == [range(1), range(1, 3)]


def test_phrases_that_it_cannot_write_are_refused(proposer: Florence2Proposer) -> None:
    with pytest.raises(ConfigError, match="knows no word of '自行车'"):
        proposer.encode(["car", "自行车"])
    with pytest.raises(ConfigError, match=r"is too long for .*\. Shorten it"):
        proposer.encode(["car", "x" * 129])

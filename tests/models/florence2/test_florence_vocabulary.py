"""What stands for each class in an answer."""

from __future__ import annotations

import pytest
from tiny_florence import tiny_tokenizer
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from detfinetune.errors import WeightsError
from detfinetune.models.florence2.vocabulary import build_vocabulary, written_names


def test_plain_names_stay_and_others_get_aliases() -> None:
    names = ("white-king", "No. 5, left", "Fußgänger", "狗", "<loc_5>", "a<b")
    assert written_names(names) == (
        "white-king", "No. 5, left", "Fussganger", "class 3", "loc_5", "ab",
    )  # fmt: skip


def test_aliases_are_no_other_class() -> None:
    assert written_names(("Straße", "Strasse", "Stràsse", "犬", "class 3")) == (
        "Strasse 0", "Strasse", "Strasse 2", "class 3 3", "class 3",
    )  # fmt: skip


def test_tokens_are_those_of_the_written_name() -> None:
    tokenizer = tiny_tokenizer()
    vocabulary = build_vocabulary(tokenizer, ("ball", "Fußball"))
    assert [tokenizer.decode(name) for name in vocabulary.names] == ["ball", "Fussball"]
    assert tokenizer.convert_ids_to_tokens(vocabulary.locations[[0, 999]].tolist()) == [
        "<loc_0>", "<loc_999>",
    ]  # fmt: skip
    assert vocabulary.longest_object == len("Fussball") + 4


def test_a_tokenizer_without_locations_is_refused() -> None:
    plain = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.BPE(vocab={"<unk>": 0}, merges=[], unk_token="<unk>")),
        unk_token="<unk>",
    )
    with pytest.raises(WeightsError, match="lacks the tokens <loc_0> to <loc_999>"):
        build_vocabulary(plain, ("disc",))

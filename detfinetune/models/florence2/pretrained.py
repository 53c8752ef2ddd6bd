"""Loads what a folder of `transformers` has: the network, its processor and tokenizer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from detfinetune.errors import WeightsError, first_line
from detfinetune.models.florence2.vocabulary import Vocabulary, build_vocabulary

_SHOWN = 3


def read_vocabulary(folder: Path, classes: Sequence[str]) -> Vocabulary:
    """Return the tokens of answers with `classes`.

    Raises:
        WeightsError: the folder's tokenizer is missing, or not Florence-2's.
    """
    return build_vocabulary(read_processor(folder).tokenizer, classes)


def read_processor(folder: Path) -> Any:
    """Return the `Florence2Processor` of a folder.

    Raises:
        WeightsError: it cannot be loaded.
    """
    from transformers import AutoProcessor

    with quiet():
        try:
            return AutoProcessor.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # OSError, ValueError, KeyError, and what tokenizers raises
            raise _cannot_load(folder, "processor", error) from error


def read_network(folder: Path) -> Any:
    """Return the `Florence2ForConditionalGeneration` of a folder, in fp32.

    Raises:
        WeightsError: it cannot be loaded, or has not all weights.
    """
    from transformers import Florence2ForConditionalGeneration

    with quiet():
        try:
            network, report = Florence2ForConditionalGeneration.from_pretrained(
                folder,
                dtype=torch.float32,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
            )
        except Exception as error:  # OSError, ValueError, and what safetensors raises
            raise _cannot_load(folder, "model", error) from error
    wrong = sorted(str(name) for name in [*report["missing_keys"], *report["mismatched_keys"]])
    if wrong:
        raise WeightsError(
            f"{folder} does not have all weights of Florence-2: {len(wrong)} are missing or have "
            f"another shape, such as {', '.join(wrong[:_SHOWN])}. Use the weights of "
            "florence-community/Florence-2-base or -large."
        )
    return network


def _cannot_load(folder: Path, what: str, error: Exception) -> WeightsError:
    reason = first_line(error)
    return WeightsError(
        f"{folder}: transformers cannot load its {what}: {reason}\nThe folder should have all "
        "files of a published model, or be written by save_pretrained."
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the progress bars and messages of `transformers` off the screen."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()

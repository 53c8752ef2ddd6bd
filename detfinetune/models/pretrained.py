"""Models of `transformers`: folders from the Hugging Face hub, their network and processor."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from detfinetune.errors import WeightsError, first_line

_SHOWN = 3
# Not PyTorch's pickles, which may lie beside the safetensors.
_FILES = ["*.json", "*.txt", "*.safetensors"]


def hub_folder(name: str, alternatives: str) -> Path:
    """Return the folder of a model on the hub, downloaded if it is not in the hub's cache.

    Raises:
        WeightsError: it is not there and cannot be downloaded; the text ends with `alternatives`.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=_FILES, local_files_only=True))
    except OSError:  # not in the cache
        pass
    try:
        return Path(snapshot_download(name, allow_patterns=_FILES))
    except Exception as error:  # the hub raises any error of its network library
        raise WeightsError(
            f"The weights of {name} are not in the cache and cannot be downloaded: "
            f"{first_line(error)}\nAlternatives:\n"
            f"  - on a machine with internet: hf download {name} --local-dir FOLDER; copy the "
            f"folder and give {alternatives}"
        ) from error


def read_model_config(folder: Path) -> dict[str, Any]:
    """Return `config.json`.

    Raises:
        WeightsError: it is missing or broken.
    """
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{folder} has no model that transformers can load: config.json is missing or broken."
        ) from error
    return content if isinstance(content, dict) else {}


def read_processor(folder: Path) -> Any:
    """Return the processor of a folder: what makes pixels and tokens.

    Raises:
        WeightsError: it cannot be loaded.
    """
    from transformers import AutoProcessor

    with quiet():
        try:
            return AutoProcessor.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # OSError, ValueError, KeyError, and what tokenizers raises
            raise _cannot_load(folder, "processor", error) from error


def read_network(folder: Path, architecture: str) -> Any:
    """Return the network of a folder, in fp32.

    Args:
        folder: in the format of `transformers`.
        architecture: class of `transformers`, such as `Florence2ForConditionalGeneration`.

    Raises:
        WeightsError: it cannot be loaded, or has not all weights.
    """
    import transformers

    with quiet():
        try:
            network, report = getattr(transformers, architecture).from_pretrained(
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
            f"{folder} does not have all weights of its model: {len(wrong)} are missing or have "
            f"another shape, such as {', '.join(wrong[:_SHOWN])}. Use the published weights, or "
            "save the model with save_pretrained of transformers."
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

"""Writes a trained model as a plain one, in the format of the library that its base came from."""

from __future__ import annotations

from pathlib import Path

from detfinetune import console, files
from detfinetune.config.schema import HardwareConfig, MergeConfig
from detfinetune.errors import ConfigError, ModelError
from detfinetune.families import families
from detfinetune.models.abilities import MergesAdapter
from detfinetune.models.checkpoint import choose_checkpoint, load_detector

_RECORD = "merged_from.json"


def merge(config: MergeConfig) -> None:
    """Write the model of a checkpoint, with its averaged weights if there are any, into a folder.

    Beside the model, `merged_from.json` has the checkpoint, the base weights and the classes. The
    folder is written atomically.

    Raises:
        ConfigError: checkpoint or output is missing in the configuration.
        CheckpointError: the checkpoint cannot be used.
        ModelError: models of its family cannot be merged.
        OutputExistsError: the output exists and `overwrite` is false, or was not written by this.
    """
    if config.output is None:
        raise ConfigError("output is missing. Give output=DIR, the folder for the merged model.")
    checkpoint = choose_checkpoint(config.run, config.checkpoint)
    files.check_output(config.output, config.overwrite)
    files.check_replaceable(config.output, _RECORD, [checkpoint])
    detector = load_detector(checkpoint, HardwareConfig())
    if not isinstance(detector.family, MergesAdapter):
        able = [name for name, family in families().items() if isinstance(family, MergesAdapter)]
        raise ModelError(
            f"{checkpoint}: {detector.config.model.name} cannot be merged: its checkpoints hold "
            f"the whole model already. Families that can be: {', '.join(able)}."
        )
    base = detector.config.model.weights
    files.check_replaceable(config.output, _RECORD, [Path(base)])
    with files.atomic_folder(config.output, config.overwrite) as folder:
        detector.family.write_merged(detector.model, detector.config, folder)
        record = {
            "checkpoint": str(checkpoint),
            "base_weights": base,
            "classes": list(detector.classes),
        }
        files.write_json(folder / _RECORD, record)
    console.say(f"merged model: {config.output}")

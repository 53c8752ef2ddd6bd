"""Asks a model about an image or a folder of images: pictures with the answers, and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from detfinetune import console, files
from detfinetune.answer import Answer
from detfinetune.config.schema import AskConfig
from detfinetune.data.window import Window
from detfinetune.errors import ConfigError, DataError, ModelError, did_you_mean
from detfinetune.families import families, family_of
from detfinetune.inference.inputs import ImageInputs, VideoInput, find_inputs
from detfinetune.inference.picture_names import picture_names
from detfinetune.inference.predict import PICTURE_QUALITY
from detfinetune.inference.predictor import read_rgb
from detfinetune.models.abilities import AnswersPrompts, Asked, PromptTask
from detfinetune.models.checkpoint import check_device, choose_checkpoint, load_detector

ANSWERS_NAME = "answers.json"


@dataclass(frozen=True)
class AskResult:
    """Summary of an `ask`."""

    output: Path
    answers: dict[str, Answer]
    """By the image's path in the input."""

    skipped: tuple[str, ...]
    """Images that could not be read, each with the reason."""


def ask(config: AskConfig) -> AskResult:
    """Ask a model about `config.input`, draw the answers, and write them as JSON.

    The output folder has a picture of each image with the same name, and `answers.json`. It is
    written atomically. Images that cannot be read are skipped with a warning and listed.

    Raises:
        ConfigError: input, model, task or text is missing or does not fit in the configuration.
        CheckpointError: the checkpoint cannot be used.
        DataError: the input is missing, is a video, or none of its images can be read.
        MissingExtraError: the model needs packages that are not installed.
        ModelError: the model cannot answer prompts.
        OutputExistsError: the output exists and `overwrite` is false, or was not written by this.
        WeightsError: the base weights cannot be loaded.
    """
    inputs = find_inputs(config.input)
    if isinstance(inputs, VideoInput):
        raise DataError(f"input={inputs.path}: videos cannot be asked about. Give images.")
    output = config.output or Path("answers") / inputs.name
    files.check_output(output, config.overwrite)
    files.check_replaceable(output, ANSWERS_NAME, [path for path in _sources(config) if path])
    asked, model, window = _load(config)
    answers: dict[str, Answer] = {}
    skipped: list[str] = []
    with files.atomic_folder(output, config.overwrite) as folder:
        pictures = picture_names(inputs.names)
        for name in console.progress(inputs.names, description="ask", unit="image"):
            try:
                image = Image.fromarray(read_rgb(inputs.root / name, window))
            except DataError as error:
                skipped.append(str(error))
                console.warn(str(error))
                continue
            answers[name] = asked(image)
            picture = folder / pictures[name]
            picture.parent.mkdir(parents=True, exist_ok=True)
            answers[name].plot(image).save(picture, quality=PICTURE_QUALITY)
        if not answers:
            raise DataError(f"input={config.input}: no image can be read; the first: {skipped[0]}")
        record = {
            "model": model,
            "prompt_task": config.prompt_task,
            "text": config.text,
            "images": [
                {"file_name": name, "picture": pictures[name], **answer.to_json()}
                for name, answer in answers.items()
            ],
            "skipped": skipped,
        }
        files.write_json(folder / ANSWERS_NAME, record)
    _report(inputs, answers, output)
    return AskResult(output, answers, tuple(skipped))


def _sources(config: AskConfig) -> tuple[Path | None, ...]:
    return config.input, config.run, config.checkpoint, Path(config.model.weights)


def _load(config: AskConfig) -> tuple[Asked, str, Window | None]:
    """Return the model with the prompt, what it is for the user, and its window of grey levels."""
    if config.model.name == config.model.weights == "auto":
        if config.run is config.checkpoint is None:
            raise ConfigError(
                "Say which model to ask: run=RUN for a run's best checkpoint, checkpoint=FILE, or "
                "model=florence2 for its base weights (model.weights=FOLDER for others)."
            )
        detector = load_detector(choose_checkpoint(config.run, config.checkpoint), config.hardware)
        family = _able(detector.config.model.name)
        task, text = _prompt(config, family.prompt_tasks)
        asked = family.ask_trained(detector.model, detector.config, task, text)
        return asked, str(detector.checkpoint), detector.config.augment.window
    if config.run is not None or config.checkpoint is not None:
        raise ConfigError(
            "model.* cannot be combined with run or checkpoint, which have a model of their own. "
            "Remove one of them."
        )
    name = config.model.name
    family = _able(name)
    task, text = _prompt(config, family.prompt_tasks)
    family_of(name).require_extra(name)
    check_device(config.hardware.device)
    asked = family.ask_base(config.model, config.hardware.device, task, text)
    return asked, name if config.model.weights == "auto" else config.model.weights, None


def _able(model_name: str) -> AnswersPrompts:
    family = family_of(model_name)
    if isinstance(family, AnswersPrompts):
        return family
    able = [name for name, other in families().items() if isinstance(other, AnswersPrompts)]
    raise ModelError(
        f"{model_name} cannot answer prompts, it only detects. Models of these families can: "
        f"{', '.join(able)}. Give model=florence2, or a run of it."
    )


def _prompt(config: AskConfig, tasks: Mapping[str, PromptTask]) -> tuple[str, str]:
    """Return the task, and the text or an empty one.

    Raises:
        ConfigError: one is missing or does not fit.
    """
    listed = "".join(f"\n  {name:<24}{task.asks}" for name, task in tasks.items())
    name, text = config.prompt_task, config.text
    if name is None:
        raise ConfigError(f"prompt_task is missing. Choose from:{listed}")
    if name not in tasks:
        hint = did_you_mean(name, tasks)
        raise ConfigError(f"prompt_task={name}: there is no such task.{hint} Choose from:{listed}")
    if tasks[name].takes_text and not (text and text.strip()):
        raise ConfigError(f"text is missing: prompt_task={name} asks for {tasks[name].asks}.")
    if not tasks[name].takes_text and text is not None:
        able = ", ".join(other for other, task in tasks.items() if task.takes_text)
        raise ConfigError(
            f"text: prompt_task={name} takes none. Remove it, or choose from: {able}."
        )
    return name, (text or "").strip()


def _report(inputs: ImageInputs, answers: dict[str, Answer], output: Path) -> None:
    if len(inputs.names) == 1:
        (answer,) = answers.values()
        for line in [answer.text] if answer.text else [region.text for region in answer.regions]:
            console.say(line or "(a region without text)")
    cut_off = sum(answer.cut_off for answer in answers.values())
    if cut_off:
        console.warn(f"answers that were cut off at the model's limit of tokens: {cut_off}")
    regions = sum(len(answer.regions) for answer in answers.values())
    console.say(
        f"{len(answers)} images, {regions} regions; pictures and {ANSWERS_NAME} are in {output}"
    )

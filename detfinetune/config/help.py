"""Generates the text of `--help` from the schema."""

from __future__ import annotations

import re
import textwrap
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from detfinetune.config.keys import fields_of
from detfinetune.config.schema import Section
from detfinetune.console import command_line

_ABOUT = {
    "train": (
        "Fine-tune a detector on your own images and labels.",
        "+experiment=custom data.root=DIR [key=value ...]",
    ),
    "convert": (
        "Convert labels of any format to COCO JSON, YOLO, VOC, txt or Florence-2's JSONL.",
        "data.root=DIR output=OUT [key=value ...]",
    ),
    "check": (
        "Check images and labels before training, and write the findings to an HTML page. The exit "
        "code is 1 if there is a finding of severity `fail_on` or worse.",
        "data.root=DIR [--fix] [key=value ...]",
    ),
    "label": (
        "Label images in the browser, starting from labels that are there in any format.",
        "DIR [--no-browser] [key=value ...]",
    ),
    "evaluate": (
        "Evaluate the AP of a run or a checkpoint.",
        "run=RUN [split=test] [key=value ...]",
    ),
    "ask": (
        "Ask Florence-2 about images: captions, boxes, polygons, text.",
        "model=florence2 prompt_task=TASK input=PATH [text=WORDS] [key=value ...]",
    ),
    "merge": (
        "Write a fine-tuned Florence-2 as a plain model that transformers loads.",
        "run=RUN output=DIR [key=value ...]",
    ),
    "propose": (
        "Propose boxes for labelling, by a zero-shot model or your own detector.",
        "data.root=DIR model=MODEL|run=RUN [prompts=FILE] [output=FILE] [key=value ...]",
    ),
    "predict": (
        "Predict on an image, a folder or a video, and draw the detections.",
        "run=RUN input=PATH [key=value ...]",
    ),
}


def help_text(name: str, schema: type[Section], groups: dict[str, list[str]]) -> str:
    """Return usage, config groups, and all keys with type, default and meaning."""
    about, arguments = _ABOUT[name]
    lines = [about, "", "usage:", f"  {command_line(name)} {arguments}", ""]
    if groups:
        lines += ["config groups, as group=option:"]
        lines += [f"  {group:<12}{', '.join(options)}" for group, options in groups.items()]
        lines += [""]
    lines += ["keys, as key=value (null: chosen automatically; the run prints the reason):"]
    for key, field in fields_of(schema):
        default = "null" if field.default is None else field.default
        lines += [f"  {key}  [{_type_name(field.annotation)}; default {_short(default)}]"]
        meaning = re.sub(r"\s+", " ", field.description or "")
        lines += textwrap.wrap(meaning, width=96, initial_indent=" " * 6, subsequent_indent=" " * 6)
    lines += [
        "",
        "config=FILE.yaml takes keys from a file, as --cfg prints them; the command line wins.",
        "--cfg prints the composed configuration and exits; --help prints this text.",
    ]
    return "\n".join(lines)


def _short(value: Any) -> str:
    return str(value) if value != "" else "''"


def _type_name(annotation: Any) -> str:
    """Return a short name of a type: the choices of a Literal; without `None`."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type_name(inner[0])
    if origin is Literal:
        return "|".join(str(choice) for choice in inner)
    if origin in (Union, UnionType):
        return " or ".join(_type_name(part) for part in inner if part is not type(None))
    if origin in (list, tuple, dict):
        return f"{origin.__name__}[{', '.join(_type_name(part) for part in inner)}]"
    return "any" if annotation is Any else str(annotation.__name__).lower()

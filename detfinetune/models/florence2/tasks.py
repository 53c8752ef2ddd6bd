"""What Florence-2 was trained to answer (arXiv:2311.06242)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from detfinetune.models.abilities import PromptTask

Form = Literal["text", "boxes", "polygons", "quads"]


@dataclass(frozen=True)
class Florence2Task(PromptTask):
    """A task, and what the model is told: it never sees the task's name."""

    question: str = ""
    """Of the prompt; `{text}` stands for the user's words."""

    form: Form = "text"
    """Of the answer; after a text: boxes of 4 locations, polygons, or quads of 8 locations."""


TASKS = {
    "caption": Florence2Task("a short caption", False, "What does the image describe?"),
    "detailed_caption": Florence2Task(
        "a caption of some sentences", False, "Describe in detail what is shown in the image."
    ),
    "more_detailed_caption": Florence2Task(
        "a paragraph", False, "Describe with a paragraph what is shown in the image."
    ),
    "dense_region_caption": Florence2Task(
        "boxes with short captions",
        False,
        "Locate the objects in the image, with their descriptions.",
        "boxes",
    ),
    "region_proposal": Florence2Task(
        "boxes of whatever stands out", False, "Locate the region proposals in the image.", "boxes"
    ),
    "od": Florence2Task(
        "boxes with class names",
        False,
        "Locate the objects with category name in the image.",
        "boxes",
    ),
    "referring_segmentation": Florence2Task(
        "polygons of what `text` names", True, "Locate {text} in the image with mask", "polygons"
    ),
    "phrase_grounding": Florence2Task(
        "boxes of the phrases in the caption `text`",
        True,
        "Locate the phrases in the caption: {text}",
        "boxes",
    ),
    "ocr": Florence2Task("the text in the image", False, "What is the text in the image?"),
    "ocr_with_region": Florence2Task(
        "the text in the image, line by line with quads",
        False,
        "What is the text in the image, with regions?",
        "quads",
    ),
}

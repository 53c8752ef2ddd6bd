"""Rules that turn the facts of one image into findings.

Palette images need no rule: reading them as RGB gives the exact colours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from detfinetune.checks.findings import Severity
from detfinetune.checks.images.image_content import ImageFacts

# JPEG compression changes the grey levels of a constant image by one or two.
_CONSTANT_CONTRAST = 1.0
_CONSTANT_SPREAD = 10


@dataclass(frozen=True)
class ImageRule:
    """A kind of finding that depends on one image only."""

    kind: str
    severity: Severity
    detail: Callable[[ImageFacts], str]
    """What is wrong with an image, or an empty string."""

    title: str
    """Follows `12 images: `."""

    advice: str


def _problem(kind: str) -> Callable[[ImageFacts], str]:
    return lambda facts: facts.problem if facts.problem_kind == kind else ""


def _deep_grey(facts: ImageFacts) -> str:
    if not facts.mode.startswith(("I", "F")):
        return ""
    return f"{facts.bits} bits, one channel (Pillow mode {facts.mode})"


def _hidden(facts: ImageFacts) -> str:
    if not facts.hides_content:
        return ""
    return f"{facts.transparent:.1%} of the pixels are transparent, and differ in colour"


def _constant(facts: ImageFacts) -> str:
    constant = facts.contrast < _CONSTANT_CONTRAST and facts.spread <= _CONSTANT_SPREAD
    if not (facts.sound and constant):
        return ""
    return f"all pixels have grey level {facts.mean:.0f}"


def _animated(facts: ImageFacts) -> str:
    # In MPO files, phones save a preview or depth map with the photo.
    several = facts.frames > 1 and facts.format != "MPO"
    return f"{facts.frames} frames or pages" if several else ""


def _rotated(facts: ImageFacts) -> str:
    return f"EXIF orientation {facts.orientation}" if facts.orientation != 1 else ""


IMAGE_RULES = (
    ImageRule(
        "image_empty",
        "error",
        _problem("image_empty"),
        "the file is empty",
        "Copy them from the source again, or remove them with their labels. Training would stop.",
    ),
    ImageRule(
        "image_unreadable",
        "error",
        _problem("image_unreadable"),
        "cannot be opened as an image",
        "Save them as JPEG or PNG, or remove them with their labels. Training would stop.",
    ),
    ImageRule(
        "image_truncated",
        "error",
        _problem("image_truncated"),
        "truncated file",
        "Copy them from the source again: a download or copy was interrupted. Training would stop, "
        "perhaps after hours.",
    ),
    ImageRule(
        "image_corrupt",
        "error",
        _problem("image_corrupt"),
        "damaged, does not decode",
        "Copy them from the source again, or remove them with their labels. Training would stop, "
        "perhaps after hours.",
    ),
    ImageRule(
        "image_16bit",
        "note",
        _deep_grey,
        "more than 8 bits of grey, read with one window for all",
        "Nothing to do: training turns the 0.5th to 99.5th percentile of the training images into "
        "black and white, and prints them; augment.window=[LOW,HIGH] sets others.",
    ),
    ImageRule(
        "image_hidden_content",
        "warning",
        _hidden,
        "transparent pixels hide content that training sees",
        "Flatten them onto the background that was visible when labelling. Reading drops alpha, so "
        "the model sees objects that nobody labelled.",
    ),
    ImageRule(
        "image_cmyk",
        "warning",
        lambda facts: f"{facts.format}, CMYK" if facts.mode == "CMYK" else "",
        "CMYK colours",
        "Convert them to sRGB with their colour profile. Training converts them without it, so "
        "their colours differ from those of the other images.",
    ),
    ImageRule(
        "image_animated",
        "warning",
        _animated,
        "several frames or pages; training uses only the first",
        "Save the labelled frames as separate images. Labels of other frames than the first are "
        "wrong.",
    ),
    ImageRule(
        "image_constant",
        "warning",
        _constant,
        "a single colour",
        "Check them: an export or a camera may have failed. Labels on them teach the model objects "
        "that are not visible.",
    ),
    ImageRule(
        "image_exif_rotated",
        "note",
        _rotated,
        "rotated by the EXIF flag",
        "Nothing to do if the labels were made on the rotated images; training rotates them too. "
        "For tools that do not, save the rotated images without the flag.",
    ),
)

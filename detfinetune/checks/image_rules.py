"""What one image's facts can say that a user should know, rule by rule.

Palette images are under no rule: reading them as RGB gives their colours exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from detfinetune.checks.findings import Severity
from detfinetune.checks.image_content import ImageFacts

# Averages of noise-free images saved as JPEG stray by a grey level or two.
_CONSTANT_CONTRAST = 1.0
_CONSTANT_SPREAD = 10
_MOSTLY = 0.5


@dataclass(frozen=True)
class ImageRule:
    """A kind of finding that one image's facts decide."""

    kind: str
    severity: Severity
    detail: Callable[[ImageFacts], str]
    """What is the matter with an image, or an empty string."""

    title: str
    """Follows the number of images."""

    advice: str


def _problem(kind: str) -> Callable[[ImageFacts], str]:
    return lambda facts: facts.problem if facts.problem_kind == kind else ""


def _deep_grey(facts: ImageFacts, when_blank: bool) -> str:
    blank = facts.clipped >= _MOSTLY or facts.spread <= _CONSTANT_SPREAD
    if not facts.mode.startswith(("I", "F")) or blank != when_blank:
        return ""
    return (
        f"{facts.bits} bits, one channel (Pillow's mode {facts.mode}): {facts.clipped:.0%} of the "
        f"pixels are outside 0 to 255 and are cut off, which gives a mean of {facts.mean:.0f}"
    )


def _deep_colour(facts: ImageFacts) -> str:
    deep = facts.bits > 8 and not facts.mode.startswith(("I", "F"))
    return f"{facts.bits} bits per channel, mean grey level {facts.mean:.0f}" if deep else ""


def _alpha(facts: ImageFacts) -> str:
    if not facts.has_alpha or facts.hides_content:
        return ""
    return f"{facts.transparent:.1%} of the pixels are transparent"


def _hidden(facts: ImageFacts) -> str:
    if not facts.hides_content:
        return ""
    return f"{facts.transparent:.1%} of the pixels are transparent, and differ in colour"


def _constant(facts: ImageFacts) -> str:
    constant = facts.contrast < _CONSTANT_CONTRAST and facts.spread <= _CONSTANT_SPREAD
    if not (facts.sound and constant) or facts.mode.startswith(("I", "F")):
        # Of deep images that come out so there is a rule of its own, which knows why.
        return ""
    return f"all pixels have grey level {facts.mean:.0f}"


def _animated(facts: ImageFacts) -> str:
    # Phones save a small preview or a depth map along with a photo, as MPO.
    several = facts.frames > 1 and facts.format != "MPO"
    return f"{facts.frames} frames or pages" if several else ""


def _turned(facts: ImageFacts) -> str:
    return f"EXIF orientation {facts.orientation}" if facts.orientation != 1 else ""


_CONVERT_DEPTH = (
    "Scale them to 8 bits yourself, with one range for the whole data set (such as its 0.5th to "
    "99.5th percentile), and save them anew."
)
IMAGE_RULES = (
    ImageRule(
        "image_empty",
        "error",
        _problem("image_empty"),
        "the file is empty",
        "Copy them from the source again, or remove them with their labels. Training stops at "
        "such a file.",
    ),
    ImageRule(
        "image_unreadable",
        "error",
        _problem("image_unreadable"),
        "no image that can be opened",
        "Save them as JPEG or PNG, or remove them with their labels. Training stops at such a "
        "file.",
    ),
    ImageRule(
        "image_truncated",
        "error",
        _problem("image_truncated"),
        "the file ends before the picture does",
        "Copy them from the source again: a download or copy was cut short. Training stops at "
        "such a file, perhaps hours after its start.",
    ),
    ImageRule(
        "image_corrupt",
        "error",
        _problem("image_corrupt"),
        "the picture does not decode",
        "Copy them from the source again, or remove them with their labels. Training stops at "
        "such a file, perhaps hours after its start.",
    ),
    ImageRule(
        "image_16bit_blank",
        "error",
        lambda facts: _deep_grey(facts, when_blank=True),
        "more than 8 bits of grey, which training reads as almost entirely white or black",
        f"{_CONVERT_DEPTH} Left as they are, the model learns from blank pictures.",
    ),
    ImageRule(
        "image_16bit",
        "warning",
        lambda facts: _deep_grey(facts, when_blank=False),
        "more than 8 bits of grey, of which training cuts off what is outside 0 to 255",
        f"{_CONVERT_DEPTH} Left as they are, the brightest parts are all white, and fractions "
        "between 0 and 1 all black.",
    ),
    ImageRule(
        "image_16bit_colour",
        "note",
        _deep_colour,
        "more than 8 bits per channel, of which training reads the upper eight",
        "Nothing to do where they look right. Where the camera used fewer than all bits, they "
        "come out dark: scale them to 8 bits yourself.",
    ),
    ImageRule(
        "image_hidden_content",
        "warning",
        _hidden,
        "transparent parts hide a picture that training sees",
        "Flatten them onto the background that people saw while labelling. Alpha is dropped in "
        "reading, so the model sees, and may be punished for finding, what nobody labelled.",
    ),
    ImageRule(
        "image_alpha",
        "note",
        _alpha,
        "alpha channel, which training drops",
        "Nothing to do: no picture lies below transparent pixels. Without alpha the files are "
        "smaller.",
    ),
    ImageRule(
        "image_cmyk",
        "warning",
        lambda facts: f"{facts.format}, CMYK" if facts.mode == "CMYK" else "",
        "CMYK, the colours of printing",
        "Convert them to sRGB with their colour profile. Training converts them by a plain "
        "formula, so their colours differ from those of the other images.",
    ),
    ImageRule(
        "image_animated",
        "warning",
        _animated,
        "several frames or pages, of which training sees the first",
        "Save the frames that are labelled as images of their own. Labels made on another frame "
        "than the first are wrong.",
    ),
    ImageRule(
        "image_constant",
        "warning",
        _constant,
        "a single colour",
        "Look at them: exports and cameras fail so. They teach nothing, and labels on them teach "
        "what is not there.",
    ),
    ImageRule(
        "image_exif_turned",
        "note",
        _turned,
        "turned by their EXIF flag",
        "Nothing to do where the labels were made on the turned pictures; training turns them "
        "too. Other tools may not: saving the pictures turned and without the flag settles it.",
    ),
)

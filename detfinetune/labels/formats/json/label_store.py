"""Labels made with `detfinetune label`: a folder with a document for each image.

    .detfinetune/store.json             the class names; a class's id is its position
    .detfinetune/labels/sub/a.jpg.json  what is known of the image sub/a.jpg
    .detfinetune/journal.jsonl          what was done when (`annotate.journal`)

A document has a shape a line, from the second on. An image without one has not been looked at.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from detfinetune.errors import first_line
from detfinetune.labels.dataset.records import RleMask
from detfinetune.labels.formats.json.rle import read_rle
from detfinetune.labels.formats.raw_labels import (
    BadFile,
    BadLabel,
    Document,
    RawImage,
    RawLabel,
    RawProblem,
)

STORE_FOLDER = ".detfinetune"
"""Where the store of a data set is, unless it is elsewhere."""

STORE_NAME = "store.json"
DOCUMENTS_FOLDER = "labels"
DOCUMENT_SUFFIX = ".json"

_VERSION = 1
_MARK = re.compile(r'"format"\s*:\s*"detfinetune"')

State = Literal["todo", "proposed", "done", "unsure"]


def _pairs(polygon: tuple[float, ...]) -> tuple[float, ...]:
    if len(polygon) < 6 or len(polygon) % 2:
        raise ValueError(f"{len(polygon)} numbers; a polygon has 3 points or more, each x and y")
    return polygon


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Shape(_Record):
    """One object of an image, in pixels of the upright file."""

    id: Annotated[str, Field(pattern="^[A-Za-z0-9-]{1,40}$")]
    """Unique in its image, and the same as long as the object exists."""

    class_id: Annotated[int, Field(alias="class", ge=0)]
    box: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
    """x1, y1, x2, y2; of polygons, around them."""

    polygons: tuple[Annotated[tuple[FiniteFloat, ...], AfterValidator(_pairs)], ...] = ()
    """Each x0, y0, x1, y1, ...; none for a box."""

    mask: dict[str, Any] | None = None
    """RLE mask as in COCO, of labels that came with one."""

    crowd: bool = False
    origin: Literal["human", "model", "copy"] = "human"
    score: Annotated[float, Field(ge=0, le=1)] | None = None
    """Of the model, where it proposed the object."""

    accepted: bool = True
    """False for a proposal that nobody has looked at."""


class Proposal(_Record):
    """What a model proposed for an image, as it was before any correction."""

    model: str
    round: Annotated[int, Field(ge=0)]
    shapes: tuple[Shape, ...]


class ImageDocument(_Record):
    """All that is known of an image."""

    version: Literal[1] = _VERSION  # type: ignore[assignment]
    width: Annotated[int, Field(ge=0)]
    """Pixels, after rotation by the EXIF flag."""

    height: Annotated[int, Field(ge=0)]
    """Pixels, after rotation by the EXIF flag."""

    state: State = "todo"
    """Only images in state done are trained on."""

    split: Literal["train", "val", "test"] | None = None
    """None: divided as `data.val_fraction` and the like say."""

    revision: Annotated[int, Field(ge=0)] = 0
    """How often it was saved."""

    shapes: tuple[Shape, ...] = ()
    proposal: Proposal | None = None


class ClassList(_Record):
    """The content of `store.json`."""

    format: Literal["detfinetune"] = "detfinetune"
    version: Literal[1] = _VERSION  # type: ignore[assignment]
    revision: Annotated[int, Field(ge=0)] = 0
    classes: tuple[str, ...] = ()
    """Class names; the position is the id, so that a renamed class keeps its objects."""


def detect_store(head: str) -> str:
    """Return by what the beginning of a file shows the class list of a store, or nothing."""
    return "JSON with format detfinetune" if _MARK.search(head) else ""


def parse_store(text: str) -> Document:
    """Read the class list of a store; its images are in files of their own.

    Raises:
        BadFile: it is damaged, or of a newer version.
    """
    return Document(classes=parse_class_list(text).classes)


def parse_class_list(text: str) -> ClassList:
    """Read the content of `store.json`.

    Raises:
        BadFile: it is damaged, or of a newer version.
    """
    try:
        return ClassList.model_validate_json(text)
    except ValidationError as error:
        raise BadFile(_reason(error)) from None


def parse_document(text: str) -> ImageDocument:
    """Read the document of an image.

    Raises:
        BadFile: it is damaged, or of a newer version.
    """
    try:
        return ImageDocument.model_validate_json(text)
    except ValidationError as error:
        raise BadFile(_reason(error)) from None


def _reason(error: ValidationError) -> str:
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    return f"{where}: {problem['msg']}" if where else first_line(ValueError(problem["msg"]))


def document_text(document: ImageDocument) -> str:
    """Return a document as it is written, a shape a line."""
    head = document.model_dump_json(exclude={"shapes", "proposal"})
    shapes = ",\n".join(
        shape.model_dump_json(by_alias=True, exclude_defaults=True) for shape in document.shapes
    )
    tail = ""
    if document.proposal is not None:
        proposal = document.proposal.model_dump_json(by_alias=True, exclude_defaults=True)
        tail = f',"proposal":{proposal}'
    return f'{head[:-1]},"shapes":[\n{shapes}\n]{tail}}}\n'


def raw_image(name: str, document: ImageDocument, classes: tuple[str, ...]) -> RawImage:
    """Return the reviewed shapes of an image as labels.

    Args:
        name: path of the image.
        document: of the image.
        classes: class names by id.
    """
    image = RawImage(
        name, size=(document.width, document.height), line=1, split=document.split or ""
    )
    for line, shape in enumerate(document.shapes, start=2):
        if not shape.accepted:
            continue
        what = f"shape {shape.id}"
        try:
            if shape.class_id >= len(classes):
                raise BadLabel("unknown class", f"class {shape.class_id} is not in {STORE_NAME}")
            image.labels.append(
                RawLabel(
                    classes[shape.class_id], shape.box, shape.polygons, mask=_mask(shape),
                    crowd=shape.crowd, line=line, text=what,
                )
            )  # fmt: skip
        except BadLabel as problem:
            image.problems.append(RawProblem(line, problem.kind, str(problem), what))
    return image


def _mask(shape: Shape) -> RleMask | None:
    return None if shape.mask is None else read_rle(shape.mask)

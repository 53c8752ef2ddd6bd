"""The store of a data set's labels: documents with revisions, classes, and the journal.

Several processes may write to one store. Each write holds the store's lock, compares the revision
that it was made from with the one on disk, and replaces one file in one step. So nothing is
overwritten unseen, and a process that is killed loses at most the edit at hand.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock

from detfinetune import console, files
from detfinetune.annotate.figures import corrections
from detfinetune.annotate.journal import Event, append_event, journal_size, read_events
from detfinetune.errors import DataError
from detfinetune.labels.dataset.records import Polygon
from detfinetune.labels.discovery.discover_store import document_files
from detfinetune.labels.formats.json.label_store import (
    DOCUMENT_SUFFIX,
    DOCUMENTS_FOLDER,
    STORE_NAME,
    ClassList,
    ImageDocument,
    Proposal,
    Shape,
    State,
    document_text,
    parse_class_list,
    parse_document,
)
from detfinetune.labels.formats.raw_labels import BadFile, BadLabel
from detfinetune.labels.parsing.box_rules import check_box, check_polygons
from detfinetune.labels.text import read_text_file

JOURNAL_NAME = "journal.jsonl"

_LOCK_NAME = "lock"
_LOCK_SECONDS = 20.0
# Beside a name's own bytes, an unfinished document has a dot, `.json` and the mark of tempfile.
_LONGEST_NAME = 255 - 25


class Conflict(Exception):
    """What was edited has changed since."""


class InvalidEdit(Exception):
    """An edit that breaks the rules; the text says which."""


@dataclass(frozen=True)
class LabelImage:
    """An image that can be labelled."""

    id: str
    """A hash of its name: safe in addresses, and the same in every process."""

    name: str
    """Path relative to the data root, with forward slashes."""

    path: Path
    width: int
    """Pixels, after rotation by the EXIF flag; 0 where it cannot be read."""

    height: int
    error: str = ""
    """Why it cannot be labelled."""

    @classmethod
    def of(cls, root: Path, name: str, size: tuple[int, int], error: str = "") -> LabelImage:
        """Return the image of a name, with its id."""
        number = hashlib.blake2b(os.fsencode(name), digest_size=8).hexdigest()
        return cls(number, name, root / name, *size, error)


@dataclass(frozen=True)
class Summary:
    """What a list of images shows of a document."""

    state: State = "todo"
    split: str | None = None
    revision: int = 0
    shapes: int = 0
    unreviewed: int = 0
    """Proposals that nobody has looked at."""

    classes: Mapping[int, int] | None = None
    """Shapes by class id."""

    @classmethod
    def of(cls, document: ImageDocument) -> Summary:
        """Return the summary of a document."""
        return cls(
            document.state,
            document.split,
            document.revision,
            len(document.shapes),
            sum(not shape.accepted for shape in document.shapes),
            Counter(shape.class_id for shape in document.shapes),
        )


class LabelStore:
    """The labels of a data set, as they are on disk."""

    def __init__(self, root: Path, folder: Path, images: Sequence[LabelImage]) -> None:
        """Open a store that exists.

        Args:
            root: the data root.
            folder: of the store.
            images: all images, in order.

        Raises:
            DataError: its class list or a document is damaged.
        """
        self.root = root
        self.folder = folder
        self.images = {image.id: image for image in images}
        self._summaries: dict[str, Summary] = {}
        self._seen = journal_size(self.journal)
        self.resized: list[str] = []
        """Images that had another size when they were labelled."""
        self.classes()
        ids = {image.name: image.id for image in images}
        for name, path in document_files(folder):
            if name not in ids:
                continue
            image, document = self.images[ids[name]], _read_document(path)
            self._summaries[image.id] = Summary.of(document)
            if (document.width, document.height) != (image.width, image.height):
                self.resized.append(name)

    @cached_property
    def journal(self) -> Path:
        """The file of the journal."""
        return self.folder / JOURNAL_NAME

    # --- documents --------------------------------------------------------------------------------

    def document(self, image: LabelImage) -> ImageDocument:
        """Return an image's document; one of revision 0 where nothing was saved.

        Raises:
            DataError: it is damaged.
        """
        path = self._path(image)
        if not path.is_file():
            return ImageDocument(width=image.width, height=image.height)
        return _read_document(path)

    def summaries(self) -> list[tuple[LabelImage, Summary]]:
        """Return what is known of each image, changes by other processes included."""
        events, self._seen = read_events(self.journal, self._seen)
        for event in events:
            image = self.images.get(event.get("id", ""))
            if image is not None:
                self._summaries[image.id] = Summary.of(self.document(image))
        nothing = Summary()
        return [(image, self._summaries.get(image.id, nothing)) for image in self.images.values()]

    def save(
        self,
        image: LabelImage,
        edited: ImageDocument,
        *,
        writer: str = "",
        seconds: float = 0.0,
        inputs: int = 0,
    ) -> ImageDocument:
        """Replace an image's state, split and shapes, and return the document as it is stored.

        Args:
            image: must be readable.
            edited: the new document, with the revision that it was made from.
            writer: name of who writes, for the journal.
            seconds: active seconds since the last save.
            inputs: clicks, drags and keys since then.

        Raises:
            Conflict: another revision is stored, with other content.
            InvalidEdit: a shape cannot be used, or an image is done with unreviewed proposals.
            OSError: it cannot be written; what was stored is unchanged.
        """
        if image.error:
            raise InvalidEdit(f"{image.name}: {image.error}")
        shapes = self._checked(image, edited)
        with self._locked():
            stored = self.document(image)
            changes = {"state": edited.state, "split": edited.split, "shapes": shapes}
            new = stored.model_copy(update=changes)
            if edited.revision != stored.revision:
                if new == stored:
                    return stored  # The answer to the same edit was lost.
                raise Conflict(f"revision {stored.revision} is stored")
            effort = {"seconds": round(seconds, 3), "inputs": inputs}
            return self._write(image, stored, new, writer, effort)

    def propose(self, image: LabelImage, proposal: Proposal) -> bool:
        """Put a model's shapes into an image that nobody has finished, in place of earlier ones.

        Shapes that a person drew or accepted stay. Images of split test, and those in state done
        or unsure, are left as they are.

        Returns:
            Whether the image has them now.

        Raises:
            InvalidEdit: a shape cannot be used.
            OSError: it cannot be written.
        """
        with self._locked():
            stored = self.document(image)
            if stored.state not in ("todo", "proposed") or stored.split == "test":
                return False
            shapes = tuple(
                shape.model_copy(update={"origin": "model", "accepted": False})
                for shape in proposal.shapes
            )
            kept = tuple(shape for shape in stored.shapes if shape.accepted)
            new = stored.model_copy(update={"state": "proposed", "shapes": (*kept, *shapes)})
            checked = self._checked(image, new)
            proposal = proposal.model_copy(update={"shapes": checked[len(kept) :]})
            new = new.model_copy(update={"shapes": checked, "proposal": proposal})
            self._write(image, stored, new, proposal.model, {"seconds": 0.0, "inputs": 0})
        return True

    def _write(
        self,
        image: LabelImage,
        stored: ImageDocument,
        new: ImageDocument,
        writer: str,
        effort: Mapping[str, float],
    ) -> ImageDocument:
        new = new.model_copy(
            update={
                "revision": stored.revision + 1,
                "width": image.width,
                "height": image.height,
            }
        )
        files.write_text(self._path(image), document_text(new))
        self._summaries[image.id] = Summary.of(new)
        self._append(
            "save", writer=writer, id=image.id, image=image.name, revision=new.revision,
            was=stored.state, state=new.state, shapes=len(new.shapes), **effort,
            **corrections(new),
        )  # fmt: skip
        return new

    def _checked(self, image: LabelImage, document: ImageDocument) -> tuple[Shape, ...]:
        """Return the shapes inside the image, by the rules of all labels."""
        num_classes = len(self.classes().classes)
        ids: set[str] = set()
        shapes = []
        for shape in document.shapes:
            what = f"shape {shape.id}"
            if shape.id in ids:
                raise InvalidEdit(f"{what}: the id is there twice")
            ids.add(shape.id)
            if shape.class_id >= num_classes:
                raise InvalidEdit(f"{what}: there is no class {shape.class_id}")
            if document.state == "done" and not shape.accepted:
                raise InvalidEdit(
                    f"{what}: neither accepted nor rejected; a done image holds no proposals"
                )
            box, polygons = _inside(shape, image)
            shapes.append(shape.model_copy(update={"box": box, "polygons": polygons}))
        return tuple(shapes)

    def _path(self, image: LabelImage) -> Path:
        return self.folder / DOCUMENTS_FOLDER / f"{image.name}{DOCUMENT_SUFFIX}"

    # --- classes ----------------------------------------------------------------------------------

    def classes(self) -> ClassList:
        """Return the class list.

        Raises:
            DataError: it is damaged.
        """
        path = self.folder / STORE_NAME
        try:
            return parse_class_list(read_text_file(path).text)
        except BadFile as problem:
            raise DataError(f"{path}: damaged ({problem}). Restore the class list.") from None

    def add_class(self, name: str, *, writer: str = "") -> tuple[int, ClassList]:
        """Return the id of a class, added if it is new, and the class list.

        Raises:
            InvalidEdit: the name is empty.
            OSError: it cannot be written.
        """
        name = _class_name(name)
        with self._locked():
            stored = self.classes()
            if name in stored.classes:
                return stored.classes.index(name), stored
            new = self._write_classes(stored, (*stored.classes, name), writer)
            return len(stored.classes), new

    def rename_class(
        self, class_id: int, name: str, revision: int, *, writer: str = ""
    ) -> ClassList:
        """Rename a class and return the class list; no document changes.

        Raises:
            Conflict: `revision` is not that of the class list.
            InvalidEdit: there is no such class, or the name is empty or another class's.
            OSError: it cannot be written.
        """
        name = _class_name(name)
        with self._locked():
            stored = self.classes()
            if class_id >= len(stored.classes):
                raise InvalidEdit(f"there is no class {class_id}")
            if stored.classes[class_id] == name:
                return stored
            if revision != stored.revision:
                raise Conflict(f"revision {stored.revision} is stored")
            if name in stored.classes:
                raise InvalidEdit(f"another class is named '{name}'")
            names = (*stored.classes[:class_id], name, *stored.classes[class_id + 1 :])
            return self._write_classes(
                stored, names, writer, renamed=[stored.classes[class_id], name]
            )

    def names_since(self, time: float, names: Sequence[str]) -> tuple[str, ...]:
        """Return what classes are called that had these names at a time, in seconds since 1970."""
        for event in self.events():
            if "renamed" in event and event["time"] > time:
                before, after = event["renamed"]
                names = [after if name == before else name for name in names]
        return tuple(names)

    def _write_classes(
        self, stored: ClassList, names: tuple[str, ...], writer: str, **values: Any
    ) -> ClassList:
        new = ClassList(revision=stored.revision + 1, classes=names)
        files.write_text(self.folder / STORE_NAME, new.model_dump_json(indent=1) + "\n")
        self._append("classes", writer=writer, revision=new.revision, **values)
        return new

    # --- journal ----------------------------------------------------------------------------------

    def events(self) -> list[Event]:
        """Return all that was done, in order."""
        return read_events(self.journal)[0]

    def log(self, event: str, **values: Any) -> None:
        """Append an event to the journal: `round` with number, run, AP on val and test; `review`.

        Raises:
            OSError: it cannot be written.
        """
        with self._locked():
            append_event(self.journal, event, **values)

    def _append(self, event: str, **values: Any) -> None:
        try:
            append_event(self.journal, event, **values)
        except OSError as error:
            # The labels are saved; to say otherwise would make the page send them again.
            console.warn(f"{self.journal}: cannot be written ({error.strerror or error})")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = FileLock(self.folder / _LOCK_NAME, timeout=_LOCK_SECONDS)
        with suppress(NotImplementedError):  # A file system without locks: one process needs none.
            lock.acquire()
        try:
            yield
        finally:
            lock.release()


def unusable_name(name: str) -> str:
    """Return why a document cannot have the name of an image; empty where it can."""
    last = name.rpartition("/")[2]
    too_long = len(os.fsencode(last)) > _LONGEST_NAME
    return f"its name is longer than {_LONGEST_NAME} bytes; rename it" if too_long else ""


def _read_document(path: Path) -> ImageDocument:
    try:
        return parse_document(read_text_file(path).text)
    except BadFile as problem:
        raise DataError(
            f"{path}: damaged ({problem}). Restore it, or remove it to label its image again."
        ) from None


def _inside(
    shape: Shape, image: LabelImage
) -> tuple[tuple[float, float, float, float], tuple[Polygon, ...]]:
    """Return x1, y1, x2, y2 and polygons without what rounding put outside of the image."""
    size = image.width, image.height
    try:
        if shape.polygons:
            checked = check_polygons(shape.polygons, *size, shape.box)
        else:
            checked = check_box(shape.box, *size)
    except BadLabel as problem:
        raise InvalidEdit(f"shape {shape.id}: {problem}") from None
    if checked.fixes:
        reasons = "; ".join(reason.removesuffix(": clipped") for _, reason in checked.fixes)
        raise InvalidEdit(f"shape {shape.id}: {reasons}")
    x, y, width, height = checked.bbox
    return (x, y, round(x + width, 3), round(y + height, 3)), checked.polygons


def _class_name(name: str) -> str:
    name = " ".join(name.split())
    if not name or not name.isprintable():
        raise InvalidEdit("a class needs a name of letters, digits or signs")
    return name

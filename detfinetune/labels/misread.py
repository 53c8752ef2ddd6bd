"""Whether labels were probably misread as a whole, and which schema would make sense of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detfinetune import console
from detfinetune.errors import DataError
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.dataset.ledger import ANOTHER_SIZE, IN_NO_SPLIT, SplitCounts
from detfinetune.labels.formats.registry import LINE_FORMATS
from detfinetune.labels.parsing.hypotheses import (
    Misfit,
    current_hypothesis,
    find_misfit,
    option_for,
    usable_rows,
)
from detfinetune.labels.parsing.label_schema import LabelSchema, suggest_schema
from detfinetune.labels.text import read_text_file

_FEWEST_LABELS = 10
"""Labels from which on a split is judged alone, not only with the others."""

_FEWEST_SWAPPED = 3
_EXAMPLES = 3
_SAMPLED_FILES = 500


@dataclass(frozen=True)
class MisreadCheck:
    """Whether the labels were probably misread."""

    problem: str
    """Empty where they were not."""

    wrong: int
    """Labels that are rejected or have swapped corners."""

    total: int
    better: LabelSchema | None
    """A schema that makes sense of more labels, looked for when a fifth or more are wrong."""

    advice: str
    """What the user can do."""

    misfit: Misfit | None
    """How boxes of any format were misread, if nearly all are plausible another way."""

    @property
    def refused(self) -> str:
        """Why the labels cannot be used; empty where they can."""
        if self.problem or self.misfit is None or self.misfit.share <= 0.5:
            return self.problem
        return self.misfit.problem


def check_misread(dataset: LabelledDataset) -> MisreadCheck:
    """Check whether more than half of the labels are rejected or have swapped corners.

    The whole data set is checked, and each split of ten labels or more.
    """
    ledger = dataset.ledger
    total = SplitCounts(
        lines=sum(counts.lines for counts in ledger.counts.values()),
        rejected=sum(counts.rejected for counts in ledger.counts.values()),
    )
    swapped = sum(
        count for kind, count in ledger.kinds("fixed").items() if "swapped corners" in kind
    )
    problem = ""
    if total.rejected * 2 > total.lines:
        problem = f"{total.rejected} of {total.lines} labels are wrong"
    elif swapped >= _FEWEST_SWAPPED and swapped * 2 > total.lines:
        problem = f"{swapped} of {total.lines} labels have swapped corners"
    for split, counts in ledger.counts.items():
        if not problem and counts.rejected * 2 > counts.lines >= _FEWEST_LABELS:
            problem = f"{counts.rejected} of {counts.lines} labels of split {split} are wrong"
    images = sum(counts.images for counts in ledger.counts.values())
    if not problem and images == 0:
        problem = "no image can be used"
    wrong = total.rejected + swapped
    better = None
    if wrong * 5 > total.lines and dataset.schema and dataset.format in LINE_FORMATS:
        better = suggest_schema(_sampled_rows(dataset), dataset.schema, dataset.classes)
    misfit = _find_misfit(dataset)
    advice = _advice(dataset, better, misfit)
    return MisreadCheck(problem, wrong, total.lines, better, advice, misfit)


def _find_misfit(dataset: LabelledDataset) -> Misfit | None:
    """Look at the boxes of all splits, then of each: one may have been written otherwise."""
    rows = list(dataset.written.values())
    if dataset.schema is None or not rows:
        return None
    current = current_hypothesis(dataset.schema, dataset.form)
    for part in (np.concatenate(rows), *(rows if len(rows) > 1 else [])):
        part = usable_rows(part)
        if (misfit := find_misfit(part[:, :4], part[:, 4:], current)) is not None:
            return misfit
    return None


def refuse_misread(dataset: LabelledDataset) -> None:
    """Stop when the labels were probably misread; else warn of what is lost.

    Raises:
        DataError: shows the counts by reason, examples, and the schema that fits.
    """
    check = check_misread(dataset)
    if check.refused:
        raise DataError(_explain(dataset, check))
    _warn_of_unlabelled_images(dataset)
    _warn_of_unknown_classes(dataset)
    _warn_of_other_sizes(dataset)
    _warn_of_images_in_no_split(dataset)
    if check.better is not None:
        console.warn(f"{check.wrong} of {check.total} labels are wrong. {check.advice}")
    elif check.misfit is not None and check.misfit.sure:
        console.warn(f"{check.misfit.problem}. {check.advice}")


def _sampled_rows(dataset: LabelledDataset) -> list[tuple[str, int, int]]:
    """Return the lines of some label files, each with its image's width and height."""
    images = [
        (label, size)
        for table in dataset.tables.values()
        for label, size in zip(table.label_files, table.sizes.tolist(), strict=True)
        if label
    ]
    rows = []
    for label, (width, height) in images[:: max(1, len(images) // _SAMPLED_FILES)]:
        first = True
        for line in read_text_file(dataset.root / label).lines:
            if dataset.schema and not dataset.schema.is_not_an_object(line, first=first):
                first = False
                rows.append((line, width, height))
    return rows


def _warn_of_other_sizes(dataset: LabelledDataset) -> None:
    """Warn when labels were made for other images, or for these before they were resized."""
    notes = [entry for entry in dataset.ledger.entries if entry.kind == ANOTHER_SIZE]
    if notes:
        console.warn(
            f"{len(notes)} label files state a size that their image does not have, such as "
            f"{notes[0].message}. If boxes are off in the pictures, export the labels again."
        )


def _warn_of_images_in_no_split(dataset: LabelledDataset) -> None:
    """Warn of labelled images that no list or folder puts into a split."""
    lost = [entry for entry in dataset.ledger.entries if entry.kind == IN_NO_SPLIT]
    if lost:
        console.warn(
            f"{len(lost)} labelled images are in no split and are ignored, such as "
            f"{lost[0].message}. Update or remove the lists, or move the images."
        )


def _warn_of_unknown_classes(dataset: LabelledDataset) -> None:
    rejected = dataset.ledger.kinds("rejected")
    lost = sum(rejected[kind] for kind in ("class out of range", "unknown class"))
    if lost:
        names = dataset.classes
        console.warn(
            f"{lost} labels are rejected because their class is not among the {len(names)} "
            f"classes ({console.name_list(names)}). If the list is wrong, give "
            "data.classes=FILE or data.classes=[a,b]."
        )


def _warn_of_unlabelled_images(dataset: LabelledDataset) -> None:
    """Warn when most images of a split have no label file: they all count as negatives."""
    for split, counts in dataset.ledger.counts.items():
        if counts.unlabelled * 2 > counts.images:
            console.warn(
                f"{counts.unlabelled} of {counts.images} images of split {split} have no label "
                "file and count as images without objects. If they are not labelled yet, list the "
                "labelled ones in a text file: data.image_list=FILE."
            )


def _explain(dataset: LabelledDataset, check: MisreadCheck) -> str:
    kinds = dataset.ledger.kinds("rejected") + dataset.ledger.kinds("fixed")
    options = dataset.schema.as_options if dataset.schema else f"data.format={dataset.format}"
    text = [f"{dataset.root}: {check.refused}, read with {options}:"]
    for kind, count in kinds.most_common():
        text.append(f"  {count} x {kind}")
        examples = [e for e in dataset.ledger.entries if e.kind == kind and e.line]
        for entry in examples[:_EXAMPLES]:
            text.append(
                f"      {entry.message}"
                + (f"   [{console.escape_name(entry.text[:60])}]" if entry.text else "")
            )
    unreadable = [e for e in dataset.ledger.entries if e.action == "rejected" and not e.line]
    text += [f"  {entry.message}" for entry in unreadable[:_EXAMPLES]]
    return "\n".join([*text, check.advice])


def _advice(dataset: LabelledDataset, better: LabelSchema | None, misfit: Misfit | None) -> str:
    if better is not None:
        return f"They make sense as {better.as_options}: rerun with that."
    if misfit is not None and dataset.schema is not None:
        polygons = any(table.polygons for table in dataset.tables.values())
        return option_for(dataset.schema, misfit.better, with_polygons=polygons)
    return (
        "Check data.format, data.columns, data.coordinates, data.classes and data.first_class, or "
        "remove the wrong labels."
    )

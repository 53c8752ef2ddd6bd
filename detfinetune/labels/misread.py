"""Whether so much is wrong that the labels were probably read wrongly, and what would fit."""

from __future__ import annotations

from dataclasses import dataclass

from detfinetune import console
from detfinetune.errors import DataError
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.dataset.ledger import ANOTHER_SIZE, IN_NO_SPLIT, SplitCounts
from detfinetune.labels.formats.registry import LINE_FORMATS
from detfinetune.labels.parsing.label_schema import LabelSchema, suggest_schema
from detfinetune.labels.text import read_text_file

_TOO_FEW_TO_JUDGE = 10
"""Labels below which a split is not judged by itself, but with the others."""

_FEWEST_SWAPPED = 3
_EXAMPLES = 3
_SAMPLED_FILES = 500


@dataclass(frozen=True)
class Verdict:
    """Whether the labels as a whole were probably read wrongly."""

    problem: str
    """Empty where they were not."""

    wrong: int
    """Labels that are rejected, or whose corners are swapped."""

    total: int
    better: LabelSchema | None
    """A reading that makes sense of more labels, where a fifth or more of them is wrong."""


def judge(dataset: LabelledDataset) -> Verdict:
    """Say whether more than half of the labels are rejected, or have their corners swapped.

    The whole set is judged, and each split of ten labels or more.
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
        if not problem and counts.rejected * 2 > counts.lines >= _TOO_FEW_TO_JUDGE:
            problem = f"{counts.rejected} of {counts.lines} labels of split {split} are wrong"
    images = sum(counts.images for counts in ledger.counts.values())
    if not problem and images == 0:
        problem = "no image can be used"
    wrong = total.rejected + swapped
    better = None
    if wrong * 5 > total.lines and dataset.reading and dataset.format in LINE_FORMATS:
        better = suggest_schema(_sampled_rows(dataset), dataset.reading, dataset.classes)
    return Verdict(problem, wrong, total.lines, better)


def refuse_mostly_wrong(dataset: LabelledDataset) -> None:
    """Stop when the labels were probably read wrongly; warn of what is lost otherwise.

    Raises:
        DataError: shows the counts by reason, examples, and the reading that fits.
    """
    verdict = judge(dataset)
    if verdict.problem:
        raise DataError(_mostly_wrong(dataset, verdict))
    _warn_of_unlabelled(dataset)
    _warn_of_classes(dataset)
    _warn_of_sizes(dataset)
    _warn_of_left_out(dataset)
    if verdict.better is not None:
        console.warn(
            f"{verdict.wrong} of {verdict.total} labels are wrong; {_advice(verdict.better)}"
        )


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
            if dataset.reading and not dataset.reading.says_nothing(line, first=first):
                first = False
                rows.append((line, width, height))
    return rows


def _warn_of_sizes(dataset: LabelledDataset) -> None:
    """Say so when labels were made for other images, or for these before they were resized."""
    notes = [entry for entry in dataset.ledger.entries if entry.kind == ANOTHER_SIZE]
    if notes:
        console.warn(
            f"{len(notes)} label files say another size than their image has, such as "
            f"{notes[0].message}. If boxes are off in the pictures, export the labels again."
        )


def _warn_of_left_out(dataset: LabelledDataset) -> None:
    """Warn of labelled images that no list or folder puts into a split."""
    lost = [entry for entry in dataset.ledger.entries if entry.kind == IN_NO_SPLIT]
    if lost:
        console.warn(
            f"{len(lost)} labelled images are in no split and are ignored, such as "
            f"{lost[0].message}. Update or remove the lists, or move the images."
        )


def _warn_of_classes(dataset: LabelledDataset) -> None:
    """Say so when labels are lost because the class list does not hold their class."""
    rejected = dataset.ledger.kinds("rejected")
    lost = sum(rejected[kind] for kind in ("class out of range", "unknown class"))
    if lost:
        names = dataset.classes
        console.warn(
            f"{lost} labels are rejected because their class is not among the {len(names)} "
            f"classes ({', '.join(names[:10])}). If the list is wrong, give data.classes=FILE or "
            "data.classes=[a,b]."
        )


def _warn_of_unlabelled(dataset: LabelledDataset) -> None:
    """Say so when most images of a split have no label file: they all count as negatives."""
    for split, counts in dataset.ledger.counts.items():
        if counts.unlabelled * 2 > counts.images:
            console.warn(
                f"{counts.unlabelled} of {counts.images} images of split {split} have no label "
                "file and count as images without objects. If they are only not labelled yet, "
                "list the labelled ones in a text file: data.image_list=FILE."
            )


def _mostly_wrong(dataset: LabelledDataset, verdict: Verdict) -> str:
    kinds = dataset.ledger.kinds("rejected") + dataset.ledger.kinds("fixed")
    options = dataset.reading.as_options if dataset.reading else f"data.format={dataset.format}"
    text = [f"{dataset.root}: {verdict.problem}, read as {options}:"]
    for kind, count in kinds.most_common():
        text.append(f"  {count} x {kind}")
        examples = [e for e in dataset.ledger.entries if e.kind == kind and e.line]
        for entry in examples[:_EXAMPLES]:
            text.append(
                f"      {entry.message}" + (f"   [{entry.text[:60]}]" if entry.text else "")
            )
    unreadable = [e for e in dataset.ledger.entries if e.action == "rejected" and not e.line]
    text += [f"  {entry.message}" for entry in unreadable[:_EXAMPLES]]
    text.append(
        _advice(verdict.better)
        if verdict.better is not None
        else "Check data.format, data.columns, data.coordinates, data.classes and "
        "data.first_class, or remove the wrong labels."
    )
    return "\n".join(text)


def _advice(better: LabelSchema) -> str:
    return f"they make sense as {better.as_options}: give that."

"""Whether so much is wrong that the labels were probably read wrongly, and what would fit."""

from __future__ import annotations

from detfinetune import console
from detfinetune.errors import DataError
from detfinetune.labels.convert_lines import LineConverter
from detfinetune.labels.ledger import SplitCounts
from detfinetune.labels.reading import Reading, suggest_reading

_TOO_FEW_TO_JUDGE = 10
"""Lines below which a split is not judged by itself, but with the others."""

_FEWEST_SWAPPED = 3
_EXAMPLES = 3


def refuse_mostly_wrong(converter: LineConverter) -> None:
    """Stop when more than half of the lines are rejected, or have their corners swapped.

    The whole set is judged, and each split of ten lines or more. Where a fifth of the lines is
    wrong and another reading fits better, that is said.

    Raises:
        DataError: shows the counts by reason, examples, and the reading that fits.
    """
    ledger = converter.ledger
    total = SplitCounts(
        lines=sum(counts.lines for counts in ledger.counts.values()),
        rejected=sum(counts.rejected for counts in ledger.counts.values()),
    )
    swapped = sum(
        count for kind, count in ledger.kinds("fixed").items() if "swapped corners" in kind
    )
    problem = ""
    if total.rejected * 2 > total.lines:
        problem = f"{total.rejected} of {total.lines} label lines are wrong"
    elif swapped >= _FEWEST_SWAPPED and swapped * 2 > total.lines:
        problem = f"{swapped} of {total.lines} label lines have swapped corners"
    for split, counts in ledger.counts.items():
        if not problem and counts.rejected * 2 > counts.lines >= _TOO_FEW_TO_JUDGE:
            problem = f"{counts.rejected} of {counts.lines} label lines of split {split} are wrong"
    images = sum(counts.images for counts in ledger.counts.values())
    if not problem and images == 0:
        problem = "no image can be used"
    bad = total.rejected + swapped
    better = None
    if bad * 5 > total.lines:
        better = suggest_reading(converter.judged, converter.reading, converter.index.names)
    if problem:
        raise DataError(_mostly_wrong(converter, problem, better))
    _warn_of_unlabelled(converter)
    _warn_of_classes(converter)
    if better is not None:
        console.warn(f"{bad} of {total.lines} label lines are wrong; {_advice(better)}")


def _warn_of_classes(converter: LineConverter) -> None:
    """Say so when labels are lost because the class list does not hold their class."""
    rejected = converter.ledger.kinds("rejected")
    lost = sum(rejected[kind] for kind in ("class out of range", "unknown class"))
    if lost:
        names = converter.index.names
        console.warn(
            f"{lost} label lines are rejected because their class is not among the {len(names)} "
            f"classes ({', '.join(names[:10])}). If the list is wrong, give data.classes=FILE or "
            "data.classes=[a,b]."
        )


def _warn_of_unlabelled(converter: LineConverter) -> None:
    """Say so when most images of a split have no label file: they all count as negatives."""
    for split, counts in converter.ledger.counts.items():
        if counts.unlabelled * 2 > counts.images:
            console.warn(
                f"{counts.unlabelled} of {counts.images} images of split {split} have no label "
                "file and count as images without objects. If they are only not labelled yet, "
                "list the labelled ones in a text file: data.image_list=FILE."
            )


def _mostly_wrong(converter: LineConverter, problem: str, better: Reading | None) -> str:
    kinds = converter.ledger.kinds("rejected") + converter.ledger.kinds("fixed")
    text = [f"{converter.gathered.root}: {problem}, read as {converter.reading.as_options}:"]
    for kind, count in kinds.most_common():
        text.append(f"  {count} x {kind}")
        examples = [e for e in converter.ledger.entries if e.kind == kind and e.line]
        for entry in examples[:_EXAMPLES]:
            text.append(
                f"      {entry.message}" + (f"   [{entry.text[:60]}]" if entry.text else "")
            )
    unreadable = [e for e in converter.ledger.entries if e.action == "rejected" and not e.line]
    text += [f"  {entry.message}" for entry in unreadable[:_EXAMPLES]]
    text.append(
        _advice(better)
        if better is not None
        else "Check data.format, data.columns, data.coordinates, data.classes and "
        "data.first_class, or remove the wrong lines from the labels."
    )
    return "\n".join(text)


def _advice(better: Reading) -> str:
    return f"they make sense as {better.as_options}: give that."

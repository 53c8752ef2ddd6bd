"""Check a data set: read it, look for all that can be wrong, and show it on a page."""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from detfinetune import files
from detfinetune.checks.anchor_fit import AnchorSettings
from detfinetune.checks.findings import SEVERITIES, Finding, Place, findings_json
from detfinetune.checks.run import dataset_findings
from detfinetune.config.schema import CheckConfig, TrainConfig
from detfinetune.console import say, table
from detfinetune.engine.recipe import resolve_recipe, resolved_anchors
from detfinetune.errors import ConfigError
from detfinetune.labels.convert import say_what_was_taken, write_converted
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.dataset.statistics import table_statistics
from detfinetune.labels.dataset.table import LabelTable
from detfinetune.labels.discovery.data_root import require_root
from detfinetune.labels.discovery.discovered import shown_path
from detfinetune.labels.export import ExportFormat, export_read
from detfinetune.labels.misread import check_misread
from detfinetune.labels.read import read_dataset
from detfinetune.labels.summary import dataset_summary
from detfinetune.report.page import write_dataset_page

_FINDINGS_NAME = "findings.json"
_VERSION = 2
_EXAMPLES = 3
_LEFT_AS_THEY_ARE = ("yolo", "voc", "txt")


@dataclass(frozen=True)
class CheckReport:
    """What a check found."""

    dataset: LabelledDataset
    findings: list[Finding]
    folder: Path
    """Holds report.html, findings.json, findings.csv and ledger.csv."""

    fixed: Path | None
    """Folder of the corrected copy; None where none was asked for."""

    def count(self, severity: str) -> int:
        """Return the number of findings of a severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def exit_code(self, fail_on: Literal["error", "warning", "never"]) -> int:
        """Return 1 when there are findings of the severity `fail_on` or worse, else 0."""
        if fail_on == "never":
            return 0
        return int(bool(self.count("error") or (fail_on == "warning" and self.count("warning"))))


def check_dataset(config: CheckConfig) -> CheckReport:
    """Read a data set, look for everything that can be wrong with it, and write what was found.

    Args:
        config: from `config.load_check_config`, or built in Python.

    Raises:
        ConfigError, DataError: nothing usable is there.
        OutputExistsError: the output is there, and not to be replaced.
    """
    root = require_root(config.data)
    output = config.output or Path("checks") / config.data.name
    _check_outputs(config, root, output)
    # A check is to find everything, not to stop at the first.
    data = config.data.model_copy(update={"on_problem": "fix"})
    dataset = read_dataset(data)
    say_what_was_taken(dataset)
    say(dataset_summary(dataset))
    anchors = anchor_settings(config, dataset.tables)
    findings = dataset_findings(
        dataset, anchors, decode=not config.quick, num_workers=config.num_workers
    )
    with files.atomic_folder(output, config.overwrite) as folder:
        files.write_json(folder / _FINDINGS_NAME, _as_json(dataset, findings))
        files.write_text(folder / "findings.csv", _as_csv(findings, dataset))
        files.write_text(folder / "ledger.csv", dataset.ledger.to_csv())
        write_dataset_page(
            folder / "report.html", dataset, findings, samples=config.samples,
            anchors=anchors,
        )  # fmt: skip
    say(findings_text(findings, dataset))
    say(f"\nThe page with pictures: {output / 'report.html'}")
    say(f"All places, for programs: {output / _FINDINGS_NAME} and findings.csv")
    fixed = _fix(config, dataset) if config.fix else None
    if fixed is not None:
        say(f"The corrected copy, with its ledger: {fixed} (train on it with data.root={fixed})")
    elif not config.fix and any(finding.fixed_by_conversion for finding in findings):
        say("A corrected copy of the labels is written with --fix; the data stays as it is.")
    return CheckReport(dataset, findings, output, fixed)


def _fixed_folder(config: CheckConfig) -> Path:
    return config.fixed or Path("datasets") / f"{config.data.name}_fixed"


def _check_outputs(config: CheckConfig, root: Path, output: Path) -> None:
    files.check_output(output, config.overwrite)
    files.check_replaceable(output, _FINDINGS_NAME, keep=[root])
    if config.fix:
        # A corrected copy may have been edited since: it is never replaced.
        files.check_output(_fixed_folder(config), overwrite=False)
    elif config.fixed is not None:
        raise ConfigError("fixed names a folder for the corrected copy, which --fix asks for.")


def _fix(config: CheckConfig, dataset: LabelledDataset) -> Path | None:
    """Write the labels as they were mended, in their own format where it can be written."""
    if check_misread(dataset).problem:
        say("No corrected copy is written: the labels were probably read wrongly (see above).")
        return None
    folder = _fixed_folder(config)
    if dataset.format in _LEFT_AS_THEY_ARE:
        _export_with_links(dataset, folder)
    else:
        write_converted(dataset, folder)
    return folder


def _export_with_links(dataset: LabelledDataset, folder: Path) -> None:
    """Write labels in their own format beside links to the images, so that they are found."""
    output_format: ExportFormat = dataset.format  # type: ignore[assignment]
    if dataset.has_images:
        try:
            export_read(dataset, folder, output_format, images="link")
            return
        except OSError as error:
            say(f"The images cannot be linked into the corrected copy ({error}), so they stay "
                "where they are: give them with data.images.")  # fmt: skip
    export_read(dataset, folder, output_format)


def anchor_settings(config: CheckConfig, tables: dict[str, LabelTable]) -> AnchorSettings | None:
    """Return the anchors that training would take for these labels, and at which image size."""
    whole = tables.get("train") or next(iter(tables.values()), None)
    if whole is None or not whole.num_objects:
        return None
    train = TrainConfig(
        task=config.task, data=config.data, model=config.model, augment=config.augment,
        hardware=config.hardware,
    )  # fmt: skip
    resolved, _ = resolve_recipe(train, table_statistics(whole))
    return resolved_anchors(resolved)


def findings_text(findings: list[Finding], dataset: LabelledDataset | None = None) -> str:
    """Return findings for the screen: all in a table, then what to do about the worst.

    Args:
        findings: worst first.
        dataset: that they are of; paths are then relative to its root.
    """
    if not findings:
        return "\nNothing was found to be wrong."
    counts = Counter(finding.severity for finding in findings)
    rows = [[finding.severity, finding.kind, finding.title] for finding in findings]
    parts = ["", table(rows, ["severity", "kind", "what was found"]), ""]
    for finding in findings:
        if finding.severity == "note":
            continue
        parts.append(f"{finding.severity} {finding.kind}: {finding.advice}")
        parts += [
            f"    {_where(place, dataset)}{': ' if place.detail else ''}{place.detail}"
            for place in finding.places[:_EXAMPLES]
        ]
        if (more := len(finding.places) - _EXAMPLES) > 0:
            parts.append(f"    ... and {more} more")
    listed = ", ".join(f"{counts[s]} {s}{'s' * (counts[s] != 1)}" for s in SEVERITIES)
    return "\n".join([*parts, "", f"In all: {listed}."])


def _where(place: Place, dataset: LabelledDataset | None) -> str:
    """Return `path:line` relative to the data root, of an image as well."""
    table = dataset.tables.get(place.split) if dataset is not None else None
    if place.label_file or not place.image or table is None or dataset is None:
        return place.where or place.split
    return shown_path(table.image_root / place.image, dataset.root)


def _as_json(dataset: LabelledDataset, findings: list[Finding]) -> dict[str, Any]:
    return {
        "version": _VERSION,
        "dataset": {
            "name": dataset.name,
            "root": str(dataset.root),
            "format": dataset.format,
            "evidence": dataset.evidence,
            "classes": list(dataset.classes),
            "splits": {
                split: {
                    "images": labels.num_images,
                    "objects": labels.num_objects,
                    "image_root": str(labels.image_root),
                }
                for split, labels in dataset.tables.items()
            },
        },
        "counts": {s: sum(f.severity == s for f in findings) for s in SEVERITIES},
        "findings": findings_json(findings),
    }


def _as_csv(findings: list[Finding], dataset: LabelledDataset) -> str:
    """Return one line a place, `path:line` first, as editors and spreadsheets take it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["where", "severity", "kind", "detail", "split", "image", "title"])
    for finding in findings:
        for place in finding.places:
            writer.writerow(
                [_where(place, dataset), finding.severity, finding.kind, place.detail, place.split,
                 place.image, finding.title]
            )  # fmt: skip
    return text.getvalue()

"""Check a dataset: read it, find problems, and write them to a report page."""

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
from detfinetune.console import escape_name, say, table
from detfinetune.engine.recipe import resolve_recipe
from detfinetune.errors import ConfigError
from detfinetune.families import family_of
from detfinetune.labels.convert import say_what_was_taken, write_converted
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.dataset.statistics import DatasetStatistics
from detfinetune.labels.discovery.data_root import require_root
from detfinetune.labels.discovery.discovered import shown_path
from detfinetune.labels.export import ExportFormat, export_read
from detfinetune.labels.misread import check_misread
from detfinetune.labels.read import read_dataset
from detfinetune.labels.summary import dataset_summary
from detfinetune.report.page import write_dataset_page

_FINDINGS_NAME = "findings.json"
_VERSION = 2
_MAX_PLACES_SHOWN = 3
_OWN_FORMATS = ("yolo", "voc", "txt", "florence")


@dataclass(frozen=True)
class CheckReport:
    """The findings of a check."""

    dataset: LabelledDataset
    findings: list[Finding]
    folder: Path
    """Contains report.html, findings.json, findings.csv and ledger.csv."""

    fixed: Path | None
    """Folder of the corrected copy, or None."""

    def count(self, severity: str) -> int:
        """Return the number of findings of a severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def exit_code(self, fail_on: Literal["error", "warning", "never"]) -> int:
        """Return 1 if there are findings of severity `fail_on` or worse, else 0."""
        if fail_on == "never":
            return 0
        return int(bool(self.count("error") or (fail_on == "warning" and self.count("warning"))))


def check_dataset(config: CheckConfig) -> CheckReport:
    """Read a dataset, check it, and write and print the findings.

    Args:
        config: from `config.load_check_config`, or built in Python.

    Raises:
        ConfigError, DataError: the data cannot be used.
        OutputExistsError: the output exists and may not be overwritten.
    """
    root = require_root(config.data)
    output = config.output or Path("checks") / config.data.name
    _check_outputs(config, root, output)
    # Find every problem instead of stopping at the first.
    data = config.data.model_copy(update={"on_problem": "fix"})
    dataset = read_dataset(data)
    say_what_was_taken(dataset)
    say(dataset_summary(dataset))
    anchors = anchor_settings(config, dataset)
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
    say(f"\nReport with pictures: {output / 'report.html'}")
    say(f"All locations, machine-readable: {output / _FINDINGS_NAME} and findings.csv")
    fixed = _fix(config, dataset) if config.fix else None
    if fixed is not None:
        say(f"Corrected copy, with its ledger: {fixed} (train on it with data.root={fixed})")
    elif not config.fix and any(finding.fixed_by_conversion for finding in findings):
        say("Rerun with --fix to write a corrected copy of the labels; the data is not changed.")
    return CheckReport(dataset, findings, output, fixed)


def _fixed_folder(config: CheckConfig) -> Path:
    return config.fixed or Path("datasets") / f"{config.data.name}_fixed"


def _check_outputs(config: CheckConfig, root: Path, output: Path) -> None:
    files.check_output(output, config.overwrite)
    files.check_replaceable(output, _FINDINGS_NAME, keep=[root])
    if config.fix:
        # Never replace a corrected copy: it may have been edited.
        files.check_output(_fixed_folder(config), overwrite=False)
    elif config.fixed is not None:
        raise ConfigError(f"fixed={config.fixed} has no effect without --fix. Add --fix.")


def _fix(config: CheckConfig, dataset: LabelledDataset) -> Path | None:
    """Write the fixed labels, in their own format if it can be written."""
    if check_misread(dataset).refused:
        say("No corrected copy is written: the labels were probably misread (see above).")
        return None
    folder = _fixed_folder(config)
    dataset = dataset.without_all_rejected()
    if dataset.format in _OWN_FORMATS:
        _export_with_links(dataset, folder)
    else:
        write_converted(dataset, folder)
    return folder


def _export_with_links(dataset: LabelledDataset, folder: Path) -> None:
    """Write labels in their own format, with links to the images where possible."""
    output_format: ExportFormat = dataset.format  # type: ignore[assignment]
    if dataset.has_images:
        try:
            export_read(dataset, folder, output_format, images="link")
            return
        except OSError as error:
            say(f"The images cannot be linked into the corrected copy ({error}). Give their "
                "folder with data.images when you use the copy.")  # fmt: skip
    export_read(dataset, folder, output_format)


def anchor_settings(config: CheckConfig, dataset: LabelledDataset) -> AnchorSettings | None:
    """Return the anchors and image size that training would use for these labels."""
    whole = dataset.tables.get("train") or next(iter(dataset.tables.values()), None)
    if whole is None or not whole.num_objects:
        return None
    train = TrainConfig(
        task=config.task, data=config.data, model=config.model, augment=config.augment,
        hardware=config.hardware,
    )  # fmt: skip
    resolved, _ = resolve_recipe(train, DatasetStatistics(whole, dataset.num_classes))
    return family_of(resolved.model.name).anchors(resolved)


def findings_text(findings: list[Finding], dataset: LabelledDataset) -> str:
    """Return findings, worst first, as a table of all, then advice on errors and warnings."""
    if not findings:
        return "\nNo problems found."
    counts = Counter(finding.severity for finding in findings)
    rows = [[finding.severity, finding.kind, finding.title] for finding in findings]
    parts = ["", table(rows, ["severity", "kind", "finding"]), ""]
    for finding in findings:
        if finding.severity == "note":
            continue
        parts.append(f"{finding.severity} {finding.kind}: {finding.advice}")
        parts += [
            f"    {escape_name(_location(place, dataset))}"
            f"{': ' if place.detail else ''}{escape_name(place.detail)}"
            for place in finding.places[:_MAX_PLACES_SHOWN]
        ]
        if (more := len(finding.places) - _MAX_PLACES_SHOWN) > 0:
            parts.append(f"    ... and {more} more")
    listed = ", ".join(f"{counts[s]} {s}{'s' * (counts[s] != 1)}" for s in SEVERITIES)
    return "\n".join([*parts, "", f"In all: {listed}."])


def _location(place: Place, dataset: LabelledDataset) -> str:
    """Return the `path:line` of a label or the path of an image, relative to the data root."""
    table = dataset.tables.get(place.split)
    if place.label_file or not place.image or table is None:
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
    """Return CSV with one row per location, `path:line` first."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["where", "severity", "kind", "detail", "split", "image", "title"])
    for finding in findings:
        for place in finding.places:
            writer.writerow(
                [_location(place, dataset), finding.severity, finding.kind, place.detail,
                 place.split, place.image, finding.title]
            )  # fmt: skip
    return text.getvalue()

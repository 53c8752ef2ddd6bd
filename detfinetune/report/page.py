"""One HTML page for a data set: what was read, what is wrong with it, and how it looks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from detfinetune import files
from detfinetune.checks.anchor_fit import AnchorSettings
from detfinetune.checks.findings import Finding
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.report.album import Album
from detfinetune.report.finding_views import view_findings
from detfinetune.report.plots import all_plots
from detfinetune.report.render import render_page
from detfinetune.report.samples import choose_galleries, choose_samples
from detfinetune.report.summary import (
    class_rows,
    ledger_kinds,
    severity_counts,
    split_rows,
    verdict,
)

_MOST_BYTES = 15_000_000
# Base64 makes four characters of three bytes.
_BASE64 = 4 / 3
# Of the page's size, what is left for words, tables and charts.
_FOR_TEXT = 3_000_000
_LEAST_FOR_PICTURES = 200_000


def write_dataset_page(
    path: Path,
    dataset: LabelledDataset,
    findings: Sequence[Finding],
    *,
    samples: int = 24,
    anchors: AnchorSettings | None = None,
    most_bytes: int = _MOST_BYTES,
) -> None:
    """Write a page that shows `dataset` and `findings`, in one file that needs no other.

    Only the images that are shown are opened, each once, one at a time. One that cannot be
    opened leaves its reason in its place. The same data gives the same bytes.

    Args:
        path: HTML file to write, whole or not at all; one that is there is replaced.
        dataset: what was read.
        findings: what was found in it, in any order.
        samples: whole images shown, shared evenly by the splits.
        anchors: drawn among the box sizes; None: none, and boxes in pixels of the original image.
        most_bytes: size that the page keeps to by drawing smaller and coarser pictures.
    """
    album = Album()
    findings_seen = view_findings(dataset, findings, album)
    sampled = choose_samples(dataset, samples, album) if dataset.has_images else []
    galleries = choose_galleries(dataset, album) if dataset.has_images else []
    for_pictures = max(_LEAST_FOR_PICTURES, most_bytes - min(_FOR_TEXT, most_bytes // 3))
    album.draw(int(for_pictures / _BASE64))
    html = render_page(
        {
            "dataset": dataset,
            "splits": split_rows(dataset),
            "classes": class_rows(dataset),
            "severities": severity_counts(findings),
            "verdict": verdict(findings),
            "findings": findings_seen,
            "samples": sampled,
            "galleries": galleries,
            "plots": all_plots(dataset, anchors),
            "ledger": ledger_kinds(dataset.ledger),
        }
    )
    with files.atomic_path(path) as temporary:
        # File names may hold bytes that are no UTF-8, which Python keeps as lone surrogates.
        temporary.write_bytes(html.encode("utf-8", "backslashreplace"))

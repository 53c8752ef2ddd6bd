"""Writes an HTML page about a data set: findings, statistics and images."""

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
# Part of the page's size for text, tables and charts.
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
    """Write a self-contained page that shows `dataset` and `findings`.

    Only the images on the page are opened, each once, one at a time. If one cannot be opened, the
    page shows the reason instead. The same data gives the same bytes.

    Args:
        path: HTML file, written atomically; an existing one is replaced.
        dataset: from `read_dataset`.
        findings: in any order.
        samples: number of whole images, divided evenly among the splits.
        anchors: drawn among the box sizes; None: none, and boxes in pixels of the original image.
        most_bytes: limit of the page's size; images are made smaller to keep it.
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
        # File names may have bytes that are not UTF-8, which Python keeps as lone surrogates.
        temporary.write_bytes(html.encode("utf-8", "backslashreplace"))

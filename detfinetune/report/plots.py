"""Charts of a data set."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from detfinetune.checks.anchor_fit import AnchorSettings, cell_anchors
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.report.columns import Floats, SplitColumns, split_columns
from detfinetune.report.svg import Chart, linear_ticks, log_ticks
from detfinetune.report.wording import by, number, plural

_BINS = 24
_MOST_PER_IMAGE_BINS = 40


@dataclass(frozen=True)
class Plot:
    """A chart with title and summary."""

    title: str
    summary: str
    """What the chart shows, in one line; also its alternative text."""

    chart: Markup


def all_plots(dataset: LabelledDataset, anchors: AnchorSettings | None) -> list[Plot]:
    """Return the charts of a data set that have data."""
    splits = [split_columns(n, t, anchors) for n, t in dataset.tables.items()]
    plots: list[Plot] = []
    if any(len(split.wide) for split in splits):
        plots += [
            _box_sizes(splits, anchors),
            _relative_sizes(splits),
            _aspect_ratios(splits),
            _positions(splits),
        ]
    if any(len(split.per_image) for split in splits):
        plots += [_objects_per_image(splits), _image_sizes(splits)]
    return plots


def _joined(splits: Sequence[SplitColumns], values: Callable[[SplitColumns], Floats]) -> Floats:
    return np.concatenate([values(split) for split in splits])


def _box_sizes(splits: Sequence[SplitColumns], anchors: AnchorSettings | None) -> Plot:
    wide, high = _joined(splits, lambda s: s.wide), _joined(splits, lambda s: s.high)
    shapes = cell_anchors(anchors).tolist() if anchors else []
    both = [side for width, height, _ in shapes for side in (width, height)]
    low = 2.0 ** math.floor(math.log2(max(0.25, min(wide.min(), high.min(), *both))))
    top = 2.0 ** math.ceil(math.log2(max(wide.max(), high.max(), *both, low * 2)))
    unit = f"pixels after resizing to {anchors.image_size}" if anchors else "pixels"
    median = by(float(np.median(wide)), float(np.median(high)))
    rings = " Rings: the anchors that training would use." if anchors else ""
    summary = f"Median {median} {unit}.{rings}"
    chart = Chart(f"Box sizes. {summary}", (low, top), (low, top), log_x=True, log_y=True)
    ticks = log_ticks(low, top, 2.0)
    chart.x_ticks(ticks, f"width, {unit}")
    chart.y_ticks(ticks, "height")
    edges = np.geomspace(low, top, 2 * _BINS + 1)
    counts, _, _ = np.histogram2d(np.maximum(wide, low), np.maximum(high, low), bins=[edges, edges])
    for i, j in np.argwhere(counts).tolist():
        x, y = (edges[i], edges[i + 1]), (edges[j], edges[j + 1])
        tip = (
            f"{number(x[0])} to {number(x[1])} wide, {number(y[0])} to {number(y[1])} high: "
            f"{plural(counts[i, j], 'object')}"
        )
        chart.cell(x, y, _opacity(counts[i, j], counts.max()), tip)
    for x_side, y_side, _ in shapes:
        tip = f"anchor {by(x_side, y_side)}"
        chart.add("circle", tip, cx=chart.x(x_side), cy=chart.y(y_side), r=3.5, class_="anchor")
    return Plot("Box sizes and anchors", summary, chart.markup())


def _relative_sizes(splits: Sequence[SplitColumns]) -> Plot:
    values = _joined(splits, lambda s: s.share) * 100
    low = max(0.1, 10 ** math.floor(math.log10(max(float(values.min()), 0.1))))
    tiny = float((values < 5).mean()) * 100
    summary = (
        f"Median {number(float(np.median(values)))} % of the image's side; "
        f"{number(round(tiny, 1))} % of objects are below 5 %."
    )
    edges = np.geomspace(low, 100.0, _BINS + 1)
    chart = _share_chart(
        f"Object sizes. {summary}",
        splits,
        edges,
        lambda s: np.clip(s.share * 100, low, 100.0),
        lambda a, b: f"{number(a)} to {number(b)} %",
        log=True,
    )
    ticks = [t for t in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100) if t >= low]
    chart.x_ticks(ticks, "√(box area / image area), %")
    return Plot("Object size in the image", summary, chart.markup())


def _aspect_ratios(splits: Sequence[SplitColumns]) -> Plot:
    values = _joined(splits, lambda s: s.ratio)
    reach = min(5, max(2, math.ceil(np.abs(np.log2(values)).max())))
    low, high = 2.0**-reach, 2.0**reach
    beyond = int(((values < 0.25) | (values > 4)).sum())
    summary = (
        f"Median {number(float(np.median(values)))}; {beyond:,} of {len(values):,} objects are "
        "longer than four times their width."
    )
    # An odd number of bins, so that squares are in the middle of one and not on an edge.
    edges = np.geomspace(low, high, _BINS + 2)
    chart = _share_chart(
        f"Aspect ratios. {summary}",
        splits,
        edges,
        lambda s: np.clip(s.ratio, low, high),
        lambda a, b: f"{number(a)} to {number(b)}",
        log=True,
    )
    ticks = [2.0**n for n in range(-reach, reach + 1)]
    words = [f"1:{round(1 / t)}" if t < 1 else f"{round(t)}:1" for t in ticks]
    chart.x_ticks(ticks, "width : height", words)
    return Plot("Aspect ratios", summary, chart.markup())


def _objects_per_image(splits: Sequence[SplitColumns]) -> Plot:
    values = np.concatenate([split.per_image for split in splits])
    width = max(1, math.ceil((int(values.max()) + 1) / _MOST_PER_IMAGE_BINS))
    edges = np.arange(0, int(values.max()) + 1 + width, width, dtype=np.float64)
    negatives = int((values == 0).sum())
    negative_words = f"{plural(negatives, 'image')} without any"
    summary = f"Median {number(float(np.median(values)))}, most {values.max():,}; {negative_words}."

    def words(a: float, b: float) -> str:
        return f"{a:.0f} to {b - 1:.0f} objects" if b - a > 1 else plural(a, "object")

    chart = _share_chart(
        f"Objects per image. {summary}",
        splits,
        edges,
        lambda s: s.per_image.astype(np.float64),
        words,
        of="images",
    )
    ticks = [t for t in linear_ticks(0, edges[-1] - 1, 6) if t == int(t)]
    # A tick belongs in the middle of a bar, half a unit after its left edge.
    middles = [tick + (0.5 if width == 1 else 0) for tick in ticks]
    chart.x_ticks(middles, "objects in an image", [f"{tick:.0f}" for tick in ticks])
    return Plot("Objects per image", summary, chart.markup())


def _share_chart(
    label: str,
    splits: Sequence[SplitColumns],
    edges: Floats,
    values: Callable[[SplitColumns], Floats],
    words: Callable[[float, float], str],
    *,
    log: bool = False,
    of: str = "objects",
) -> Chart:
    """Draw a histogram of each split in percent, so that splits can be compared."""
    counts = [np.histogram(values(split), bins=edges)[0] for split in splits]
    shares = [count / max(1, count.sum()) * 100 for count in counts]
    top = max(float(share.max()) for share in shares) or 1.0
    chart = Chart(label, (float(edges[0]), float(edges[-1])), (0.0, top * 1.05), log_x=log)
    chart.y_ticks(linear_ticks(0, top * 1.05, 4), f"% of the split's {of}")
    for at, (split, share) in enumerate(zip(splits, shares, strict=True)):
        if len(values(split)):
            chart.steps(edges.tolist(), share.tolist(), f"s{at}")
    for at, (left, right) in enumerate(zip(edges.tolist(), edges[1:].tolist(), strict=False)):
        listed = "; ".join(
            f"{split.name} {count[at]:,} ({share[at]:.1f} %)"
            for split, count, share in zip(splits, counts, shares, strict=True)
        )
        tip = f"{words(left, right)}: {listed}"
        chart.cell((left, right), (0.0, top * 1.05), 0, tip, class_="hover")
    return chart


def _positions(splits: Sequence[SplitColumns]) -> Plot:
    centres = np.clip(_joined(splits, lambda s: s.centres), 0, 1)
    edges = np.linspace(0, 1, _BINS + 1)
    counts, _, _ = np.histogram2d(centres[:, 0], centres[:, 1], bins=[edges, edges])
    middle = centres.mean(axis=0) * 100
    summary = (
        f"On average {middle[0]:.0f} % from the left and {middle[1]:.0f} % from the top; "
        f"the densest of {by(_BINS, _BINS)} cells has {counts.max() / counts.sum() * 100:.1f} %."
    )
    # y goes down, as in images.
    chart = Chart(f"Positions of centres. {summary}", (0, 100), (100, 0))
    chart.x_ticks([0, 25, 50, 75, 100], "from the left, %")
    chart.y_ticks([0, 25, 50, 75, 100], "from the top, %")
    for i, j in np.argwhere(counts).tolist():
        x, y = (edges[i] * 100, edges[i + 1] * 100), (edges[j] * 100, edges[j + 1] * 100)
        tip = f"{x[0]:.0f}-{x[1]:.0f} % from the left, {y[0]:.0f}-{y[1]:.0f} % from the top: "
        chart.cell(x, y, _opacity(counts[i, j], counts.max()), tip + plural(counts[i, j], "object"))
    return Plot("Object positions", summary, chart.markup())


def _image_sizes(splits: Sequence[SplitColumns]) -> Plot:
    sizes = np.concatenate([split.sizes for split in splits]).astype(np.float64)
    distinct = np.unique(sizes, axis=0)
    median = by(float(np.median(sizes[:, 0])), float(np.median(sizes[:, 1])))
    top = float(sizes.max()) * 1.12
    if len(distinct) == 1:
        summary = f"All images have {median} pixels."
    else:
        wide = f"{number(sizes[:, 0].min())} to {number(sizes[:, 0].max())} wide"
        high = f"{number(sizes[:, 1].min())} to {number(sizes[:, 1].max())} high"
        summary = f"{len(distinct):,} sizes, median {median} pixels: {wide}, {high}."
    chart = Chart(f"Image sizes. {summary}", (0.0, top), (0.0, top))
    chart.x_ticks(linear_ticks(0, top, 5), "image width, pixels")
    chart.y_ticks(linear_ticks(0, top, 5), "image height, pixels")
    # Images of similar size share a bubble at their mean size, so that there are not too many.
    cells = np.floor(sizes / top * _BINS)
    keys, inverse, counts = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    means = np.zeros((len(keys), 2))
    np.add.at(means, inverse.reshape(-1), sizes)
    means /= counts[:, None]
    for (x, y), count in sorted(
        zip(means.tolist(), counts.tolist(), strict=True), key=lambda c: -c[1]
    ):
        radius = 3 + 11 * math.sqrt(count / counts.max())
        tip = f"about {by(round(x), round(y))}: {plural(count, 'image')}"
        chart.add("circle", tip, cx=chart.x(x), cy=chart.y(y), r=radius, class_="bubble")
    return Plot("Image sizes", summary, chart.markup())


def _opacity(count: float, most: float) -> float:
    """Return a cell's opacity, by the square root of its count, so that single objects show."""
    return float(0.12 + 0.88 * math.sqrt(count / most))

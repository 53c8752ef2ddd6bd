"""Trees, bushes and hedges."""

from __future__ import annotations

import math

import numpy as np

from detfinetune.sample_scenes.canvas import Canvas, Patch, Point
from detfinetune.sample_scenes.noise import Floats, Mask
from detfinetune.sample_scenes.terrain import Palette, vary


def crown_mask(canvas: Canvas, centre: Point, radius: float) -> tuple[Patch, Mask, Floats]:
    """Return a crown's patch, its ragged mask, and the distance from its centre over its radius."""
    rng = canvas.rng
    patch = canvas.patch(centre, float(rng.uniform(0, 2 * math.pi)), radius * 1.35)
    direction = np.arctan2(patch.v, patch.u)
    lobes = sum(
        rng.uniform(0.02, 0.10) * np.sin(k * direction + rng.uniform(0, 6.3)) for k in (2, 3, 5, 8)
    )
    leaves = canvas.texture(patch, min(1.6, radius), 2)
    distance = np.hypot(patch.u, patch.v) / (radius * (1 + lobes + 0.07 * leaves))
    return patch, distance < 1, np.asarray(distance, np.float32)


def paint_tree(
    canvas: Canvas,
    palette: Palette,
    centre: Point,
    radius: float,
    owner: int | None = 0,
    crown: tuple[Patch, Mask, Floats] | None = None,
) -> None:
    """Paint a tree or bush of `radius` metres; `owner` as for `Canvas.paint`."""
    rng = canvas.rng
    patch, mask, distance = crown or crown_mask(canvas, centre, radius)
    height = radius * rng.uniform(1.2, 2.2)
    clumps = canvas.texture(patch, max(0.7, 0.55 * radius), 3)
    dome = np.sqrt(np.clip(1 - distance**2, 0, 1))
    altitude = height * (0.45 + 0.55 * dome) + 0.18 * radius * clumps
    colour = vary(rng, palette.foliage, 0.16)
    if rng.random() < 0.07:
        colour = vary(rng, (0.42, 0.30, 0.14), 0.2)
    slope_y, slope_x = np.gradient(altitude, 1 / canvas.points_per_metre)
    # A crown is not a solid surface: its slopes affect the light less than those of a roof.
    light = 0.35 + 0.65 * canvas.sun.on_slope(
        np.asarray(np.clip(slope_x * 0.45, -1.2, 1.2), np.float32),
        np.asarray(np.clip(slope_y * 0.45, -1.2, 1.2), np.float32),
    )
    shade = np.clip(0.75 + 0.3 * dome + 0.13 * clumps, 0.35, 1.4)
    leaves = shade[..., None] * np.asarray(colour, np.float32)
    if rng.random() < palette.leafless and radius > 1.2:
        # Bare branches let most of the ground through.
        branches = mask & (np.abs(clumps) < 0.42)
        bark = np.asarray(vary(rng, (0.33, 0.29, 0.26), 0.1), np.float32)
        canvas.paint(patch, branches, bark, altitude=np.asarray(altitude, np.float32), owner=None)
        return
    canvas.paint(
        patch,
        mask,
        np.asarray(leaves, np.float32),
        light=np.asarray(light, np.float32),
        altitude=np.asarray(np.clip(altitude, 0.3, None), np.float32),
        owner=owner,
    )


def paint_hedge(canvas: Canvas, palette: Palette, start: Point, end: Point) -> None:
    """A row of low bushes from one canvas point to another."""
    rng = canvas.rng
    length = canvas.metres(math.hypot(end[0] - start[0], end[1] - start[1]))
    size = rng.uniform(0.7, 1.1)
    for share in np.arange(0, 1, 1.3 * size / max(length, 1.0)):
        if rng.random() < 0.08:
            continue
        at = (start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1]))
        if -20 < at[0] < canvas.width + 20 and -20 < at[1] < canvas.height + 20:
            paint_tree(canvas, palette, at, size * rng.uniform(0.8, 1.2))

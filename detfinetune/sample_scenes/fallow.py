"""Undeveloped land: weeds, bare spots and scrub up to a subtle boundary."""

from __future__ import annotations

import numpy as np

from detfinetune.sample_scenes.canvas import Canvas, Patch
from detfinetune.sample_scenes.noise import Colour, Mask, smooth_step
from detfinetune.sample_scenes.parcels import Parcel, paint_pile, parcel_mask
from detfinetune.sample_scenes.scene_labels import largest_part
from detfinetune.sample_scenes.settings import UNDEVELOPED_LAND
from detfinetune.sample_scenes.terrain import Palette, mix, textured, vary
from detfinetune.sample_scenes.vegetation import paint_tree


def paint_fallow(canvas: Canvas, palette: Palette, parcel: Parcel) -> int:
    """Undeveloped land: an unkempt parcel of weeds, bare spots and scrub."""
    rng = canvas.rng
    patch = parcel.patch(canvas)
    mask = largest_part(parcel_mask(canvas, parcel, patch, ragged=0.5))
    number = canvas.add_instance(UNDEVELOPED_LAND, mask)
    weeds = vary(rng, palette.weeds, 0.1)
    tufts, broad = canvas.texture(patch, 1.5, 3), canvas.texture(patch, 8.0, 3)
    ground = textured(weeds, tufts + 0.5 * broad, 0.13)
    bare = smooth_step(np.asarray(broad + 0.4 * tufts, np.float32), 0.5, 1.4)[..., None]
    ground = ground + bare * 0.7 * (textured(palette.soil, tufts, 0.08) - ground)
    dark = vary(rng, mix(palette.foliage, palette.weeds, 0.4), 0.1)
    rank = smooth_step(np.asarray(tufts - 0.5 * broad, np.float32), 0.7, 1.5)[..., None]
    ground = ground + rank * 0.75 * (textured(dark, tufts, 0.08) - ground)
    canvas.paint(patch, mask, np.asarray(ground, np.float32), opacity=0.9, owner=number)
    _paint_path(canvas, patch, mask, palette, parcel)
    _paint_boundary(canvas, palette, parcel, patch, mask)
    area = parcel.length * parcel.depth
    for _ in range(int(rng.integers(4, 8) + area * rng.uniform(0.006, 0.016))):
        u, v = rng.uniform(-0.44, 0.44) * parcel.length, rng.uniform(-0.44, 0.44) * parcel.depth
        size = min(rng.gamma(2.2, 0.38) + 0.4, 2.4)
        # Scrub belongs to the land it grows on, so the owner stays.
        paint_tree(canvas, palette, parcel.point(canvas, u, v), float(size), owner=None)
    if rng.random() < 0.4:
        u, v = rng.uniform(-0.3, 0.3) * parcel.length, rng.uniform(-0.3, 0.3) * parcel.depth
        paint_pile(canvas, parcel.point(canvas, u, v), 1.2, vary(rng, (0.5, 0.47, 0.43), 0.15))
    return number


def _paint_path(canvas: Canvas, patch: Patch, mask: Mask, palette: Palette, parcel: Parcel) -> None:
    """A trodden short cut across the land."""
    rng = canvas.rng
    if rng.random() < 0.3:
        return
    slope = rng.uniform(-0.6, 0.6)
    line = slope * patch.u + rng.uniform(0.5, 2.0) * np.sin(patch.u / rng.uniform(4, 9))
    path = mask & (np.abs(patch.v - line - rng.uniform(-0.2, 0.2) * parcel.depth) < 0.45)
    canvas.paint(patch, path, mix(palette.soil, (0.7, 0.66, 0.58), 0.3), opacity=0.6)


def _paint_boundary(
    canvas: Canvas, palette: Palette, parcel: Parcel, patch: Patch, mask: Mask
) -> None:
    """The subtle edge of a parcel: a mown strip, a fence, a ditch."""
    rng = canvas.rng
    steps = max(1, round(0.3 * canvas.points_per_metre))
    shrunk = mask.copy()
    for axis in (0, 1):
        shrunk &= np.roll(mask, steps, axis) & np.roll(mask, -steps, axis)
    ring = mask & ~shrunk
    tone: Colour = (0.24, 0.22, 0.18) if rng.random() < 0.5 else (0.66, 0.62, 0.54)
    canvas.paint(patch, ring, vary(rng, tone, 0.1), opacity=float(rng.uniform(0.4, 0.75)))
    if rng.random() < 0.5:
        for u in np.arange(-parcel.length / 2 + 0.4, parcel.length / 2, 3.0):
            for v in (-parcel.depth / 2 + 0.4, parcel.depth / 2 - 0.4):
                post = (np.abs(patch.u - u) < 0.2) & (np.abs(patch.v - v) < 0.2)
                canvas.paint(patch, mask & post, (0.5, 0.45, 0.38), light=1.0, altitude=1.2)

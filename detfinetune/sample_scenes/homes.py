"""A house in its garden: drive, terrace, pool, shed, beds, hedges."""

from __future__ import annotations

import math

import numpy as np

from detfinetune.sample_scenes.buildings import paint_house, paint_shed
from detfinetune.sample_scenes.canvas import Canvas, Patch
from detfinetune.sample_scenes.parcels import Parcel, parcel_mask
from detfinetune.sample_scenes.terrain import Palette, mix, textured, vary
from detfinetune.sample_scenes.vegetation import paint_hedge
from detfinetune.sample_scenes.vehicles import paint_car


def paint_home(canvas: Canvas, palette: Palette, parcel: Parcel) -> int:
    """A house in its garden, with a drive; returns the house's number."""
    rng = canvas.rng
    patch = parcel.patch(canvas)
    lawn = parcel_mask(canvas, parcel, patch, ragged=0.15)
    grass = vary(rng, mix(palette.grass, palette.foliage, float(rng.uniform(0, 0.4))), 0.1)
    canvas.paint(patch, lawn, textured(grass, canvas.texture(patch, 1.8, 2), 0.05), opacity=0.75)
    length = min(rng.uniform(9.5, 16.0), parcel.length - 5)
    breadth = min(rng.uniform(7.0, 10.5), length * 0.85, parcel.depth * 0.45)
    u = rng.uniform(-0.5, 0.5) * max(parcel.length - 1.25 * length - 3, 0)
    v = -parcel.depth / 2 + breadth * 0.9 + rng.uniform(2.5, 6.0)
    _paint_drive(canvas, palette, parcel, patch, float(u), length, float(v))
    _paint_garden(canvas, palette, parcel, patch)
    turn = parcel.angle + float(rng.normal(0, 0.05))
    if rng.random() < 0.25:
        turn += math.pi / 2
        length = min(length, parcel.depth * 0.5)
        breadth = min(breadth, length * 0.85)
    return paint_house(canvas, parcel.point(canvas, float(u), float(v)), turn, length, breadth)


def _paint_drive(
    canvas: Canvas,
    palette: Palette,
    parcel: Parcel,
    patch: Patch,
    u: float,
    length: float,
    v: float,
) -> None:
    rng = canvas.rng
    side = float(
        np.clip(
            u + rng.choice([-1, 1]) * (length / 2 + 1.5),
            -parcel.length / 2 + 1.6,
            parcel.length / 2 - 1.6,
        )
    )
    drive = (np.abs(patch.u - side) < rng.uniform(1.2, 1.7)) & (patch.v < v + 2)
    drive &= patch.v > -parcel.depth / 2 - 1.5
    tones = (palette.asphalt, (0.62, 0.60, 0.56), (0.55, 0.43, 0.36))
    tone = vary(rng, tones[rng.integers(3)], 0.08)
    canvas.paint(patch, drive, textured(tone, canvas.texture(patch, 1.0, 2), 0.05))
    terrace = (np.abs(patch.u - u) < 0.3 * length) & (patch.v > v) & (patch.v < v + 7.5)
    if rng.random() < 0.6:
        canvas.paint(patch, terrace, textured(tone, canvas.texture(patch, 1.0, 2), 0.05))
    if rng.random() < 0.6:
        at = parcel.point(canvas, side, rng.uniform(-parcel.depth / 2 + 2.5, v))
        paint_car(canvas, at, parcel.angle + math.pi / 2)


def _paint_garden(canvas: Canvas, palette: Palette, parcel: Parcel, patch: Patch) -> None:
    """Pool, shed, beds, hedges."""
    rng = canvas.rng
    back = parcel.depth / 2
    if rng.random() < 0.2:
        u, v = rng.uniform(-0.3, 0.3) * parcel.length, back - rng.uniform(4, 6)
        long = rng.uniform(2.5, 4.0)
        pool = (np.abs(patch.u - u) / long) ** 4 + (np.abs(patch.v - v) / 1.8) ** 4
        canvas.paint(patch, pool < 1.5, vary(rng, (0.72, 0.70, 0.66), 0.05))
        canvas.paint(patch, pool < 1, vary(rng, (0.22, 0.58, 0.66), 0.08))
    if rng.random() < 0.5:
        at = parcel.point(canvas, rng.choice([-0.38, 0.38]) * parcel.length, back - 3)
        paint_shed(canvas, at, parcel.angle)
    if rng.random() < 0.35:
        v = back - rng.uniform(4, 8)
        u = rng.uniform(-0.2, 0.2) * parcel.length
        beds = (np.abs(patch.u - u) < 3.5) & (np.abs(patch.v - v) < 2.5)
        canvas.paint(patch, beds & (np.mod(patch.v, 1.3) < 0.7), palette.soil, opacity=0.8)
    edges = ((-0.5, -0.1, -0.5, 0.5), (0.5, -0.1, 0.5, 0.5), (-0.5, 0.5, 0.5, 0.5))
    for u0, v0, u1, v1 in edges:
        if rng.random() < 0.4:
            start = parcel.point(canvas, u0 * parcel.length, v0 * parcel.depth)
            end = parcel.point(canvas, u1 * parcel.length, v1 * parcel.depth)
            paint_hedge(canvas, palette, start, end)

"""Decoys: similar to objects of a class, but never labelled."""

from __future__ import annotations

import math

import numpy as np

from detfinetune.sample_scenes.buildings import paint_greenhouse, paint_warehouse
from detfinetune.sample_scenes.canvas import Canvas
from detfinetune.sample_scenes.parcels import Parcel, parcel_mask
from detfinetune.sample_scenes.terrain import Palette, mix, textured, vary
from detfinetune.sample_scenes.vegetation import paint_tree
from detfinetune.sample_scenes.vehicles import paint_car, paint_truck

DECOYS = ("car_park", "gravel_yard", "pitch", "warehouse", "greenhouse", "plough", "orchard")


def paint_decoy(canvas: Canvas, palette: Palette, parcel: Parcel, kind: str) -> None:
    """Paint one of `DECOYS` on a parcel."""
    painters = {
        "car_park": _paint_car_park,
        "gravel_yard": _paint_gravel_yard,
        "pitch": _paint_pitch,
        "warehouse": _paint_warehouse,
        "greenhouse": _paint_greenhouse,
        "plough": _paint_plough,
        "orchard": _paint_orchard,
    }
    painters[kind](canvas, palette, parcel)


def _paint_car_park(canvas: Canvas, palette: Palette, parcel: Parcel) -> None:
    rng = canvas.rng
    patch = parcel.patch(canvas)
    mask = (np.abs(patch.u) < parcel.length / 2) & (np.abs(patch.v) < parcel.depth / 2)
    tone = vary(rng, palette.asphalt, 0.08)
    canvas.paint(patch, mask, textured(tone, canvas.texture(patch, 3.0, 3), 0.05))
    occupied = rng.uniform(0.2, 0.7)
    for row in np.arange(-parcel.depth / 2 + 3, parcel.depth / 2 - 2, 8.5):
        stall = (np.abs(patch.v - row) < 2.5) & (np.mod(patch.u, 2.6) < 0.22)
        canvas.paint(patch, mask & stall, (0.78, 0.77, 0.73), opacity=0.7)
        for u in np.arange(-parcel.length / 2 + 2.6, parcel.length / 2 - 2, 2.6):
            if rng.random() < occupied:
                at = parcel.point(canvas, float(np.floor(u / 2.6) * 2.6 + 1.4), float(row))
                paint_car(canvas, at, parcel.angle + math.pi / 2)


def _paint_gravel_yard(canvas: Canvas, palette: Palette, parcel: Parcel) -> None:
    """An even, straight-edged storage yard: soil's colour without a site's works."""
    rng = canvas.rng
    patch = parcel.patch(canvas)
    mask = (np.abs(patch.u) < parcel.length / 2) & (np.abs(patch.v) < parcel.depth / 2)
    tone = vary(rng, mix(palette.soil, (0.6, 0.58, 0.55), 0.5), 0.1)
    canvas.paint(patch, mask, textured(tone, canvas.texture(patch, 0.7, 2), 0.045))
    rim = mask & (
        (np.abs(patch.u) > parcel.length / 2 - 0.4) | (np.abs(patch.v) > parcel.depth / 2 - 0.4)
    )
    canvas.paint(patch, rim, (0.72, 0.70, 0.66), opacity=0.6)
    spaces = np.arange(-parcel.length / 2 + 3, parcel.length / 2 - 3, 3.6)
    for u in spaces:
        if rng.random() < 0.55:
            at = parcel.point(canvas, float(u), 0.5 * parcel.depth - 6)
            paint_truck(canvas, at, parcel.angle + math.pi / 2)


def _paint_pitch(canvas: Canvas, palette: Palette, parcel: Parcel) -> None:
    """A sports ground of turf, clay or hard court, with lines."""
    rng = canvas.rng
    patch = parcel.patch(canvas)
    half_u, half_v = parcel.length / 2 - 1, parcel.depth / 2 - 1
    mask = (np.abs(patch.u) < half_u) & (np.abs(patch.v) < half_v)
    surfaces = (mix(palette.grass, (0.20, 0.42, 0.16), 0.5), (0.62, 0.36, 0.24), (0.25, 0.42, 0.46))
    tone = vary(rng, surfaces[rng.integers(3)], 0.08)
    bands = 0.06 * np.sign(np.sin(patch.u * (math.pi / 4.0)))
    canvas.paint(patch, mask, textured(tone, bands + 0.03 * canvas.texture(patch, 2.0, 2), 1.0))
    inset = 1.6
    near_u = np.abs(np.abs(patch.u) - (half_u - inset)) < 0.16
    near_v = np.abs(np.abs(patch.v) - (half_v - inset)) < 0.16
    inside = (np.abs(patch.u) < half_u - inset + 0.2) & (np.abs(patch.v) < half_v - inset + 0.2)
    lines = inside & (near_u | near_v | (np.abs(patch.u) < 0.16))
    lines |= inside & (np.abs(np.hypot(patch.u, patch.v) - 0.22 * parcel.depth) < 0.16)
    canvas.paint(patch, lines, (0.9, 0.9, 0.88), opacity=0.8)


def _paint_warehouse(canvas: Canvas, palette: Palette, parcel: Parcel) -> None:
    patch = parcel.patch(canvas)
    mask = (np.abs(patch.u) < parcel.length / 2) & (np.abs(patch.v) < parcel.depth / 2)
    tone = vary(canvas.rng, palette.asphalt, 0.08)
    canvas.paint(patch, mask, textured(tone, canvas.texture(patch, 3.0, 3), 0.05))
    at = parcel.point(canvas, 0.0, 2.0)
    paint_warehouse(canvas, at, parcel.angle, parcel.length * 0.86, parcel.depth * 0.72)


def _paint_greenhouse(canvas: Canvas, palette: Palette, parcel: Parcel) -> None:
    paint_greenhouse(canvas, parcel.centre, parcel.angle, parcel.length * 0.85, parcel.depth * 0.7)


def _paint_plough(canvas: Canvas, palette: Palette, parcel: Parcel) -> None:
    """Bare soil in even furrows: a site's colour, a field's order."""
    rng = canvas.rng
    patch = parcel.patch(canvas)
    mask = parcel_mask(canvas, parcel, patch, ragged=0.2)
    period = max(rng.uniform(0.9, 1.6), 3.6 / canvas.points_per_metre)
    rows = np.sin(patch.u * (2 * math.pi / period))
    tone = vary(rng, palette.soil, 0.1)
    texture = 0.09 * rows + 0.05 * canvas.texture(patch, 4.0, 2)
    canvas.paint(patch, mask, textured(tone, np.asarray(texture, np.float32), 1.0))


def _paint_orchard(canvas: Canvas, palette: Palette, parcel: Parcel) -> None:
    """Trees of one size in a grid on mown grass."""
    rng = canvas.rng
    patch = parcel.patch(canvas)
    mask = parcel_mask(canvas, parcel, patch, ragged=0.2)
    tone = vary(rng, palette.grass, 0.08)
    canvas.paint(patch, mask, textured(tone, canvas.texture(patch, 1.5, 2), 0.04))
    apart, size = rng.uniform(4.2, 5.5), rng.uniform(1.1, 1.6)
    for u in np.arange(-parcel.length / 2 + 2.5, parcel.length / 2 - 2, apart):
        for v in np.arange(-parcel.depth / 2 + 2.5, parcel.depth / 2 - 2, apart):
            at = parcel.point(canvas, float(u), float(v))
            paint_tree(canvas, palette, at, float(size * rng.uniform(0.9, 1.1)), owner=None)

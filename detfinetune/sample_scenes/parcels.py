"""Parcels of land, and heaps that lie on several kinds of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from detfinetune.sample_scenes.canvas import Canvas, Patch, Point
from detfinetune.sample_scenes.noise import Colour, Mask
from detfinetune.sample_scenes.terrain import textured


@dataclass(frozen=True)
class Parcel:
    """A rectangle of land; -v is the side of the road."""

    centre: Point
    angle: float
    length: float
    """Metres along the road."""

    depth: float

    def point(self, canvas: Canvas, u: float, v: float) -> Point:
        """Canvas point at `u`, `v` metres from the middle."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        scale = canvas.points_per_metre
        return (
            self.centre[0] + scale * (u * cos - v * sin),
            self.centre[1] + scale * (u * sin + v * cos),
        )

    def patch(self, canvas: Canvas) -> Patch:
        """Coordinates of the parcel and a little around it."""
        return canvas.patch(self.centre, self.angle, 0.5 * math.hypot(self.length, self.depth) + 2)


def parcel_mask(canvas: Canvas, parcel: Parcel, patch: Patch, ragged: float) -> Mask:
    """The parcel's area with an edge that varies by about `ragged` metres."""
    wobble = ragged * canvas.texture(patch, 9.0, 2)
    corner = 0.18 * min(parcel.length, parcel.depth) * canvas.rng.uniform(0.2, 1.0)
    inner_u = np.abs(patch.u) - (parcel.length / 2 - corner)
    inner_v = np.abs(patch.v) - (parcel.depth / 2 - corner)
    outside = np.hypot(np.clip(inner_u, 0, None), np.clip(inner_v, 0, None))
    distance = outside + np.minimum(np.maximum(inner_u, inner_v), 0) - corner
    limit = (np.abs(patch.u) < parcel.length / 2) & (np.abs(patch.v) < parcel.depth / 2)
    return np.asarray((distance + np.abs(wobble) < 0) & limit)


def paint_pile(canvas: Canvas, at: Point, radius: float, colour: Colour) -> None:
    """A heap of soil, sand or gravel."""
    patch = canvas.patch(at, 0.0, radius * 1.3)
    distance = np.hypot(patch.u, patch.v * canvas.rng.uniform(0.8, 1.25))
    distance = distance / radius + 0.10 * canvas.texture(patch, 1.2, 2)
    height = np.asarray(0.6 * radius * np.clip(1 - distance, 0, None), np.float32)
    slope_y, slope_x = np.gradient(height, 1 / canvas.points_per_metre)
    canvas.paint(
        patch,
        distance < 1,
        textured(colour, canvas.texture(patch, 0.8, 2), 0.06),
        light=canvas.sun.on_slope(np.asarray(slope_x, np.float32), np.asarray(slope_y, np.float32)),
        altitude=height,
    )

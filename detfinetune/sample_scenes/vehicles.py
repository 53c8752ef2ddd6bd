"""Cars, trucks and diggers: distractors, and the traffic of building sites."""

from __future__ import annotations

import math

import numpy as np

from detfinetune.sample_scenes.canvas import Canvas, Point
from detfinetune.sample_scenes.noise import Colour
from detfinetune.sample_scenes.terrain import vary

_BODIES: tuple[Colour, ...] = (
    (0.82, 0.82, 0.82),
    (0.62, 0.63, 0.65),
    (0.10, 0.10, 0.11),
    (0.28, 0.29, 0.31),
    (0.55, 0.10, 0.09),
    (0.13, 0.22, 0.42),
)


def paint_car(canvas: Canvas, at: Point, angle: float) -> None:
    """A car about 4.4 m long, its front towards `angle`."""
    rng = canvas.rng
    length, width = rng.uniform(3.9, 4.8), rng.uniform(1.7, 1.95)
    patch = canvas.patch(at, angle, 0.5 * math.hypot(length, width) + 0.3)
    shape = (np.abs(patch.u) / (length / 2)) ** 6 + (np.abs(patch.v) / (width / 2)) ** 6
    body = shape < 1
    colour = vary(rng, _BODIES[rng.integers(len(_BODIES))], 0.12)
    canvas.paint(patch, body, colour, light=1.0, altitude=0.9)
    cabin = (np.abs(patch.u + 0.25) < 0.27 * length) & (np.abs(patch.v) < 0.42 * width)
    canvas.paint(patch, body & cabin, (0.10, 0.12, 0.14), light=1.0, altitude=1.4)
    top = (np.abs(patch.u + 0.3) < 0.16 * length) & (np.abs(patch.v) < 0.38 * width)
    canvas.paint(patch, body & top, colour, light=1.1, altitude=1.5)


def paint_truck(canvas: Canvas, at: Point, angle: float) -> None:
    """A lorry with an open or closed body."""
    rng = canvas.rng
    length = rng.uniform(6.5, 9.0)
    patch = canvas.patch(at, angle, length / 2 + 1)
    body = (np.abs(patch.u) < length / 2) & (np.abs(patch.v) < 1.25)
    cab = body & (patch.u > length / 2 - 1.9)
    load = body & (patch.u < length / 2 - 2.2)
    canvas.paint(patch, load, vary(rng, (0.6, 0.58, 0.54), 0.25), light=1.0, altitude=2.6)
    if rng.random() < 0.5:
        inner = load & (np.abs(patch.v) < 1.0) & (patch.u > -length / 2 + 0.3)
        canvas.paint(patch, inner, vary(rng, (0.42, 0.35, 0.28), 0.15), altitude=1.6)
    canvas.paint(
        patch, cab, vary(rng, _BODIES[rng.integers(len(_BODIES))], 0.1), light=1.0, altitude=2.5
    )
    glass = cab & (patch.u > length / 2 - 0.6)
    canvas.paint(patch, glass, (0.12, 0.14, 0.16))


def paint_digger(canvas: Canvas, at: Point, angle: float) -> None:
    """An excavator: tracks, a body across them, an arm with its bucket."""
    rng = canvas.rng
    colour = vary(rng, (0.78, 0.56, 0.12) if rng.random() < 0.7 else (0.74, 0.34, 0.12), 0.1)
    patch = canvas.patch(at, angle, 7.5)
    tracks = (np.abs(patch.u) < 1.9) & (np.abs(np.abs(patch.v) - 1.1) < 0.35)
    canvas.paint(patch, tracks, (0.16, 0.15, 0.15), light=1.0, altitude=0.9)
    swing = float(rng.uniform(-0.8, 0.8))
    u = patch.u * math.cos(swing) + patch.v * math.sin(swing)
    v = patch.v * math.cos(swing) - patch.u * math.sin(swing)
    body = (u > -1.9) & (u < 1.1) & (np.abs(v) < 1.25)
    canvas.paint(patch, body, colour, light=1.0, altitude=2.6)
    canvas.paint(patch, (np.abs(u - 0.3) < 0.7) & (np.abs(v - 0.7) < 0.5), (0.15, 0.18, 0.2))
    arm = (u > 1.0) & (u < 6.0) & (np.abs(v + 0.1) < 0.38)
    canvas.paint(patch, arm, colour, light=1.1, altitude=2.2)
    bucket = (np.abs(u - 6.3) < 0.55) & (np.abs(v + 0.1) < 0.65)
    canvas.paint(patch, bucket, (0.3, 0.27, 0.24), light=0.9, altitude=1.2)

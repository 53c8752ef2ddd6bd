"""Roads: their course, surface, wear and marks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from detfinetune.sample_scenes.canvas import Canvas
from detfinetune.sample_scenes.noise import Floats, Mask, octave_noise
from detfinetune.sample_scenes.terrain import Palette, mix, textured, vary


@dataclass(frozen=True)
class Road:
    """A road's centre line and breadth."""

    points: Floats
    """[n, 2] canvas points, about one every two metres."""

    half_width: float
    """Metres from the centre line to the kerb."""

    paved: bool


def draw_road(canvas: Canvas, through: tuple[float, float], angle: float, paved: bool) -> Road:
    """A gently winding road across the whole canvas, through a point, near a direction."""
    rng = canvas.rng
    length = math.hypot(canvas.width, canvas.height) * 1.1
    step = 2 * canvas.points_per_metre
    along = np.arange(-length, length, step)
    bend = rng.normal(0, 0.45) / length
    wave = rng.uniform(0, 0.16), rng.uniform(2.0, 5.0), rng.uniform(0, 2 * math.pi)
    heading = angle + bend * along + wave[0] * np.sin(wave[1] * along / length + wave[2])
    x, y = np.cumsum(np.cos(heading)) * step, np.cumsum(np.sin(heading)) * step
    middle = len(along) // 2
    points = np.stack([x - x[middle] + through[0], y - y[middle] + through[1]], axis=1)
    half = rng.uniform(2.6, 4.2) if paved else rng.uniform(1.5, 2.2)
    return Road(points.astype(np.float32), float(half), paved)


def branch_road(canvas: Canvas, main: Road) -> Road:
    """A road that leaves `main` at a junction, on one side."""
    rng = canvas.rng
    inside = np.flatnonzero(
        (main.points[:, 0] > 0.15 * canvas.width)
        & (main.points[:, 0] < 0.85 * canvas.width)
        & (main.points[:, 1] > 0.15 * canvas.height)
        & (main.points[:, 1] < 0.85 * canvas.height)
    )
    at = int(rng.choice(inside)) if len(inside) else len(main.points) // 2
    at = min(at, len(main.points) - 2)
    ahead = main.points[at + 1] - main.points[at]
    turn = rng.choice([-1, 1]) * rng.uniform(1.25, 1.85)
    whole = draw_road(
        canvas,
        (float(main.points[at, 0]), float(main.points[at, 1])),
        math.atan2(ahead[1], ahead[0]) + turn,
        paved=bool(rng.random() < 0.75),
    )
    return Road(whole.points[len(whole.points) // 2 :], whole.half_width, whole.paved)


def stroke(canvas: Canvas, points: Floats, width: float) -> Mask:
    """The area within `width` / 2 metres of a line, [height, width]."""
    mask = np.zeros((canvas.height, canvas.width), np.uint8)
    thickness = max(1, round(width * canvas.points_per_metre))
    line = np.round(points).astype(np.int32).reshape(-1, 1, 2)
    cv2.polylines(mask, [line], False, 1, thickness=thickness)
    return mask.astype(bool)


def offset_line(points: Floats, by: float) -> Floats:
    """A line `by` canvas points to the right of another, seen along it."""
    tangent = np.gradient(points, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-6
    return np.asarray(points + by * np.stack([-tangent[:, 1], tangent[:, 0]], 1), np.float32)


def paint_roads(canvas: Canvas, palette: Palette, roads: list[Road]) -> Mask:
    """Paint roads, verges first so that junctions stay open; returns where they are."""
    rng, scale = canvas.rng, canvas.points_per_metre
    fine = octave_noise(rng, (canvas.height, canvas.width), 1.5 * scale, 2, gain=0.8)
    pavement = vary(rng, (0.56, 0.55, 0.52), 0.1)
    kerbs = rng.random() < 0.6
    covered = np.zeros((canvas.height, canvas.width), bool)
    for road in roads:
        verge = stroke(canvas, road.points, 2 * road.half_width + (3.0 if road.paved else 1.4))
        edge = pavement if road.paved and kerbs else mix(palette.grass, palette.soil, 0.6)
        share = 1.0 if road.paved and kerbs else 0.6
        canvas.colour[verge] += share * (textured(edge, fine[verge], 0.05) - canvas.colour[verge])
        covered |= verge
    for road in roads:
        bed = stroke(canvas, road.points, 2 * road.half_width)
        surface = palette.asphalt if road.paved else vary(rng, palette.soil, 0.08)
        canvas.colour[bed] = textured(surface, fine[bed], 0.05)
        _paint_wear(canvas, road)
    if rng.random() < 0.75:
        for road in roads:
            if road.paved:
                _paint_marks(canvas, road)
    return covered


def _paint_wear(canvas: Canvas, road: Road) -> None:
    """Wheel tracks, patches of repair."""
    rng, scale = canvas.rng, canvas.points_per_metre
    for side in (-1, 1):
        for wheel in (0.25, 0.72):
            line = offset_line(road.points, side * wheel * road.half_width * scale)
            track = stroke(canvas, line, 0.55)
            canvas.colour[track] *= 0.95 if road.paved else 0.88
    for _ in range(int(rng.integers(0, 4)) if road.paved else 0):
        start = int(rng.integers(len(road.points)))
        part = road.points[start : start + int(rng.integers(2, 7))]
        if len(part) > 1:
            line = offset_line(part, rng.uniform(-0.5, 0.5) * road.half_width * scale)
            canvas.colour[stroke(canvas, line, rng.uniform(0.8, 2.4))] *= rng.uniform(0.82, 1.08)


def _paint_marks(canvas: Canvas, road: Road) -> None:
    """Broken centre line, sometimes with edge lines."""
    paint = np.asarray(vary(canvas.rng, (0.80, 0.79, 0.74), 0.06), np.float32)
    for start in range(0, len(road.points) - 2, 4):
        dash = _lane_mark(canvas, road.points[start : start + 3])
        canvas.colour[dash] += 0.75 * (paint - canvas.colour[dash])
    if canvas.rng.random() < 0.5:
        for side in (-1, 1):
            line = offset_line(road.points, side * 0.9 * road.half_width * canvas.points_per_metre)
            edge = stroke(canvas, line, 0.15)
            canvas.colour[edge] += 0.6 * (paint - canvas.colour[edge])


def _lane_mark(canvas: Canvas, points: Floats) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Indices of the points within a lane mark's breadth of a short line."""
    x0, y0 = np.maximum(np.floor(points.min(axis=0)).astype(int) - 3, 0)
    x1, y1 = np.minimum(np.ceil(points.max(axis=0)).astype(int) + 4, (canvas.width, canvas.height))
    if x0 >= x1 or y0 >= y1:
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    small = np.zeros((y1 - y0, x1 - x0), np.uint8)
    line = np.round(points - (x0, y0)).astype(np.int32).reshape(-1, 1, 2)
    thickness = max(1, round(0.18 * canvas.points_per_metre))
    cv2.polylines(small, [line], False, 1, thickness=thickness)
    rows, columns = np.nonzero(small)
    return rows + y0, columns + x0

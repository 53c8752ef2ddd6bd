"""Construction sites: churned soil, foundations, material, machines."""

from __future__ import annotations

import math

import numpy as np

from detfinetune.sample_scenes.buildings import paint_box
from detfinetune.sample_scenes.canvas import Canvas, Patch, Point
from detfinetune.sample_scenes.noise import Colour, Mask
from detfinetune.sample_scenes.parcels import Parcel, paint_pile, parcel_mask
from detfinetune.sample_scenes.scene_labels import largest_part
from detfinetune.sample_scenes.settings import CONSTRUCTION_SITE
from detfinetune.sample_scenes.terrain import Palette, mix, textured, vary
from detfinetune.sample_scenes.vehicles import paint_digger, paint_truck


def paint_site(canvas: Canvas, palette: Palette, parcel: Parcel) -> int:
    """A construction site: churned soil, tracks, foundations, material, machines."""
    rng = canvas.rng
    patch = parcel.patch(canvas)
    mask = largest_part(parcel_mask(canvas, parcel, patch, ragged=1.0))
    number = canvas.add_instance(CONSTRUCTION_SITE, mask)
    soil = vary(rng, palette.soil, 0.14)
    bumps = canvas.texture(patch, 2.2, 4)
    broad = canvas.texture(patch, 9.0, 2)
    ground = textured(soil, 0.8 * bumps + 0.8 * broad, 0.09)
    slope_y, slope_x = np.gradient(0.16 * bumps, 1 / canvas.points_per_metre)
    light = canvas.sun.on_slope(
        np.asarray(np.clip(slope_x, -0.5, 0.5), np.float32),
        np.asarray(np.clip(slope_y, -0.5, 0.5), np.float32),
    )
    canvas.paint(patch, mask, ground, light=light, owner=number)
    damp = mask & (broad + 0.3 * bumps > 1.35)
    canvas.paint(patch, damp, mix(soil, (0.20, 0.19, 0.18), 0.5), opacity=0.55)
    _paint_tyre_tracks(canvas, patch, mask, parcel, soil)
    spots = _spots(rng, parcel)
    kinds = ["building", "pile", "container"]
    kinds += list(rng.permutation(["building", "pile", "digger", "truck", "crane", "stack"]))
    for kind, (u, v) in zip(kinds, spots, strict=False):
        _place_on_site(canvas, parcel, str(kind), u, v, soil)
    return number


def _spots(rng: np.random.Generator, parcel: Parcel) -> list[tuple[float, float]]:
    """Places well inside a parcel, far enough from each other, the middle first."""
    spots = [(rng.uniform(-0.12, 0.12) * parcel.length, rng.uniform(-0.1, 0.1) * parcel.depth)]
    apart = 0.27 * min(parcel.length, parcel.depth)
    for _ in range(40):
        at = rng.uniform(-0.36, 0.36) * parcel.length, rng.uniform(-0.36, 0.36) * parcel.depth
        if all(math.hypot(at[0] - u, at[1] - v) > apart for u, v in spots):
            spots.append(at)
    return spots


def _place_on_site(
    canvas: Canvas, parcel: Parcel, kind: str, u: float, v: float, soil: Colour
) -> None:
    rng = canvas.rng
    # Nothing is placed on the edge, because parts outside the polygon would have no label.
    u = float(np.clip(u, 4 - parcel.length / 2, parcel.length / 2 - 4))
    v = float(np.clip(v, 4 - parcel.depth / 2, parcel.depth / 2 - 4))
    at = parcel.point(canvas, u, v)
    turn = parcel.angle + float(rng.choice([0, math.pi / 2])) + float(rng.normal(0, 0.08))
    size = min(parcel.length, parcel.depth)
    if kind == "building":
        _paint_shell(canvas, at, turn, size * rng.uniform(0.28, 0.42), size * rng.uniform(0.2, 0.3))
    elif kind == "pile":
        paint_pile(canvas, at, min(rng.uniform(1.8, 4.0), 0.12 * size), vary(rng, soil, 0.2))
    elif kind == "container":
        colours: tuple[Colour, ...] = (
            (0.75, 0.76, 0.76),
            (0.20, 0.34, 0.52),
            (0.62, 0.24, 0.18),
            (0.30, 0.45, 0.32),
        )
        towards_middle = -1.0 if v > 0 else 1.0
        for row in range(int(rng.integers(1, 2 if size < 18 else 4))):
            beside = parcel.point(canvas, u, v + 2.9 * row * towards_middle)
            tint = vary(rng, colours[rng.integers(len(colours))], 0.1)
            paint_box(canvas, beside, parcel.angle, 6.0, 2.4, 2.6, tint, ribs=0.6)
    elif kind == "digger":
        paint_digger(canvas, at, float(rng.uniform(0, 6.3)))
    elif kind == "truck":
        paint_truck(canvas, at, turn)
    elif kind == "crane" and size > 22:
        _paint_crane(canvas, at, min(18.0, 0.45 * size))
    elif kind == "stack":
        for row in range(3):
            beside = parcel.point(canvas, u, v + 1.1 * row)
            tint = vary(rng, (0.62, 0.50, 0.34), 0.15)
            paint_box(canvas, beside, parcel.angle, rng.uniform(2.5, 4.5), 0.8, 0.7, tint)


def _paint_tyre_tracks(
    canvas: Canvas, patch: Patch, mask: Mask, parcel: Parcel, soil: Colour
) -> None:
    """Pairs of ruts that bend through the site."""
    rng = canvas.rng
    for _ in range(int(rng.integers(3, 6))):
        turned = rng.random() < 0.5
        along, across = (patch.v, patch.u) if turned else (patch.u, patch.v)
        room = parcel.length if turned else parcel.depth
        line = rng.uniform(-0.35, 0.35) * room + rng.uniform(1, 5) * np.sin(
            along / rng.uniform(5, 14) + rng.uniform(0, 6.3)
        )
        ruts = np.abs(np.abs(across - line) - 0.95) < 0.3
        tone = 0.72 if rng.random() < 0.7 else 1.22
        shade = np.clip(np.asarray(soil, np.float32) * tone, 0, 1)
        canvas.paint(patch, mask & ruts, shade, opacity=0.55)


def _paint_shell(canvas: Canvas, at: Point, angle: float, length: float, breadth: float) -> None:
    """A foundation slab with walls half up, or with reinforcement still open."""
    rng = canvas.rng
    length, breadth = max(length, 6.0), max(breadth, 4.5)
    patch = canvas.patch(at, angle, 0.5 * math.hypot(length, breadth) + 1.5)
    inside = (np.abs(patch.u) < length / 2) & (np.abs(patch.v) < breadth / 2)
    trench = (np.abs(patch.u) < length / 2 + 1.0) & (np.abs(patch.v) < breadth / 2 + 1.0)
    canvas.paint(patch, trench & ~inside, (0.26, 0.22, 0.19), opacity=0.55)
    concrete = vary(rng, (0.62, 0.61, 0.58), 0.1)
    canvas.paint(patch, inside, textured(concrete, canvas.texture(patch, 2.5, 3), 0.05), light=1.0)
    if rng.random() < 0.35:
        bars = (np.mod(patch.u, 0.9) < 0.25) | (np.mod(patch.v, 0.9) < 0.25)
        canvas.paint(patch, inside & bars, (0.38, 0.28, 0.22), opacity=0.6)
    wall = rng.uniform(0.35, 0.5)
    walls = inside & (
        (np.abs(patch.u) > length / 2 - wall) | (np.abs(patch.v) > breadth / 2 - wall)
    )
    for share in rng.uniform(-0.35, 0.35, int(rng.integers(1, 4))):
        walls |= inside & (np.abs(patch.u - share * length) < wall / 2)
    walls |= inside & (np.abs(patch.v - rng.uniform(-0.2, 0.2) * breadth) < wall / 2)
    gaps = np.mod(patch.u + rng.uniform(0, 4), 4.3) < 1.0
    masonry = ((0.66, 0.42, 0.32), (0.72, 0.71, 0.68), (0.55, 0.54, 0.52))
    brick = vary(rng, masonry[rng.integers(3)], 0.1)
    canvas.paint(patch, walls & ~gaps, brick, light=1.0, altitude=float(rng.uniform(0.8, 3.2)))


def _paint_crane(canvas: Canvas, at: Point, reach: float) -> None:
    """A tower crane seen from above: a latticed jib with a counterweight."""
    rng = canvas.rng
    colour = vary(rng, (0.80, 0.62, 0.16) if rng.random() < 0.6 else (0.74, 0.72, 0.70), 0.1)
    patch = canvas.patch(at, float(rng.uniform(0, 6.3)), reach + 1)
    jib = (patch.u > -0.3 * reach) & (patch.u < reach) & (np.abs(patch.v) < 0.55)
    lattice = (np.abs(patch.v) > 0.3) | (np.mod(patch.u, 1.6) < 0.5)
    # The jib is above the ground, so there is a sunlit gap between it and its shadow.
    away = -14.0 * canvas.points_per_metre / math.tan(canvas.sun.elevation)
    beneath = (
        at[0] + away * math.cos(canvas.sun.azimuth),
        at[1] + away * math.sin(canvas.sun.azimuth),
    )
    shadow = canvas.patch(beneath, patch.angle, reach + 1)
    canvas.paint(shadow, jib & lattice, colour, opacity=0.0, light=0.1)
    canvas.paint(patch, jib & lattice, colour, light=1.1)
    weight = (np.abs(patch.u + 0.27 * reach) < 1.0) & (np.abs(patch.v) < 0.9)
    canvas.paint(patch, weight, (0.55, 0.55, 0.54), light=1.0)

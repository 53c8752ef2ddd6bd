"""What lies on a parcel of land: building sites, undeveloped land, gardens."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from detfinetune.data.sample_scenes.buildings import paint_box, paint_house, paint_shed
from detfinetune.data.sample_scenes.canvas import Canvas, Patch, Point
from detfinetune.data.sample_scenes.noise import Colour, Mask, smooth_step
from detfinetune.data.sample_scenes.outline import largest_part
from detfinetune.data.sample_scenes.settings import CONSTRUCTION_SITE, UNDEVELOPED_LAND
from detfinetune.data.sample_scenes.terrain import Palette, mix, textured, vary
from detfinetune.data.sample_scenes.vegetation import paint_hedge, paint_tree
from detfinetune.data.sample_scenes.vehicles import paint_car, paint_digger, paint_truck


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
    """The parcel's area with an edge that strays by about `ragged` metres."""
    wobble = ragged * canvas.texture(patch, 9.0, 2)
    corner = 0.18 * min(parcel.length, parcel.depth) * canvas.rng.uniform(0.2, 1.0)
    inner_u = np.abs(patch.u) - (parcel.length / 2 - corner)
    inner_v = np.abs(patch.v) - (parcel.depth / 2 - corner)
    outside = np.hypot(np.clip(inner_u, 0, None), np.clip(inner_v, 0, None))
    distance = outside + np.minimum(np.maximum(inner_u, inner_v), 0) - corner
    limit = (np.abs(patch.u) < parcel.length / 2) & (np.abs(patch.v) < parcel.depth / 2)
    return np.asarray((distance + np.abs(wobble) < 0) & limit)


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
    # Nothing stands on the edge: what lies outside the outline would belong to no label.
    u = float(np.clip(u, 4 - parcel.length / 2, parcel.length / 2 - 4))
    v = float(np.clip(v, 4 - parcel.depth / 2, parcel.depth / 2 - 4))
    at = parcel.point(canvas, u, v)
    turn = parcel.angle + float(rng.choice([0, math.pi / 2])) + float(rng.normal(0, 0.08))
    size = min(parcel.length, parcel.depth)
    if kind == "building":
        _paint_shell(canvas, at, turn, size * rng.uniform(0.28, 0.42), size * rng.uniform(0.2, 0.3))
    elif kind == "pile":
        _paint_pile(canvas, at, min(rng.uniform(1.8, 4.0), 0.12 * size), vary(rng, soil, 0.2))
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


def _paint_pile(canvas: Canvas, at: Point, radius: float, colour: Colour) -> None:
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


def _paint_crane(canvas: Canvas, at: Point, reach: float) -> None:
    """A tower crane seen from above: a latticed jib with a counterweight."""
    rng = canvas.rng
    colour = vary(rng, (0.80, 0.62, 0.16) if rng.random() < 0.6 else (0.74, 0.72, 0.70), 0.1)
    patch = canvas.patch(at, float(rng.uniform(0, 6.3)), reach + 1)
    jib = (patch.u > -0.3 * reach) & (patch.u < reach) & (np.abs(patch.v) < 0.55)
    lattice = (np.abs(patch.v) > 0.3) | (np.mod(patch.u, 1.6) < 0.5)
    # The jib is no wall: its shadow lies apart from it, with sun in between.
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
        _paint_pile(canvas, parcel.point(canvas, u, v), 1.2, vary(rng, (0.5, 0.47, 0.43), 0.15))
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

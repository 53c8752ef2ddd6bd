"""Houses, and the buildings that are none: sheds, warehouses, greenhouses."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from detfinetune.sample_scenes.canvas import Canvas, Patch, Point
from detfinetune.sample_scenes.noise import Colour, Floats, Mask
from detfinetune.sample_scenes.settings import RESIDENTIAL_BUILDING
from detfinetune.sample_scenes.terrain import vary

_TILES: tuple[Colour, ...] = (
    (0.55, 0.29, 0.20),
    (0.62, 0.38, 0.27),
    (0.40, 0.25, 0.20),
    (0.30, 0.30, 0.32),
    (0.22, 0.23, 0.25),
    (0.42, 0.36, 0.31),
    (0.48, 0.46, 0.43),
    (0.34, 0.37, 0.36),
)
_FLAT: tuple[Colour, ...] = ((0.62, 0.61, 0.58), (0.42, 0.42, 0.42), (0.52, 0.47, 0.41))
_METAL: tuple[Colour, ...] = ((0.66, 0.68, 0.70), (0.38, 0.45, 0.50), (0.52, 0.33, 0.27))


@dataclass(frozen=True)
class Wing:
    """A rectangular part of a house, metres in the house's own coordinates."""

    u: float
    v: float
    length: float
    """Along the ridge."""

    breadth: float
    across: bool
    """Whether the ridge runs along v instead of u."""

    hipped: bool


def roof_of(wings: list[Wing], pitch: float, patch: Patch) -> tuple[Mask, Floats, Floats, Floats]:
    """Outline, height above the eaves, and slopes along u and v, of wings joined together."""
    height = np.full(patch.u.shape, -1.0, np.float32)
    slope_u = np.zeros_like(height)
    slope_v = np.zeros_like(height)
    for wing in wings:
        along, over = patch.u - wing.u, patch.v - wing.v
        if wing.across:
            along, over = over, along
        to_eave = wing.breadth / 2 - np.abs(over)
        to_end = wing.length / 2 - np.abs(along)
        inside = (to_eave > 0) & (to_end > 0)
        on_hip = (to_end < to_eave) if wing.hipped else np.zeros_like(inside)
        rise = pitch * np.where(on_hip, to_end, to_eave)
        wins = inside & (rise > height)
        height[wins] = rise[wins]
        down_along = np.where(on_hip, -pitch * np.sign(along), 0)
        down_over = np.where(on_hip, 0, -pitch * np.sign(over))
        first, second = (down_over, down_along) if wing.across else (down_along, down_over)
        slope_u[wins], slope_v[wins] = first[wins], second[wins]
    return height >= 0, np.clip(height, 0, None), slope_u, slope_v


def draw_wings(rng: np.random.Generator, length: float, breadth: float) -> list[Wing]:
    """The plan of a house: a bar, an L, a T, or a bar with a lower annexe."""
    hipped = bool(rng.random() < 0.4)
    wings = [Wing(0, 0, length, breadth, False, hipped)]
    plan = rng.random()
    if plan < 0.45:
        side = breadth * rng.uniform(0.55, 0.85)
        reach = breadth * rng.uniform(0.35, 0.75)
        end = rng.choice([-1, 1]) * (length - side) / 2 * (1.0 if plan < 0.3 else 0.2)
        facing = rng.choice([-1, 1])
        middle = facing * reach / 2
        wings.append(Wing(float(end), float(middle), breadth + reach, side, True, hipped))
    elif plan < 0.6:
        small = rng.uniform(0.3, 0.45)
        at = rng.choice([-1, 1]) * length * (0.5 + small / 2 - 0.03)
        wings.append(Wing(float(at), 0, length * small, breadth * 0.7, False, hipped))
    return wings


def paint_house(canvas: Canvas, centre: Point, angle: float, length: float, breadth: float) -> int:
    """Paint a labelled house, `length` x `breadth` metres; returns its instance number."""
    rng = canvas.rng
    patch = canvas.patch(centre, angle, 0.5 * math.hypot(length * 1.5, breadth * 1.9) + 1)
    wings = draw_wings(rng, length, breadth)
    flat = rng.random() < 0.2
    pitch = 0.0 if flat else float(rng.uniform(0.35, 0.85))
    mask, rise, slope_u, slope_v = roof_of(wings, max(pitch, 0.01), patch)
    eaves = float(rng.uniform(3.0, 6.5))
    slope_x, slope_y = patch.to_image_slope(slope_u, slope_v)
    light = canvas.sun.on_slope(slope_x, slope_y)
    metal = not flat and rng.random() < 0.12
    choices = _FLAT if flat else _METAL if metal else _TILES
    colour = vary(rng, choices[rng.integers(len(choices))], 0.13)
    pattern = _roof_pattern(canvas, patch, slope_u, slope_v, flat, metal)
    roof = np.clip(1 + pattern, 0.3, 1.6)[..., None] * np.asarray(colour, np.float32)
    number = canvas.add_instance(RESIDENTIAL_BUILDING, mask)
    canvas.paint(
        patch,
        mask,
        np.asarray(roof, np.float32),
        light=light,
        altitude=np.asarray(eaves + rise, np.float32),
        owner=number,
    )
    if flat:
        _paint_flat_roof(canvas, patch, wings, mask, eaves)
    else:
        _paint_ridges(canvas, patch, mask, rise, colour)
    _paint_fittings(canvas, patch, wings[0], mask, eaves, rise, flat)
    return number


def _roof_pattern(
    canvas: Canvas, patch: Patch, slope_u: Floats, slope_v: Floats, flat: bool, metal: bool
) -> Floats:
    """Relative brightness: courses of tiles, seams of sheet metal, weathering."""
    stains = canvas.texture(patch, 3.5, 3)
    if flat:
        return np.asarray(0.05 * stains, np.float32)
    runs_v = np.abs(slope_v) >= np.abs(slope_u)
    down, along = np.where(runs_v, patch.v, patch.u), np.where(runs_v, patch.u, patch.v)
    period = max(0.42, 3.0 / canvas.points_per_metre)
    lines = np.sin((along if metal else down) * (2 * math.pi / period))
    tiles = canvas.texture(patch, 0.5, 1)
    return np.asarray(
        (0.07 if metal else 0.05) * lines + 0.045 * stains + (0 if metal else 0.03) * tiles,
        np.float32,
    )


def _paint_ridges(canvas: Canvas, patch: Patch, mask: Mask, rise: Floats, colour: Colour) -> None:
    """Lighter caps where two slopes meet."""
    bend_v = np.abs(np.gradient(np.gradient(rise, axis=0), axis=0))
    bend_u = np.abs(np.gradient(np.gradient(rise, axis=1), axis=1))
    crease = (bend_u + bend_v) * canvas.points_per_metre > 0.35
    inner = mask & np.roll(mask, 2, 0) & np.roll(mask, -2, 0) & np.roll(mask, 2, 1)
    inner &= np.roll(mask, -2, 1)
    tint = vary(canvas.rng, colour, 0.05)
    lift = 1.16 if canvas.rng.random() < 0.7 else 0.8
    cap = np.clip(np.asarray(tint, np.float32) * lift, 0, 1)
    canvas.paint(patch, inner & crease, cap, opacity=0.6)


def _paint_flat_roof(
    canvas: Canvas, patch: Patch, wings: list[Wing], mask: Mask, eaves: float
) -> None:
    """A parapet around, and machines on top."""
    edge = np.zeros_like(mask)
    core = roof_of(
        [Wing(w.u, w.v, w.length - 0.9, w.breadth - 0.9, w.across, False) for w in wings],
        0.01,
        patch,
    )[0]
    edge = mask & ~core
    tone = vary(canvas.rng, (0.7, 0.69, 0.66), 0.08)
    canvas.paint(patch, edge, tone, altitude=eaves + 0.5)


def _paint_fittings(
    canvas: Canvas, patch: Patch, bar: Wing, mask: Mask, eaves: float, rise: Floats, flat: bool
) -> None:
    """Chimney, skylights, solar panels, ventilators."""
    rng = canvas.rng
    for _ in range(int(rng.integers(0, 3)) + (1 if flat else 0)):
        u = rng.uniform(-0.4, 0.4) * bar.length
        v = rng.uniform(-0.35, 0.35) * bar.breadth
        size = rng.uniform(0.4, 0.6)
        stack = mask & (np.abs(patch.u - u) < size) & (np.abs(patch.v - v) < size * 0.8)
        brick = vary(rng, (0.5, 0.4, 0.36), 0.25)
        canvas.paint(
            patch, stack, brick, light=1.0, altitude=np.asarray(eaves + rise + 1.3, np.float32)
        )
    if rng.random() < 0.28:
        side = rng.choice([-1, 1])
        left = rng.uniform(-0.42, 0.0) * bar.length
        right = left + rng.uniform(0.25, 0.5) * bar.length
        across = side * patch.v / bar.breadth
        panel = mask & (patch.u > left) & (patch.u < right) & (across > 0.1) & (across < 0.4)
        grid = (np.mod(patch.u, 1.1) < 0.09) | (np.mod(patch.v, 1.7) < 0.09)
        canvas.paint(patch, panel, vary(rng, (0.10, 0.13, 0.22), 0.12))
        canvas.paint(patch, panel & grid, (0.45, 0.47, 0.5), opacity=0.5)
    elif rng.random() < 0.35:
        v = rng.choice([-1, 1]) * bar.breadth * 0.24
        for u in np.linspace(-0.3, 0.3, int(rng.integers(2, 4))) * bar.length:
            pane = mask & (np.abs(patch.u - u) < 0.45) & (np.abs(patch.v - v) < 0.6)
            canvas.paint(patch, pane, (0.25, 0.3, 0.36), light=1.1)


def paint_box(
    canvas: Canvas,
    centre: Point,
    angle: float,
    length: float,
    breadth: float,
    height: float,
    colour: Colour,
    ribs: float = 0.0,
) -> None:
    """A plain raised box such as a shed or container; `ribs` metres apart when not 0."""
    patch = canvas.patch(centre, angle, 0.5 * math.hypot(length, breadth) + 0.5)
    mask = (np.abs(patch.u) < length / 2) & (np.abs(patch.v) < breadth / 2)
    pattern = 0.03 * canvas.texture(patch, 1.5, 2)
    if ribs:
        period = max(ribs, 3.0 / canvas.points_per_metre)
        pattern = pattern + 0.07 * np.sin(patch.u * (2 * math.pi / period))
    painted = np.clip(1 + pattern, 0.3, 1.6)[..., None] * np.asarray(colour, np.float32)
    lean = canvas.rng.uniform(0, 0.12)
    slope_x, slope_y = patch.to_image_slope(
        np.zeros_like(patch.u), np.full_like(patch.v, float(lean))
    )
    canvas.paint(
        patch,
        mask,
        np.asarray(painted, np.float32),
        light=canvas.sun.on_slope(slope_x, slope_y),
        altitude=height,
    )


def paint_shed(canvas: Canvas, centre: Point, angle: float) -> None:
    """A garden shed or garage: too small and plain for a house."""
    rng = canvas.rng
    palette = _METAL + _FLAT
    colour = vary(rng, palette[rng.integers(len(palette))], 0.15)
    size = rng.uniform(2.2, 3.6), rng.uniform(1.8, 2.6)
    paint_box(canvas, centre, angle, *size, 2.4, colour, ribs=0.5)


def paint_warehouse(
    canvas: Canvas, centre: Point, angle: float, length: float, breadth: float
) -> None:
    """A hall with a ribbed roof and rows of skylights; not residential."""
    rng = canvas.rng
    tones = (*_METAL, (0.78, 0.78, 0.76), (0.55, 0.56, 0.56))
    colour = vary(rng, tones[rng.integers(len(tones))], 0.08)
    paint_box(canvas, centre, angle, length, breadth, float(rng.uniform(6, 9)), colour, ribs=1.2)
    patch = canvas.patch(centre, angle, 0.5 * math.hypot(length, breadth))
    rows = np.mod(patch.u, 5.5) < 1.1
    rows &= np.mod(patch.v + breadth / 2, breadth / 2) > 0.22 * breadth / 2
    rows &= (np.abs(patch.v) < 0.42 * breadth) & (np.abs(patch.u) < 0.46 * length)
    canvas.paint(patch, rows, vary(rng, (0.80, 0.84, 0.86), 0.05), opacity=0.7)
    for v in (-0.5, 0.0, 0.5):
        trim = (np.abs(patch.v - v * breadth) < 0.3) & (np.abs(patch.u) < length / 2)
        trim &= np.abs(patch.v) < breadth / 2
        canvas.paint(patch, trim, vary(rng, colour, 0.1), opacity=0.7)


def paint_greenhouse(
    canvas: Canvas, centre: Point, angle: float, length: float, breadth: float
) -> None:
    """Rows of narrow glass vaults."""
    rng = canvas.rng
    patch = canvas.patch(centre, angle, 0.5 * math.hypot(length, breadth) + 0.5)
    mask = (np.abs(patch.u) < length / 2) & (np.abs(patch.v) < breadth / 2)
    bay = breadth / max(2, round(breadth / 4.0))
    across = np.mod(patch.v + breadth / 2, bay) / bay - 0.5
    ribs = (np.mod(patch.u, 1.5) < 0.16) | (np.abs(across) > 0.46)
    glass = vary(rng, (0.62, 0.70, 0.68), 0.1)
    plants = np.asarray((0.30, 0.42, 0.26), np.float32)
    clear = np.clip(0.4 + 0.2 * canvas.texture(patch, 2.0, 2), 0, 0.8)[..., None]
    colour = (1 - clear) * np.asarray(glass, np.float32) + clear * plants
    slope_x, slope_y = patch.to_image_slope(
        np.zeros_like(patch.u), np.asarray(-1.2 * across, np.float32)
    )
    canvas.paint(
        patch,
        mask,
        np.asarray(colour, np.float32),
        light=canvas.sun.on_slope(slope_x, slope_y),
        altitude=3.0,
    )
    canvas.paint(patch, mask & ribs, (0.85, 0.87, 0.87), opacity=0.65)

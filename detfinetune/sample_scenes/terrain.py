"""The ground: materials and their colours, fields."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from detfinetune.sample_scenes.canvas import Canvas
from detfinetune.sample_scenes.noise import Colour, Floats, octave_noise, smooth_step

_GRASS: tuple[Colour, ...] = (
    (0.23, 0.33, 0.14),
    (0.31, 0.38, 0.18),
    (0.42, 0.41, 0.22),
    (0.50, 0.45, 0.29),
    (0.34, 0.33, 0.22),
    (0.19, 0.28, 0.17),
)
_SOIL: tuple[Colour, ...] = (
    (0.52, 0.42, 0.31),
    (0.58, 0.38, 0.26),
    (0.44, 0.36, 0.29),
    (0.64, 0.56, 0.45),
    (0.50, 0.47, 0.43),
    (0.38, 0.30, 0.24),
)
_ASPHALT: tuple[Colour, ...] = (
    (0.30, 0.30, 0.31),
    (0.40, 0.40, 0.40),
    (0.50, 0.49, 0.47),
    (0.44, 0.41, 0.39),
)


@dataclass(frozen=True)
class Palette:
    """Colours that go through a whole scene: its season, soil and streets."""

    grass: Colour
    weeds: Colour
    soil: Colour
    asphalt: Colour
    foliage: Colour
    leafless: float
    """Share of broad-leaved trees without leaves."""


def vary(rng: np.random.Generator, colour: Colour, spread: float) -> Colour:
    """A colour near `colour`: its brightness varies by about `spread`, its hue by less."""
    bright = 1 + rng.normal(0, spread)
    warm, green = rng.normal(0, 0.4 * spread), rng.normal(0, 0.25 * spread)
    gains = (bright + warm, bright + green, bright - warm)
    shifted = [float(np.clip(c * gain, 0.02, 0.97)) for c, gain in zip(colour, gains, strict=True)]
    return shifted[0], shifted[1], shifted[2]


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """A colour between two; `share` of the second."""
    a, b, c = (x * (1 - share) + y * share for x, y in zip(first, second, strict=True))
    return a, b, c


def draw_palette(rng: np.random.Generator) -> Palette:
    """Draw a season and a region."""
    grass = vary(rng, _GRASS[rng.integers(len(_GRASS))], 0.12)
    soil = vary(rng, _SOIL[rng.integers(len(_SOIL))], 0.12)
    winter = rng.random() < 0.15
    return Palette(
        grass=grass,
        weeds=vary(rng, mix(grass, soil, float(rng.uniform(0.1, 0.45))), 0.12),
        soil=soil,
        asphalt=vary(rng, _ASPHALT[rng.integers(len(_ASPHALT))], 0.08),
        foliage=vary(rng, mix((0.17, 0.26, 0.11), grass, float(rng.uniform(0.0, 0.5))), 0.15),
        leafless=float(rng.uniform(0.5, 0.9)) if winter else float(rng.uniform(0.0, 0.06)),
    )


def textured(colour: Colour, pattern: Floats, contrast: float) -> Floats:
    """A colour whose brightness follows a pattern of deviation 1, [..., 3]."""
    return np.asarray(
        np.clip(1 + contrast * pattern, 0.2, 2.0)[..., None] * np.asarray(colour, np.float32),
        np.float32,
    )


def paint_ground(canvas: Canvas, palette: Palette) -> None:
    """Cover the canvas with grass that wears thin here and there, or with large fields."""
    rng = canvas.rng
    # Half the points are enough for what is blurred anyway, and take a quarter of the time.
    shape = (canvas.height // 2, canvas.width // 2)
    scale = canvas.points_per_metre / 2
    broad = octave_noise(rng, shape, 45 * scale, 3)
    fine = octave_noise(rng, shape, 2.2 * scale, 3, gain=0.8)
    ground = textured(palette.grass, 0.55 * broad + fine, 0.085)
    worn = smooth_step(broad + 0.5 * fine, float(rng.uniform(0.9, 2.2)), 3.0)
    dry = mix(palette.grass, palette.soil, 0.55)
    ground += worn[..., None] * (textured(dry, fine, 0.1) - ground)
    cv2.resize(ground, (canvas.width, canvas.height), dst=canvas.colour)
    if rng.random() < 0.55:
        _paint_fields(canvas, palette)


def _paint_fields(canvas: Canvas, palette: Palette) -> None:
    """Divide the land into fields, each with its own crop and direction of rows."""
    rng, scale = canvas.rng, canvas.points_per_metre
    count = int(rng.integers(3, 7))
    lean = rng.uniform(0, math.pi)
    y, x = np.mgrid[0 : canvas.height : 4, 0 : canvas.width : 4].astype(np.float32)
    along, across = x * math.cos(lean) + y * math.sin(lean), y * math.cos(lean) - x * math.sin(lean)
    seeds = rng.uniform(-0.3, 1.3, (count, 2)) * (canvas.width, canvas.height)
    distances = [
        np.maximum(
            np.abs(along - sx * math.cos(lean) - sy * math.sin(lean)) * 0.7,
            np.abs(across - sy * math.cos(lean) + sx * math.sin(lean)),
        ).astype(np.float32)
        for sx, sy in seeds
    ]
    half = (canvas.width // 2, canvas.height // 2)
    nearest = np.argmin(np.stack([cv2.resize(d, half) for d in distances]), axis=0)
    field_map = nearest.astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    columns = np.arange(canvas.width, dtype=np.float32)
    rows = np.arange(canvas.height, dtype=np.float32)[:, None]
    grain = cv2.resize(canvas.grain, (canvas.width, canvas.height))
    for number in range(count):
        if rng.random() < 0.35:
            continue
        crop = vary(rng, mix(palette.grass, palette.soil, float(rng.uniform(0, 0.9) ** 1.5)), 0.1)
        turn = lean + rng.choice([0.0, math.pi / 2]) + rng.normal(0, 0.03)
        period = max(3.5, rng.uniform(0.7, 2.4) * scale)
        inside = field_map == number
        turns = 2 * math.pi / period
        x_phase, y_phase = columns * (turns * math.cos(turn)), rows * (turns * math.sin(turn))
        # sin(x + y) from the sines of x and of y alone
        stripes = np.sin(x_phase) * np.cos(y_phase) + np.cos(x_phase) * np.sin(y_phase)
        strength = rng.uniform(0.03, 0.09)
        texture = 1 + strength * stripes[inside] + 0.05 * grain[inside]
        canvas.colour[inside] = 0.35 * canvas.colour[inside] + 0.65 * texture[:, None] * np.asarray(
            crop, np.float32
        )

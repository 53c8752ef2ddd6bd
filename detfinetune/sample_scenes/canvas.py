"""What scenes are painted on: colour, sunlight, height and owner of every point."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from detfinetune.sample_scenes.noise import Floats, Mask, octave_noise

Point = tuple[float, float]


@dataclass(frozen=True)
class Sun:
    """The scene's one sun."""

    azimuth: float
    """Direction in the image that light comes from, radians, x to the right and y down."""

    elevation: float
    """Radians above the horizon."""

    @property
    def vector(self) -> tuple[float, float, float]:
        """Unit vector towards the sun: x, y in the image, z up."""
        flat = math.cos(self.elevation)
        return (
            flat * math.cos(self.azimuth),
            flat * math.sin(self.azimuth),
            math.sin(self.elevation),
        )

    def on_slope(self, slope_x: Floats, slope_y: Floats) -> Floats:
        """Direct light on a surface with slopes dz/dx, dz/dy; level ground gets 1."""
        x, y, z = self.vector
        facing = (z - slope_x * x - slope_y * y) / np.sqrt(1 + slope_x**2 + slope_y**2)
        return np.asarray(np.clip(facing, 0, None) / z, np.float32)


@dataclass(frozen=True)
class Patch:
    """A square piece of the scene in an object's own coordinates; may reach beyond the canvas."""

    left: int
    top: int
    u: Floats
    """Metres along the object, [side, side]."""

    v: Floats
    """Metres across the object, [side, side]."""

    angle: float
    """Angle of the u axis in the image, radians."""

    def to_image_slope(self, along_u: Floats, along_v: Floats) -> tuple[Floats, Floats]:
        """Turn slopes along u and v into slopes along the image's x and y."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return (
            np.asarray(along_u * cos - along_v * sin, np.float32),
            np.asarray(along_u * sin + along_v * cos, np.float32),
        )


@dataclass
class Instance:
    """A labelled object while its scene is painted."""

    number: int
    """Its value in the owner map, from 1."""

    category: int
    full_area: float
    """Canvas points that it covers, with those hidden or outside the image."""


@dataclass
class Canvas:
    """The scene in the making, at `SUPERSAMPLE` times the final resolution."""

    width: int
    height: int
    points_per_metre: float
    sun: Sun
    rng: np.random.Generator
    colour: Floats = field(init=False)
    """Reflectance, RGB, [height, width, 3]."""

    light: Floats = field(init=False)
    """Direct sunlight by slope, before shadows; 1 on level ground."""

    altitude: Floats = field(init=False)
    """Metres above ground of what is seen from above."""

    owner: npt.NDArray[np.int16] = field(init=False)
    """Number of the labelled instance that is seen, or 0."""

    grain: Floats = field(init=False)
    """White noise of deviation 1 at half the canvas's size."""

    instances: list[Instance] = field(default_factory=list)

    def __post_init__(self) -> None:
        shape = (self.height, self.width)
        self.colour = np.zeros((*shape, 3), np.float32)
        self.light = np.ones(shape, np.float32)
        self.altitude = np.zeros(shape, np.float32)
        self.owner = np.zeros(shape, np.int16)
        half = (self.height // 2, self.width // 2)
        self.grain = self.rng.standard_normal(half, dtype=np.float32)

    def metres(self, points: float) -> float:
        """Length in metres of a number of canvas points."""
        return points / self.points_per_metre

    def patch(self, centre: Point, angle: float, reach: float) -> Patch:
        """Coordinates around `centre` (canvas points) up to `reach` metres away."""
        half = math.ceil(reach * self.points_per_metre) + 2
        left, top = round(centre[0]) - half, round(centre[1]) - half
        axis = np.arange(2 * half, dtype=np.float32)
        x = (axis + (left + 0.5 - centre[0])) / self.points_per_metre
        y = (axis + (top + 0.5 - centre[1])) / self.points_per_metre
        cos, sin = math.cos(angle), math.sin(angle)
        u = x[None, :] * cos + y[:, None] * sin
        v = y[:, None] * cos - x[None, :] * sin
        return Patch(left, top, u.astype(np.float32), v.astype(np.float32), angle)

    def window(self, patch: Patch) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
        """Slices of the canvas and of the patch where they overlap; None when they do not."""
        side_y, side_x = patch.u.shape
        x0, x1 = max(0, patch.left), min(self.width, patch.left + side_x)
        y0, y1 = max(0, patch.top), min(self.height, patch.top + side_y)
        if x0 >= x1 or y0 >= y1:
            return None
        return (
            (slice(y0, y1), slice(x0, x1)),
            (slice(y0 - patch.top, y1 - patch.top), slice(x0 - patch.left, x1 - patch.left)),
        )

    def texture(self, patch: Patch, cell: float, octaves: int = 3) -> Floats:
        """Noise for a patch, mean 0 and deviation about 1; coarsest cells of `cell` metres."""
        points = max(1.0, cell * self.points_per_metre)
        return octave_noise(self.rng, patch.u.shape, points, octaves)

    def paint(
        self,
        patch: Patch,
        mask: Mask,
        colour: Floats | tuple[float, float, float],
        *,
        opacity: Floats | float = 1.0,
        light: Floats | float | None = None,
        altitude: Floats | float | None = None,
        owner: int | None = None,
    ) -> None:
        """Paint the masked part of a patch; None leaves a property unchanged."""
        overlap = self.window(patch)
        if overlap is None:
            return
        on_canvas, on_patch = overlap
        here = mask[on_patch]
        if not here.any():
            return
        paint = np.asarray(colour, np.float32)
        paint = paint[on_patch][here] if paint.ndim == 3 else paint
        target = self.colour[on_canvas]
        if isinstance(opacity, float) and opacity == 1.0:
            target[here] = paint
        else:
            share = opacity if isinstance(opacity, float) else opacity[on_patch][here][:, None]
            target[here] = target[here] * (1 - share) + paint * share
        for layer, value in ((self.light, light), (self.altitude, altitude)):
            if value is not None:
                layer[on_canvas][here] = (
                    value if isinstance(value, (int, float)) else value[on_patch][here]
                )
        if owner is not None:
            self.owner[on_canvas][here] = owner

    def add_instance(self, category: int, mask: Mask) -> int:
        """Register a labelled object with its whole mask; returns its number."""
        number = len(self.instances) + 1
        self.instances.append(Instance(number, category, float(mask.sum())))
        return number

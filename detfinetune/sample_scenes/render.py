"""Renders a painted canvas as a camera image."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from detfinetune.sample_scenes.canvas import Canvas, Sun
from detfinetune.sample_scenes.layout import compose_scene
from detfinetune.sample_scenes.noise import Floats, octave_noise
from detfinetune.sample_scenes.scene_labels import SceneLabel, visible_labels
from detfinetune.sample_scenes.settings import SUPERSAMPLE, SceneSettings


def render_scene(
    settings: SceneSettings, seed: int, index: int, empty: bool
) -> tuple[bytes, int, int, list[SceneLabel]]:
    """Generate a scene; the same arguments give the same bytes.

    Returns:
        The JPEG file's bytes, width and height in pixels, and the labels.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, index]))
    low, high = settings.image_sides
    width, height = (8 * int(rng.integers(low // 8, high // 8 + 1)) for _ in range(2))
    coarse = rng.random() < settings.coarse_share
    span = settings.coarse_distance if coarse else settings.ground_sample_distance
    distance = math.exp(rng.uniform(math.log(span[0]), math.log(span[1])))
    sun = Sun(
        float(rng.uniform(0, 2 * math.pi)),
        math.radians(float(rng.uniform(*settings.sun_elevation))),
    )
    canvas = Canvas(width * SUPERSAMPLE, height * SUPERSAMPLE, SUPERSAMPLE / distance, sun, rng)
    compose_scene(canvas, settings, empty)
    picture = _photograph(canvas, settings)
    quality = int(rng.integers(settings.jpeg_quality[0], settings.jpeg_quality[1] + 1))
    _, encoded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return encoded.tobytes(), width, height, visible_labels(canvas, settings)


def shadows(altitude: Floats, sun: Sun, metres_per_pixel: float) -> Floats:
    """Return 1 in shadow, 0 in the sun.

    Args:
        altitude: metres above ground, [height, width].
    """
    rise = metres_per_pixel * math.tan(sun.elevation)
    blocker = np.zeros_like(altitude)
    rows, columns = altitude.shape
    for step in range(1, min(160, math.ceil(float(altitude.max()) / rise) + 1)):
        dx = round(step * math.cos(sun.azimuth))
        dy = round(step * math.sin(sun.azimuth))
        if abs(dx) >= columns or abs(dy) >= rows:
            break
        to = (slice(max(0, -dy), rows - max(0, dy)), slice(max(0, -dx), columns - max(0, dx)))
        source = altitude[max(0, dy) : rows + min(0, dy), max(0, dx) : columns + min(0, dx)]
        np.maximum(blocker[to], source - step * rise, out=blocker[to])
    return np.asarray(blocker > altitude + 0.25, np.float32)


def _photograph(canvas: Canvas, settings: SceneSettings) -> npt.NDArray[np.uint8]:
    """Apply light, haze, optics and sensor; return an RGB image, [height, width, 3]."""
    rng = canvas.rng
    size = (canvas.width // SUPERSAMPLE, canvas.height // SUPERSAMPLE)
    altitude = cv2.resize(canvas.altitude, size, interpolation=cv2.INTER_AREA)
    shade = shadows(altitude, canvas.sun, canvas.metres(SUPERSAMPLE))
    shade = cv2.GaussianBlur(shade, (0, 0), 0.6)
    shade = cv2.resize(shade, (canvas.width, canvas.height), interpolation=cv2.INTER_LINEAR)
    sky = np.asarray((0.26, 0.29, 0.34), np.float32) * rng.uniform(0.75, 1.25)
    sunlight = np.asarray((0.78, 0.74, 0.66), np.float32) * rng.uniform(0.95, 1.15)
    lit = canvas.light * (1 - shade)
    # By channel and in place: three passes over small arrays are faster than one large copy.
    channels = cv2.split(canvas.colour)
    for channel, direct, diffuse in zip(channels, sunlight, sky, strict=True):
        channel *= lit * direct + diffuse
    picture = cv2.merge([cv2.resize(c, size, interpolation=cv2.INTER_AREA) for c in channels])
    picture *= 1 + 0.02 * canvas.grain[..., None]
    picture = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(*settings.blur)))
    veil = rng.uniform(*settings.haze) * (1 + 0.15 * octave_noise(rng, size[::-1], 200, 2))
    veil = np.clip(veil, 0, 0.5)[..., None].astype(np.float32)
    picture = picture * (1 - veil) + veil * np.asarray((0.62, 0.66, 0.70), np.float32)
    grey = picture.mean(axis=2, keepdims=True)
    picture = grey + (picture - grey) * rng.uniform(0.65, 1.2)
    cast = 1 + rng.uniform(-settings.colour_cast, settings.colour_cast, 3).astype(np.float32)
    exposure = 0.42 / max(float(picture.mean()), 0.05)
    picture = picture * cast * exposure ** rng.uniform(0.4, 0.9)
    picture = np.clip(picture, 0, 1) ** np.float32(rng.uniform(0.8, 1.1))
    grain = rng.standard_normal(picture.shape, dtype=np.float32)
    picture = picture + grain * rng.uniform(*settings.noise)
    return np.asarray(np.clip(np.rint(picture * 255), 0, 255), np.uint8)

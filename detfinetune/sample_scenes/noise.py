"""Random textures."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Colour = tuple[float, float, float]


def octave_noise(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    cell: float,
    octaves: int = 3,
    gain: float = 0.6,
    stretch: float = 1.0,
) -> Floats:
    """Smooth noise, [height, width], mean 0 and standard deviation about 1.

    Args:
        cell: size of the coarsest grain, points; each octave halves it.
        gain: strength of an octave relative to the one before.
        stretch: grain width over grain height.
    """
    height, width = shape[:2]
    total = np.zeros((height, width), np.float32)
    power, strength = 0.0, 1.0
    for _ in range(octaves):
        rows, columns = int(height / cell) + 3, int(width / (cell * stretch)) + 3
        grid = rng.standard_normal((rows, columns), dtype=np.float32)
        wide = cv2.resize(
            grid,
            (int(columns * cell * stretch) + 1, int(rows * cell) + 1),
            interpolation=cv2.INTER_LINEAR if cell > 2 else cv2.INTER_NEAREST,
        )
        top, left = (wide.shape[0] - height) // 2, (wide.shape[1] - width) // 2
        total += strength * wide[top : top + height, left : left + width]
        power += (strength**2) * (0.45 if cell > 2 else 1.0)
        strength *= gain
        cell = max(1.0, cell / 2)
    return np.asarray(total / np.sqrt(power), np.float32)


def smooth_step(values: Floats, low: float, high: float) -> Floats:
    """0 below `low`, 1 above `high`, smooth in between."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)

"""Every number that says how hard the sample scenes are, in one place."""

from __future__ import annotations

from dataclasses import dataclass

CLASSES = ("construction_site", "residential_building", "undeveloped_land")
"""Names in the order of their ids."""

CONSTRUCTION_SITE, RESIDENTIAL_BUILDING, UNDEVELOPED_LAND = range(3)

VERSION = 1
"""Raise it with any change that alters the files; folders of another version are not reused."""

SUPERSAMPLE = 2
"""Scenes are painted at this many times the final resolution and averaged down."""


@dataclass(frozen=True)
class SceneSettings:
    """What a scene holds and how well it can be seen; lengths in metres unless said otherwise."""

    image_sides: tuple[int, int] = (416, 512)
    """Range of width and of height, pixels; multiples of 8 are drawn from it."""

    ground_sample_distance: tuple[float, float] = (0.22, 0.42)
    """Metres on the ground that one pixel covers, in most scenes."""

    coarse_share: float = 0.12
    """Share of scenes seen from higher up, whose houses come out at 8 to 30 pixels."""

    coarse_distance: tuple[float, float] = (0.45, 0.9)
    """Metres a pixel in those scenes."""

    empty_share: float = 0.08
    """Share of scenes without any labelled object (true negatives)."""

    objects: tuple[int, int] = (8, 14)
    """Range of the number of objects aimed at in the other scenes; the room limits it."""

    mix: tuple[float, float, float] = (0.25, 0.48, 0.27)
    """Mean share of each class among the objects; each scene strays from it."""

    parcel_sides: tuple[float, float] = (16.0, 44.0)
    """Sides of the parcels of sites, undeveloped land and decoys."""

    decoy_share: float = 0.2
    """Share of parcels that hold something that looks like a class but is none."""

    trees: tuple[float, float] = (8.0, 34.0)
    """Free-standing trees for each hectare."""

    tree_over_roof: float = 0.45
    """Probability that a tree stands so close to a house that it hides part of the roof."""

    min_tree_visibility: float = 0.6
    """Trees do not grow where they would hide more of an object than leaves this share."""

    min_visibility: float = 0.35
    """Objects of which less is seen (hidden, or outside the image) are not labelled."""

    side_limits: tuple[float, float] = (8.0, 200.0)
    """Shortest and longest side of a labelled box, pixels."""

    sun_elevation: tuple[float, float] = (32.0, 62.0)
    """Degrees above the horizon."""

    haze: tuple[float, float] = (0.0, 0.28)
    """Share of each pixel's light that is haze."""

    blur: tuple[float, float] = (0.3, 0.85)
    """Standard deviation of the optics' blur, final pixels."""

    noise: tuple[float, float] = (0.004, 0.022)
    """Standard deviation of the sensor's noise; the full scale is 1."""

    colour_cast: float = 0.06
    """Largest gain or loss of a colour channel."""

    jpeg_quality: tuple[int, int] = (70, 93)


DEFAULT_SETTINGS = SceneSettings()

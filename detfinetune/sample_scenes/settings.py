"""All numbers that determine how difficult the sample scenes are."""

from __future__ import annotations

from dataclasses import dataclass

CLASSES = ("construction_site", "residential_building", "undeveloped_land")
"""Names in the order of their ids."""

CONSTRUCTION_SITE, RESIDENTIAL_BUILDING, UNDEVELOPED_LAND = range(3)

VERSION = 1
"""Increase it with any change of the files; folders of another version are not reused."""

SUPERSAMPLE = 2
"""Scenes are painted at this multiple of the final resolution, then averaged."""


@dataclass(frozen=True)
class SceneSettings:
    """Content and visibility of scenes; lengths in metres unless noted otherwise."""

    image_sides: tuple[int, int] = (416, 512)
    """Range of width and height in pixels; multiples of 8 are drawn."""

    ground_sample_distance: tuple[float, float] = (0.22, 0.42)
    """Metres per pixel in most scenes."""

    coarse_share: float = 0.12
    """Share of scenes at a coarser resolution, with houses of 8 to 30 pixels."""

    coarse_distance: tuple[float, float] = (0.45, 0.9)
    """Metres per pixel in those scenes."""

    empty_share: float = 0.08
    """Share of scenes without labelled objects (negatives)."""

    objects: tuple[int, int] = (8, 14)
    """Range of the target number of objects in the other scenes; limited by free space."""

    mix: tuple[float, float, float] = (0.25, 0.48, 0.27)
    """Mean share of each class among the objects; scenes vary around it."""

    parcel_sides: tuple[float, float] = (16.0, 44.0)
    """Sides of the parcels of sites, undeveloped land and decoys."""

    decoy_share: float = 0.2
    """Share of parcels with something that looks like an object of a class but is not."""

    trees: tuple[float, float] = (8.0, 34.0)
    """Free-standing trees per hectare."""

    tree_over_roof: float = 0.45
    """Probability that a tree near a house hides part of the roof."""

    min_tree_visibility: float = 0.6
    """Trees leave at least this share of an object visible."""

    min_visibility: float = 0.35
    """Objects with a smaller visible share (hidden, or outside the image) are not labelled."""

    side_limits: tuple[float, float] = (8.0, 200.0)
    """Minimum and maximum side of a labelled box, pixels."""

    sun_elevation: tuple[float, float] = (32.0, 62.0)
    """Degrees above the horizon."""

    haze: tuple[float, float] = (0.0, 0.28)
    """Share of each pixel's light that is haze."""

    blur: tuple[float, float] = (0.3, 0.85)
    """Standard deviation of the optical blur, final pixels."""

    noise: tuple[float, float] = (0.004, 0.022)
    """Standard deviation of the sensor noise; full scale is 1."""

    colour_cast: float = 0.06
    """Maximum gain or loss of a colour channel."""

    jpeg_quality: tuple[int, int] = (70, 93)


DEFAULT_SETTINGS = SceneSettings()

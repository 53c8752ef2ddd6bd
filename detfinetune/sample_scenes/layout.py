"""Places roads, parcels along them, and trees."""

from __future__ import annotations

import math

import cv2
import numpy as np

from detfinetune.sample_scenes.canvas import Canvas, Point
from detfinetune.sample_scenes.decoys import DECOYS, paint_decoy
from detfinetune.sample_scenes.fallow import paint_fallow
from detfinetune.sample_scenes.homes import paint_home
from detfinetune.sample_scenes.noise import Mask
from detfinetune.sample_scenes.parcels import Parcel
from detfinetune.sample_scenes.roads import (
    Road,
    branch_road,
    draw_road,
    offset_line,
    paint_roads,
)
from detfinetune.sample_scenes.settings import (
    CONSTRUCTION_SITE,
    RESIDENTIAL_BUILDING,
    SUPERSAMPLE,
    SceneSettings,
)
from detfinetune.sample_scenes.sites import paint_site
from detfinetune.sample_scenes.terrain import Palette, draw_palette, paint_ground
from detfinetune.sample_scenes.vegetation import crown_mask, paint_tree
from detfinetune.sample_scenes.vehicles import paint_car, paint_truck

_GRID = 4
"""Free room is tracked on a grid of this many canvas points."""


_ATTEMPTS = 110
"""Maximum attempts to place a parcel."""


class Room:
    """Which land is still free."""

    def __init__(self, canvas: Canvas) -> None:
        self._taken = np.zeros(
            (math.ceil(canvas.height / _GRID), math.ceil(canvas.width / _GRID)), np.uint8
        )

    def take_mask(self, mask: Mask) -> None:
        """Mark what a canvas-sized mask covers."""
        small = mask[::_GRID, ::_GRID]
        self._taken[: small.shape[0], : small.shape[1]] |= small.astype(np.uint8)

    def take(self, canvas: Canvas, parcel: Parcel, share: float) -> bool:
        """Take a parcel's land if it is free and at least `share` of it inside the image."""
        area = np.zeros_like(self._taken)
        corners = [
            parcel.point(canvas, su * (parcel.length / 2 + 0.5), sv * (parcel.depth / 2 + 0.5))
            for su, sv in ((-1, -1), (1, -1), (1, 1), (-1, 1))
        ]
        corner_grid = np.round(np.array(corners) / _GRID).astype(np.int32)
        cv2.fillConvexPoly(area, corner_grid, 1)
        inside = int(area.sum())
        whole = parcel.length * parcel.depth * (canvas.points_per_metre / _GRID) ** 2
        if inside < share * whole or np.any(area & self._taken):
            return False
        self._taken |= area
        return True

    def free(self, at: Point) -> bool:
        """Whether a canvas point is free."""
        row, column = int(at[1] // _GRID), int(at[0] // _GRID)
        return not self._taken[row, column]


def compose_scene(canvas: Canvas, settings: SceneSettings, empty: bool) -> None:
    """Paint a whole scene; without labelled objects when `empty`."""
    palette = draw_palette(canvas.rng)
    paint_ground(canvas, palette)
    roads = _draw_roads(canvas)
    room = Room(canvas)
    room.take_mask(paint_roads(canvas, palette, roads))
    homes = _settle(canvas, settings, palette, roads, room, empty)
    _paint_traffic(canvas, roads)
    for number, parcel in homes:
        if canvas.rng.random() < settings.tree_over_roof:
            _shade_home(canvas, settings, palette, number, parcel)
    _paint_trees(canvas, settings, palette, room)


def _draw_roads(canvas: Canvas) -> list[Road]:
    rng = canvas.rng
    through = (
        float(rng.uniform(0.3, 0.7) * canvas.width),
        float(rng.uniform(0.3, 0.7) * canvas.height),
    )
    main = draw_road(canvas, through, float(rng.uniform(0, math.pi)), bool(rng.random() < 0.9))
    roads = [main]
    if rng.random() < 0.65:
        roads.append(branch_road(canvas, main))
    return roads


def _parcel_places(canvas: Canvas, road: Road) -> list[tuple[Point, float, float]]:
    """Kerb points with the direction of the road (the parcel lies to its right) and gap."""
    places = []
    points = road.points.astype(float)
    headings = np.arctan2(*np.gradient(points, axis=0).T[::-1])
    margin = 12 * canvas.points_per_metre
    for index in range(len(points)):
        x, y = points[index]
        if -margin < x < canvas.width + margin and -margin < y < canvas.height + margin:
            for side in (0.0, math.pi):
                places.append(
                    ((float(x), float(y)), float(headings[index]) + side, road.half_width + 2.0)
                )
    return places


def _settle(
    canvas: Canvas,
    settings: SceneSettings,
    palette: Palette,
    roads: list[Road],
    room: Room,
    empty: bool,
) -> list[tuple[int, Parcel]]:
    """Fill parcels along the roads, second rows behind them; returns the homes."""
    rng = canvas.rng
    mix = rng.dirichlet(np.array(settings.mix) * 7.0)
    aim = int(rng.integers(settings.objects[0], settings.objects[1] + 1))
    quota = np.zeros(3, int) if empty else rng.multinomial(aim, mix)
    jobs: list[int | str] = [int(c) for c in np.repeat(np.arange(3), quota)]
    decoys = max(1, round(aim * settings.decoy_share / (1 - settings.decoy_share)))
    jobs += [str(rng.choice(DECOYS)) for _ in range(int(rng.poisson(decoys)) + 2 * int(empty))]
    # Large parcels first: small ones still fit where those leave room.
    order = sorted(rng.permutation(len(jobs)), key=lambda i: jobs[i] == RESIDENTIAL_BUILDING)
    places = [place for road in roads for place in _parcel_places(canvas, road)]
    homes: list[tuple[int, Parcel]] = []
    for index in order:
        job = jobs[index]
        near = homes[-1][1] if homes and job == RESIDENTIAL_BUILDING else None
        parcel = _find_parcel(canvas, settings, places, room, job, near)
        if parcel is None:
            continue
        if job == RESIDENTIAL_BUILDING:
            homes.append((paint_home(canvas, palette, parcel), parcel))
        elif job == CONSTRUCTION_SITE:
            paint_site(canvas, palette, parcel)
        elif isinstance(job, str):
            paint_decoy(canvas, palette, parcel, job)
        else:
            paint_fallow(canvas, palette, parcel)
    return homes


def _find_parcel(
    canvas: Canvas,
    settings: SceneSettings,
    places: list[tuple[Point, float, float]],
    room: Room,
    job: int | str,
    neighbour: Parcel | None,
) -> Parcel | None:
    """Return a free parcel of a suitable size, or None if there is no room.

    A house is first placed beside its `neighbour`, so that houses form rows.
    """
    rng = canvas.rng
    metre = canvas.points_per_metre
    share = 0.42 if rng.random() < 0.25 else 0.8
    for attempt in range(_ATTEMPTS):
        (x, y), heading, gap = places[int(rng.integers(len(places)))]
        length, depth = _draw_size(canvas, settings, job, heading, shrink=0.99**attempt)
        if neighbour is not None and attempt < 4:
            depth = neighbour.depth
            apart = (neighbour.length + length) / 2 + 1.1
            centre = neighbour.point(canvas, apart * (1 if attempt % 2 else -1), 0.0)
            parcel = Parcel(centre, neighbour.angle, length, depth)
        else:
            back = gap + depth / 2 + (rng.uniform(20, 55) if rng.random() < 0.4 else 0.0)
            centre = (x - math.sin(heading) * back * metre, y + math.cos(heading) * back * metre)
            parcel = Parcel(centre, heading, length, depth)
        if room.take(canvas, parcel, share):
            return parcel
    return None


def _draw_size(
    canvas: Canvas, settings: SceneSettings, job: int | str, heading: float, shrink: float
) -> tuple[float, float]:
    """Return length and depth of a parcel in metres; its bounding box keeps the longest side."""
    rng = canvas.rng
    if job == RESIDENTIAL_BUILDING:
        return float(rng.uniform(16, 25)), float(rng.uniform(20, 30))
    low, high = settings.parcel_sides
    length, depth = (max(0.8 * low, float(rng.uniform(low, high)) * shrink) for _ in range(2))
    cos, sin = abs(math.cos(heading)), abs(math.sin(heading))
    bound = max(length * cos + depth * sin, length * sin + depth * cos)
    longest = 0.97 * settings.side_limits[1] * canvas.metres(SUPERSAMPLE)
    factor = min(1.0, longest / bound)
    return length * factor, depth * factor


def _paint_traffic(canvas: Canvas, roads: list[Road]) -> None:
    rng = canvas.rng
    for road in roads:
        for _ in range(int(rng.poisson(3.0 if road.paved else 0.4))):
            index = int(rng.integers(1, len(road.points) - 1))
            side = int(rng.choice([-1, 1]))
            line = offset_line(road.points, side * 0.48 * road.half_width * canvas.points_per_metre)
            ahead = (line[index + 1] - line[index]) * side
            at = (float(line[index, 0]), float(line[index, 1]))
            if 0 <= at[0] < canvas.width and 0 <= at[1] < canvas.height:
                paint = paint_truck if rng.random() < 0.1 else paint_car
                paint(canvas, at, math.atan2(ahead[1], ahead[0]))


def _shade_home(
    canvas: Canvas, settings: SceneSettings, palette: Palette, number: int, parcel: Parcel
) -> None:
    """Let a tree reach over the edge of a roof."""
    rng = canvas.rng
    rows, columns = np.nonzero(canvas.owner == number)
    if not len(rows):
        return
    pick = int(rng.integers(len(rows)))
    middle = float(columns.mean()), float(rows.mean())
    edge = float(columns[pick]), float(rows[pick])
    push = rng.uniform(1.3, 1.9)
    at = (middle[0] + push * (edge[0] - middle[0]), middle[1] + push * (edge[1] - middle[1]))
    _plant(canvas, settings, palette, at, float(rng.uniform(1.8, 4.2)))


def _plant(
    canvas: Canvas, settings: SceneSettings, palette: Palette, at: Point, radius: float
) -> None:
    """Plant a tree unless it would hide too much of an object or cut it in two."""
    crown = crown_mask(canvas, at, radius)
    patch, mask, _ = crown
    overlap = canvas.window(patch)
    if overlap is None:
        return
    under = canvas.owner[overlap[0]]
    hidden = np.unique(under[mask[overlap[1]]])
    for number in hidden[hidden > 0]:
        left = canvas.owner == number
        left[overlap[0]] &= ~mask[overlap[1]]
        seen = int(left.sum())
        whole = canvas.instances[int(number) - 1].full_area
        parts = cv2.connectedComponentsWithStats(left.astype(np.uint8), connectivity=8)
        largest = int(parts[2][1:, cv2.CC_STAT_AREA].max()) if parts[0] > 1 else 0
        if seen < settings.min_tree_visibility * whole or largest < 0.97 * seen:
            return
    paint_tree(canvas, palette, at, radius, owner=0, crown=crown)


def _paint_trees(canvas: Canvas, settings: SceneSettings, palette: Palette, room: Room) -> None:
    """Single trees and woods on free land and at the edges of parcels."""
    rng = canvas.rng
    hectares = canvas.metres(canvas.width) * canvas.metres(canvas.height) / 1e4
    count = min(int(rng.poisson(hectares * rng.uniform(*settings.trees))), 110)
    woods = [
        (rng.uniform(0, canvas.width), rng.uniform(0, canvas.height), rng.uniform(6, 18))
        for _ in range(int(rng.integers(0, 3)))
    ]
    for _ in range(count):
        at = float(rng.uniform(0, canvas.width)), float(rng.uniform(0, canvas.height))
        if room.free(at):
            paint_tree(canvas, palette, at, float(rng.uniform(1.2, 4.0)))
    for x, y, spread in woods:
        for _ in range(int(spread * 2)):
            dx, dy = rng.normal(0, spread * canvas.points_per_metre * 0.6, 2)
            at = float(x + dx), float(y + dy)
            inside = 0 <= at[0] < canvas.width and 0 <= at[1] < canvas.height
            if inside and room.free(at):
                paint_tree(canvas, palette, at, float(rng.uniform(1.8, 4.2)))

"""
Reading polygons from GeoJSON (RFC 7946) into regions that lie between longitudes -180 and 180.

The RFC asks for shapes that cross the antimeridian to be cut there (3.1.9); many files do not. So a ring may also just jump
from 179 to -179 or run on to 181: an edge of more than 180 degrees is read as the short way round. Only an edge of exactly
360 degrees, from -180 to 180, is what it says: cut shapes run along a pole like that. A ring that goes round the globe
without closing encloses the pole it is nearer to.
"""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import shapely
from shapely import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from jobs.geo import BadPlace, Region

MAX_POSITIONS = 100_000

_WORLD = shapely.box(-180, -90, 180, 90)

type_names = ("Polygon", "MultiPolygon")


class BadGeometry(BadPlace):
    """This geometry is not a usable polygon."""


def read_region(geojson: Mapping[str, Any]) -> Region:
    """
    The region of a GeoJSON Polygon, MultiPolygon or Feature of one, repaired where it crosses itself.

    :raises BadGeometry: another type, open or too short rings, positions that are no numbers or off the globe, no surface
    """
    geometry = geojson.get("geometry") if geojson.get("type") == "Feature" else geojson
    if not isinstance(geometry, Mapping) or geometry.get("type") not in type_names:
        found = geometry.get("type") if isinstance(geometry, Mapping) else type(geometry).__name__
        raise BadGeometry(f"The geometry must be a Polygon or MultiPolygon, not {found}.")
    coordinates = geometry.get("coordinates")
    polygons = [coordinates] if geometry["type"] == "Polygon" else coordinates
    if not isinstance(polygons, list) or not polygons:
        raise BadGeometry("The geometry has no coordinates.")
    shape = _polygons(shapely.union_all([_polygon(rings) for rings in polygons]))
    if shape.area == 0:
        raise BadGeometry("The polygon encloses nothing.")
    if shapely.count_coordinates(shape) > MAX_POSITIONS:
        raise BadGeometry(f"The polygon has more than {MAX_POSITIONS} positions. Simplify it.", maximum=MAX_POSITIONS)
    return Region(shape)


def write_region(region: Region) -> dict[str, Any]:
    """The region as a GeoJSON MultiPolygon, cut at the antimeridian."""
    polygons = [[_positions(ring) for ring in (polygon.exterior, *polygon.interiors)] for polygon in region.shape.geoms]
    return {"type": "MultiPolygon", "coordinates": polygons}


def restore_region(written: Mapping[str, Any]) -> Region:
    """The region that `write_region` wrote. Several times faster than reading: it was checked and repaired then."""
    return Region(MultiPolygon([Polygon(shell, holes) for shell, *holes in written["coordinates"]]))


def _positions(ring: BaseGeometry) -> list[list[float]]:
    return [[x, y] for x, y in ring.coords]


def _polygon(rings: Any) -> BaseGeometry:
    if not isinstance(rings, list) or not rings:
        raise BadGeometry("A polygon has no rings.")
    shell, *holes = [_enclosed(_read_ring(ring)) for ring in rings]
    return shapely.difference(shell, shapely.union_all(holes)) if holes else shell


def _read_ring(ring: Any) -> list[tuple[float, float]]:
    if not isinstance(ring, list) or len(ring) < 4:
        raise BadGeometry("A ring needs four positions or more, the last equal to the first.")
    positions = [_read_position(position) for position in ring]
    if positions[0] != positions[-1]:
        raise BadGeometry(f"A ring is not closed: it begins at {list(positions[0])} and ends at {list(positions[-1])}.")
    return positions


def _read_position(position: Any) -> tuple[float, float]:
    if not isinstance(position, list) or len(position) < 2 or not all(_is_number(n) for n in position[:2]):
        raise BadGeometry(f"{str(position)[:60]} is not a position: [longitude, latitude] in degrees.")
    longitude, latitude = position[:2]
    if abs(latitude) > 90:
        raise BadGeometry(f"Latitude {latitude} is off the globe; GeoJSON puts longitude first. Are they swapped?")
    if abs(longitude) > 360:
        raise BadGeometry(
            f"Longitude {longitude} is off the globe. Are the coordinates projected? They must be degrees."
        )
    return float(longitude), float(latitude)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _enclosed(ring: list[tuple[float, float]]) -> BaseGeometry:
    """What the ring encloses, as polygons within longitudes -180 to 180."""
    path = _unrolled(ring)
    if abs(path[-1][0] - path[0][0]) > 180:
        pole = math.copysign(90, sum(latitude for _, latitude in path))
        path += [(path[-1][0], pole), (path[0][0], pole), path[0]]
    flat = shapely.make_valid(Polygon(path))
    west, _, east, _ = flat.bounds
    turns = range(math.floor((west + 180) / 360), math.floor((east + 180) / 360) + 1)
    moved = (shapely.transform(flat, lambda xy, turn=turn: xy - (360 * turn, 0)) for turn in turns)
    return _polygons(shapely.union_all([shapely.intersection(_WORLD, piece) for piece in moved]))


def _unrolled(ring: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The ring with longitudes running on past 180 wherever an edge goes round the back of the globe."""
    path = [ring[0]]
    for (here, _), (there, latitude) in pairwise(ring):
        step = there - here
        if abs(step) > 180 and abs(step) != 360:
            step -= math.copysign(360, step)
        path.append((path[-1][0] + step, latitude))
    return path


def _polygons(shape: BaseGeometry) -> MultiPolygon:
    """Only the surfaces: repair and cutting leave lines and points behind."""
    parts = [part for part in shapely.get_parts(shapely.make_valid(shape)) if part.geom_type in type_names]
    return MultiPolygon([polygon for part in parts for polygon in shapely.get_parts(part)])

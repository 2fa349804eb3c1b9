"""
Geometry on the globe: points, discs, regions, the area a job asks for, and how far apart two points are.

The Earth is a sphere here. Against the WGS 84 ellipsoid a great-circle distance is wrong by up to 0.5 %, less than a phone's
fix at the radii jobs use, and the database computes the same formula (`distance_km_sql`), so feed and gates agree.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import MultiPolygon
from sqlalchemy import ColumnElement, Float, SQLColumnExpression, bindparam, func

from infra.errors import Invalid

# Authalic radius (a sphere of the ellipsoid's surface): Moritz, "Geodetic Reference System 1980", R2; the one H3 uses too.
EARTH_RADIUS_KM = 6371.007180918475

MIN_RADIUS_KM = 0.01
MAX_RADIUS_KM = 2_000.0


class BadPlace(Invalid):
    """This place does not work."""


@dataclass(frozen=True, slots=True)
class Point:
    """A position in degrees, WGS 84."""

    latitude: float
    longitude: float

    def __post_init__(self) -> None:
        _require("latitude", self.latitude, -90, 90, "degrees")
        _require("longitude", self.longitude, -180, 180, "degrees")


@dataclass(frozen=True, slots=True)
class Disc:
    """All points within a great-circle distance of the centre, the rim included."""

    center: Point
    radius_km: float

    def __post_init__(self) -> None:
        _require("radius_km", self.radius_km, MIN_RADIUS_KM, MAX_RADIUS_KM, "kilometres")


@dataclass(frozen=True)
class Region:
    """
    Polygons in degrees, x is longitude, none crossing the antimeridian, as `jobs.geojson.read_region` makes them. Edges are
    straight in longitude and latitude (RFC 7946, 3.1.1), not great circles; the rim belongs to the region.
    """

    shape: MultiPolygon

    def __post_init__(self) -> None:
        shapely.prepare(self.shape)
        # GEOS builds the index on first use, which two threads sharing this region must not do at once.
        shapely.intersects_xy(self.shape, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Area:
    """Where a job is: one shape, or two that must both hold (a city and a radius)."""

    shapes: tuple[Disc | Region, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.shapes) <= 2:
            raise ValueError("An area has one shape or two.")


def distance_km(a: Point, b: Point) -> float:
    """
    Great-circle distance by the haversine formula (R. W. Sinnott, "Virtues of the Haversine", Sky and Telescope 68, 1984,
    p. 159). Exact to millimetres at street scale and at the poles, to about 0.2 m at the antipodes.

    `h3.great_circle_distance` computes the same but answers NaN for several percent of antipodal pairs (4.5.0).
    """
    phi_a, phi_b = math.radians(a.latitude), math.radians(b.latitude)
    # The sine is squared, so going the long way round the antimeridian gives the same.
    half_dlat, half_dlon = (phi_b - phi_a) / 2, math.radians(b.longitude - a.longitude) / 2
    h = math.sin(half_dlat) ** 2 + math.cos(phi_a) * math.cos(phi_b) * math.sin(half_dlon) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(min(1.0, h)))


def distance_km_sql(
    latitude: SQLColumnExpression[Any], longitude: SQLColumnExpression[Any], here: Point | None = None
) -> ColumnElement[float]:
    """
    `distance_km` in PostgreSQL's own functions, from a point to two `double precision` columns in degrees.

    :param here: None leaves it to the statement's parameters `latitude` and `longitude`
    """
    here_lat = bindparam("latitude", here.latitude if here else None, Float(53), unique=here is not None)
    here_lon = bindparam("longitude", here.longitude if here else None, Float(53), unique=here is not None)
    across = func.power(func.sin(func.radians(longitude - here_lon) / 2), 2)
    h = (
        func.power(func.sin(func.radians(latitude - here_lat) / 2), 2)
        + func.cos(func.radians(here_lat)) * func.cos(func.radians(latitude)) * across
    )
    distance: ColumnElement[float] = 2 * EARTH_RADIUS_KM * func.asin(func.sqrt(func.least(1.0, h)), type_=Float(53))
    return distance


def contains(area: Area, point: Point) -> bool:
    """Whether the point is in every shape of the area: the exact check that follows a look-up by cells."""
    return all(shape_contains(shape, point) for shape in area.shapes)


def shape_contains(shape: Disc | Region, point: Point) -> bool:
    """Whether the point is in the disc or region."""
    if isinstance(shape, Disc):
        return distance_km(shape.center, point) <= shape.radius_km
    return _region_contains(shape.shape, point)


def _region_contains(shape: MultiPolygon, point: Point) -> bool:
    if abs(point.latitude) == 90:  # one point, every longitude
        _, south, _, north = shape.bounds
        return bool(point.latitude in (south, north))
    longitudes = (-180.0, 180.0) if abs(point.longitude) == 180 else (point.longitude,)
    return any(shapely.intersects_xy(shape, longitude, point.latitude) for longitude in longitudes)


def center(area: Area) -> Point:
    """The point a feed shows the distance to: the disc's centre, or a point well inside the region."""
    for shape in area.shapes:
        if isinstance(shape, Disc):
            return shape.center
    region = area.shapes[0]
    assert isinstance(region, Region)
    inside = region.shape.representative_point()
    return Point(inside.y, inside.x)


def surface_km2(region: Region) -> float:
    """Surface of the region, by Lambert's cylindrical equal-area projection (J. H. Lambert, 1772; sphere)."""
    flat = shapely.transform(region.shape, _equal_area)
    return float(flat.area)


def _equal_area(degrees: NDArray[np.float64]) -> NDArray[np.float64]:
    longitude, latitude = np.radians(degrees).T
    return EARTH_RADIUS_KM * np.column_stack([longitude, np.sin(latitude)])


def _require(field: str, value: float, least: float, most: float, unit: str) -> None:
    if not least <= value <= most:  # NaN fails too
        raise BadPlace(
            f"{field} must be between {least:g} and {most:g} {unit}, not {value}.",
            field=field,
            minimum=least,
            maximum=most,
        )


def around(point: Point, km: float) -> list[Point]:
    """Eight points at this great-circle distance, from north clockwise; none for no distance (Williams, Aviation Formulary)."""
    if km <= 0:
        return []
    latitude, longitude, angle = math.radians(point.latitude), math.radians(point.longitude), km / EARTH_RADIUS_KM
    points = []
    for bearing in (math.radians(45 * step) for step in range(8)):
        sine = math.sin(latitude) * math.cos(angle) + math.cos(latitude) * math.sin(angle) * math.cos(bearing)
        north = math.asin(max(-1.0, min(1.0, sine)))
        east = math.atan2(
            math.sin(bearing) * math.sin(angle) * math.cos(latitude),
            math.cos(angle) - math.sin(latitude) * math.sin(north),
        )
        points.append(Point(math.degrees(north), (math.degrees(longitude + east) + 540) % 360 - 180))
    return points

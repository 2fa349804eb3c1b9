"""Points, distance, and whether an area contains a point."""

import math

import h3.api.basic_int as h3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Float, column, select, values
from sqlalchemy.orm import Session

from jobs.geo import (
    EARTH_RADIUS_KM,
    Area,
    BadPlace,
    Disc,
    Point,
    center,
    contains,
    distance_km,
    distance_km_sql,
    surface_km2,
)
from jobs.geojson import read_region

AUSTIN = Point(30.26715, -97.74306)
HALF_WAY_ROUND_KM = math.pi * EARTH_RADIUS_KM

latitudes = st.floats(-90, 90) | st.sampled_from([-90.0, 90.0, 0.0, 89.9999])
longitudes = st.floats(-180, 180) | st.sampled_from([-180.0, 180.0, 179.9999])
points = st.builds(Point, latitudes, longitudes)
radii = st.floats(math.log(0.01), math.log(2_000)).map(math.exp).map(lambda km: min(max(km, 0.01), 2_000))


def go(start: Point, bearing: float, km: float) -> Point:
    """The point at that bearing (radians) and distance, by vectors: another way than the haversine."""
    phi, lam, angle = math.radians(start.latitude), math.radians(start.longitude), km / EARTH_RADIUS_KM
    up = (math.cos(phi) * math.cos(lam), math.cos(phi) * math.sin(lam), math.sin(phi))
    north = (-math.sin(phi) * math.cos(lam), -math.sin(phi) * math.sin(lam), math.cos(phi))
    east = (-math.sin(lam), math.cos(lam), 0.0)
    x, y, z = (
        math.cos(angle) * u + math.sin(angle) * (math.cos(bearing) * n + math.sin(bearing) * e)
        for u, n, e in zip(up, north, east, strict=True)
    )
    return Point(math.degrees(math.atan2(z, math.hypot(x, y))), math.degrees(math.atan2(y, x)))


@pytest.mark.parametrize(
    ("latitude", "longitude", "field", "limit"),
    [(90.1, 0, "latitude", 90), (-91, 0, "latitude", 90), (0, 180.5, "longitude", 180), (math.nan, 0, "latitude", 90)],
)
def test_a_point_off_the_globe_is_refused_with_field_and_limit(
    latitude: float, longitude: float, field: str, limit: int
) -> None:
    with pytest.raises(BadPlace, match=field) as refused:
        Point(latitude, longitude)
    assert str(limit) in str(refused.value)
    assert refused.value.members["field"] == field


@pytest.mark.parametrize("radius_km", [0, 0.009, -5, 2_000.1, math.inf, math.nan])
def test_a_radius_outside_its_limits_is_refused(radius_km: float) -> None:
    with pytest.raises(BadPlace, match=r"radius_km must be between 0.01 and 2000 kilometres"):
        Disc(AUSTIN, radius_km)


def test_known_distances() -> None:
    new_york, london = Point(40.71427, -74.00597), Point(51.50853, -0.12574)
    assert distance_km(new_york, london) == pytest.approx(5570, abs=2)
    assert distance_km(Point(0, 179.5), Point(0, -179.5)) == pytest.approx(HALF_WAY_ROUND_KM / 180, rel=1e-9)
    assert distance_km(Point(90, 0), Point(-90, 77)) == pytest.approx(HALF_WAY_ROUND_KM, rel=1e-9)
    assert distance_km(Point(90, 0), Point(90, 123)) == pytest.approx(0, abs=1e-9)


@given(points, points)
def test_distance_agrees_with_h3(a: Point, b: Point) -> None:
    theirs = h3.great_circle_distance((a.latitude, a.longitude), (b.latitude, b.longitude))
    if not math.isnan(theirs):  # theirs is for antipodes
        assert distance_km(a, b) == pytest.approx(theirs, rel=1e-9, abs=1e-3)


@given(points)
def test_the_antipode_is_half_way_round(point: Point) -> None:
    antipode = Point(-point.latitude, point.longitude - math.copysign(180, point.longitude))
    assert distance_km(point, antipode) == pytest.approx(HALF_WAY_ROUND_KM, abs=1e-3)


@given(points, radii, st.floats(0, 2 * math.pi), st.floats(0, 2))
def test_a_disc_contains_what_lies_within_its_radius(
    start: Point, radius_km: float, bearing: float, ratio: float
) -> None:
    distance = radius_km * ratio
    assert distance_km(start, go(start, bearing, distance)) == pytest.approx(distance, rel=1e-6, abs=1e-5)
    if abs(distance - radius_km) > 1e-5:
        assert contains(Area((Disc(start, radius_km),)), go(start, bearing, distance)) == (distance < radius_km)


def test_a_disc_reaches_over_the_antimeridian_and_the_poles() -> None:
    over_the_line = Area((Disc(Point(-17.7, 179.9), 50),))
    assert contains(over_the_line, Point(-17.7, -179.8))
    assert not contains(over_the_line, Point(-17.7, -179.0))
    for pole in (90, -90):
        around_the_pole = Area((Disc(Point(math.copysign(89.8, pole), 10), 50),))
        assert contains(around_the_pole, Point(pole, -77))
        assert contains(around_the_pole, Point(math.copysign(89.9, pole), -170))
        assert not contains(around_the_pole, Point(math.copysign(89.0, pole), -170))


def test_two_shapes_must_both_hold() -> None:
    both = Area((Disc(Point(0, 0), 100), Disc(Point(0, 1), 100)))
    assert contains(both, Point(0, 0.5))
    assert not contains(both, Point(0, -0.5))
    assert not contains(both, Point(0, 1.5))


def test_an_area_has_one_shape_or_two() -> None:
    with pytest.raises(ValueError, match="one shape or two"):
        Area(())


def test_the_centre_is_the_disc_s_or_inside_the_region() -> None:
    horseshoe = [[0, 0], [9, 0], [9, 9], [6, 9], [6, 3], [3, 3], [3, 9], [0, 9], [0, 0]]
    region = read_region({"type": "Polygon", "coordinates": [horseshoe]})
    assert contains(Area((region,)), center(Area((region,))))
    assert center(Area((region, Disc(AUSTIN, 5)))) == AUSTIN


def test_surface_of_an_eighth_of_the_globe() -> None:
    eighth = read_region({"type": "Polygon", "coordinates": [[[0, 0], [90, 0], [90, 90], [0, 90], [0, 0]]]})
    assert surface_km2(eighth) == pytest.approx(4 * math.pi * EARTH_RADIUS_KM**2 / 8, rel=1e-9)


def test_the_database_measures_the_same_distance(session: Session) -> None:
    there = [
        Point(30.3, -97.7),
        Point(-17, 179.9),
        Point(-17, -179.9),
        Point(90, 0),
        Point(-90, 12),
        AUSTIN,
        Point(-30.26715, 82.25694),
    ]
    for here in [AUSTIN, Point(-17.1, -179.95), Point(90, 100), Point(-89.999, 0), Point(0, 0)]:
        rows = values(column("latitude", Float(53)), column("longitude", Float(53)), name="there").data(
            [(point.latitude, point.longitude) for point in there]
        )
        query = select(rows.c.latitude, rows.c.longitude, distance_km_sql(rows.c.latitude, rows.c.longitude, here))
        for latitude, longitude, measured in session.execute(query):
            assert measured == pytest.approx(distance_km(here, Point(latitude, longitude)), rel=1e-6, abs=1e-3)

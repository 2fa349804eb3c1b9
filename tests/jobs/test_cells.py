"""The cover of an area holds every point of it, wherever on the globe."""

import math
from itertools import pairwise

import h3.api.basic_int as h3
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobs.cells import _REACH_KM, EVERYWHERE, ancestors, cover
from jobs.geo import EARTH_RADIUS_KM, Area, Disc, Point, Region, contains, distance_km
from jobs.geojson import read_region

latitudes = st.floats(-90, 90) | st.sampled_from([-90.0, 90.0, 0.0, 89.9999])
longitudes = st.floats(-180, 180) | st.sampled_from([-180.0, 180.0, 179.9999])
pentagons = (
    st.integers(0, 9).flatmap(lambda resolution: st.sampled_from(h3.get_pentagons(resolution))).map(h3.cell_to_latlng)
)
points = st.builds(Point, latitudes, longitudes) | pentagons.map(lambda where: Point(*where))
radii = st.floats(math.log(0.01), math.log(2_000)).map(math.exp).map(lambda km: min(max(km, 0.01), 2_000))
turns = st.floats(0, 2 * math.pi)
shares = st.floats(0, 1)


def near(start: Point, bearing: float, km: float) -> Point:
    phi, angle = math.radians(start.latitude), km / EARTH_RADIUS_KM
    sine = math.sin(phi) * math.cos(angle) + math.cos(phi) * math.sin(angle) * math.cos(bearing)
    across = math.atan2(
        math.sin(bearing) * math.sin(angle) * math.cos(phi), math.cos(angle) - math.sin(phi) * max(-1, min(1, sine))
    )
    longitude = (start.longitude + math.degrees(across) + 540) % 360 - 180
    return Point(math.degrees(math.asin(max(-1, min(1, sine)))), longitude)


def found(area: Area, point: Point, *, max_cells: int = 24) -> bool:
    return not cover(area, max_cells=max_cells).isdisjoint(ancestors(point))


@settings(max_examples=400)
@given(points, radii, turns, shares)
@example(Point(90, 0), 0.01, 0, 1)
@example(Point(-90, 0), 500, 1, 1)
@example(Point(0, 180), 2_000, 4.71, 1)
def test_a_disc_s_cover_holds_all_its_points(start: Point, radius_km: float, bearing: float, share: float) -> None:
    point = near(start, bearing, radius_km * share)
    area = Area((Disc(start, radius_km),))
    if contains(area, point):
        assert found(area, point)
        assert found(area, point, max_cells=7)


@st.composite
def stars(draw: st.DrawFn) -> tuple[Region, Point]:
    """A star-shaped polygon, over the antimeridian or not, and a point in it."""
    latitude, longitude, size = draw(st.floats(-70, 70)), draw(st.floats(-180, 180)), draw(st.floats(0.001, 15))
    count = draw(st.integers(3, 9))
    reaches = [draw(st.floats(0.1, 1)) * size for _ in range(count)]
    corners = [
        (longitude + r * math.cos(2 * math.pi * i / count), latitude + r * math.sin(2 * math.pi * i / count))
        for i, r in enumerate(reaches)
    ]
    first, second = draw(st.sampled_from(list(pairwise([*corners, corners[0]]))))
    a, b = sorted((draw(shares), draw(shares)))
    x = longitude * a + first[0] * (b - a) + second[0] * (1 - b)
    y = latitude * a + first[1] * (b - a) + second[1] * (1 - b)
    ring = [[turned(east), north] for east, north in corners]
    region = read_region({"type": "Polygon", "coordinates": [[*ring, ring[0]]]})
    return region, Point(max(-90, min(90, y)), turned(x))


def turned(longitude: float) -> float:
    return (longitude + 180) % 360 - 180


@settings(max_examples=200)
@given(stars())
def test_a_region_s_cover_holds_all_its_points(star: tuple[Region, Point]) -> None:
    region, point = star
    area = Area((region,))
    if contains(area, point):  # a point on an edge may round to outside
        assert found(area, point)


@given(stars())
def test_a_point_between_the_middle_and_a_side_is_in_the_star(star: tuple[Region, Point]) -> None:
    region, point = star
    a_centimetre = 1e-7
    around = [(dx, dy) for dx in (-a_centimetre, 0, a_centimetre) for dy in (-a_centimetre, 0, a_centimetre)]
    close = [Point(point.latitude + dy, turned(point.longitude + dx)) for dx, dy in around]
    assert any(contains(Area((region,)), p) for p in close)


@pytest.mark.parametrize("pole", [90, -90])
def test_a_region_around_a_pole_is_covered(pole: int) -> None:
    ring = [[longitude, math.copysign(85, pole)] for longitude in range(-180, 180, 30)]
    area = Area((read_region({"type": "Polygon", "coordinates": [[*ring, ring[0]]]}),))
    for longitude in range(-180, 181, 20):
        for latitude in (85.1, 87, 89, 90):
            assert found(area, Point(math.copysign(latitude, pole), longitude))


@given(points, st.floats(1, 500), st.floats(1, 500), turns, shares, shares)
def test_where_two_discs_overlap_the_cover_holds(
    start: Point, one_km: float, other_km: float, bearing: float, apart: float, share: float
) -> None:
    other = near(start, bearing, (one_km + other_km) * apart)
    area = Area((Disc(start, one_km), Disc(other, other_km)))
    point = near(start, bearing, one_km * share)
    if contains(area, point):
        assert found(area, point)


def test_shapes_that_do_not_meet_have_no_cells() -> None:
    assert cover(Area((Disc(Point(0, 0), 50), Disc(Point(0, 1), 50)))) == frozenset()


@settings(max_examples=50)
@given(points, radii)
def test_a_cover_is_small_and_fits_a_bigint(start: Point, radius_km: float) -> None:
    cells = cover(Area((Disc(start, radius_km),)))
    assert 1 <= len(cells) <= 24
    assert all(0 < cell < 2**63 and h3.is_valid_cell(cell) for cell in cells)


def test_a_cover_of_few_cells_is_still_a_cover() -> None:
    area = Area((Disc(Point(30.27, -97.74), 2_000),))
    assert found(area, Point(30.27, -97.74), max_cells=1)


@pytest.mark.parametrize("radius_km", [5, 16, 50, 500])
def test_a_cover_fits_closely(radius_km: float) -> None:
    """At least half of what it finds is in the disc; with 64 cells three of five."""
    disc = Disc(Point(30.27, -97.74), radius_km)
    assert surface(cover(Area((disc,)))) < 2 * math.pi * radius_km**2
    assert surface(cover(Area((disc,)), max_cells=64)) < 5 / 3 * math.pi * radius_km**2


def surface(cells: frozenset[int]) -> float:
    return sum(h3.cell_area(cell) for cell in cells)


@settings(max_examples=100)
@given(points, radii, turns, shares)
def test_a_point_has_at_most_one_cell_of_a_cover(start: Point, radius_km: float, bearing: float, share: float) -> None:
    """So a look-up by the point's cells gives no job twice."""
    cells = cover(Area((Disc(start, radius_km),)))
    assert len(cells.intersection(ancestors(near(start, bearing, radius_km * share)))) <= 1


def test_families_are_merged() -> None:
    cells = cover(Area((Disc(Point(30.27, -97.74), 500),)))
    parents = [h3.cell_to_parent(cell, h3.get_resolution(cell) - 1) for cell in cells]
    assert not any(set(h3.cell_to_children(parent)) <= cells for parent in parents)


@settings(max_examples=500)
@given(points)
def test_no_point_is_farther_from_its_cells_than_the_cover_reckons(point: Point) -> None:
    everywhere, *cells = ancestors(point)
    assert everywhere == EVERYWHERE
    assert [h3.get_resolution(cell) for cell in cells] == list(range(10))
    for cell, reach_km in zip(cells, _REACH_KM, strict=True):
        assert distance_km(point, Point(*h3.cell_to_latlng(cell))) < reach_km

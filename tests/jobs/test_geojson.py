"""Polygons from GeoJSON: holes, the antimeridian, the poles, repair, and garbage."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.geo import Area, Point, Region, contains, surface_km2
from jobs.geojson import BadGeometry, read_region, restore_region, write_region

SQUARE = [[-98.0, 30.0], [-97.0, 30.0], [-97.0, 31.0], [-98.0, 31.0], [-98.0, 30.0]]
HOLE = [[-97.6, 30.4], [-97.6, 30.6], [-97.4, 30.6], [-97.4, 30.4], [-97.6, 30.4]]


def polygon(*rings: Any) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": list(rings)}


def has(region: Region, latitude: float, longitude: float) -> bool:
    return contains(Area((region,)), Point(latitude, longitude))


def test_a_hole_is_outside() -> None:
    region = read_region(polygon(SQUARE, HOLE))
    assert has(region, 30.2, -97.2)
    assert not has(region, 30.5, -97.5)
    assert not has(region, 29.9, -97.5)


def test_the_rim_belongs_to_the_region() -> None:
    assert has(read_region(polygon(SQUARE)), 30.0, -97.5)


def test_a_feature_is_read_by_its_geometry() -> None:
    assert read_region({"type": "Feature", "properties": {}, "geometry": polygon(SQUARE)}) == read_region(
        polygon(SQUARE)
    )


FIJI = {
    "cut as the RFC asks": {
        "type": "MultiPolygon",
        "coordinates": [
            [[[177, -19], [180, -19], [180, -16], [177, -16], [177, -19]]],
            [[[-180, -19], [-178, -19], [-178, -16], [-180, -16], [-180, -19]]],
        ],
    },
    "jumping": polygon([[177, -19], [-178, -19], [-178, -16], [177, -16], [177, -19]]),
    "running on east": polygon([[177, -19], [182, -19], [182, -16], [177, -16], [177, -19]]),
    "running on west": polygon([[-183, -19], [-178, -19], [-178, -16], [-183, -16], [-183, -19]]),
}


@pytest.mark.parametrize("way", FIJI)
def test_a_region_over_the_antimeridian(way: str) -> None:
    region = read_region(FIJI[way])
    for longitude in (177.5, 179.9, 180, -180, -179.9, -178.5):
        assert has(region, -17.5, longitude), longitude
    for longitude in (176.9, -177.9, 0, 90):
        assert not has(region, -17.5, longitude), longitude


def test_a_hole_over_the_antimeridian() -> None:
    region = read_region(
        polygon(
            [[170, 0], [-170, 0], [-170, 10], [170, 10], [170, 0]],
            [[179, 4], [179, 6], [-179, 6], [-179, 4], [179, 4]],
        )
    )
    assert has(region, 5, 178)
    assert has(region, 5, -178)
    assert not has(region, 5, 180)
    assert not has(region, 5, -179.5)


@pytest.mark.parametrize("pole", [90, -90])
@pytest.mark.parametrize("eastward", [True, False])
def test_a_ring_around_the_globe_encloses_the_nearer_pole(pole: int, eastward: bool) -> None:
    edge = math.copysign(60, pole)
    ring = [[longitude, edge] for longitude in range(-180, 180, 30)]
    region = read_region(polygon([*ring, ring[0]] if eastward else [*ring, ring[0]][::-1]))
    for longitude in (-180, -90, 0, 91, 180):
        assert has(region, math.copysign(75, pole), longitude)
        assert has(region, pole, longitude)
        assert not has(region, math.copysign(59, pole), longitude)


def test_an_edge_along_the_pole_is_what_it_says() -> None:
    antarctica = read_region(polygon([[-180, -60], [-180, -90], [180, -90], [180, -60], [0, -70], [-180, -60]]))
    assert has(antarctica, -90, 33)
    assert has(antarctica, -80, 0)
    assert not has(antarctica, -65, 0)
    assert not has(antarctica, 90, 33)


def test_a_ring_that_crosses_itself_is_repaired() -> None:
    bow_tie = read_region(polygon([[0, 0], [2, 2], [2, 0], [0, 2], [0, 0]]))
    assert has(bow_tie, 1, 0.5)
    assert has(bow_tie, 1, 1.5)
    assert not has(bow_tie, 1.9, 1)


@pytest.mark.parametrize(
    ("geometry", "reason"),
    [
        ({"type": "Point", "coordinates": [1, 2]}, "must be a Polygon or MultiPolygon, not Point"),
        ({"type": "Feature", "properties": {}, "geometry": None}, "must be a Polygon"),
        ({"type": "Polygon"}, "no rings"),
        ({"type": "MultiPolygon", "coordinates": []}, "no coordinates"),
        (polygon(), "no rings"),
        (polygon("abc"), "four positions"),
        (polygon([[0, 0], [1, 1], [0, 0]]), "four positions"),
        (polygon([[0, 0], [1, 0], [1, 1], [0, 1]]), "not closed"),
        (polygon([[0, 0], [1, 0], [1, "x"], [0, 0]]), "not a position"),
        (polygon([[0, 0], [1, 0], [1, math.nan], [0, 0]]), "not a position"),
        (polygon([[0, 0], [1, 0], [True, 1], [0, 0]]), "not a position"),
        (polygon([[30, -97], [31, -97], [31, -98], [30, -98], [30, -97]]), "Are they swapped"),
        (polygon([[621000, 30], [622000, 30], [622000, 31], [621000, 30]]), "projected"),
        (polygon([[0, 0], [1, 1], [2, 2], [0, 0]]), "encloses nothing"),
    ],
)
def test_garbage_is_refused_with_a_reason(geometry: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadGeometry, match=reason):
        read_region(geometry)


def test_what_is_written_is_restored_through_json() -> None:
    for geometry in (polygon(SQUARE, HOLE), *FIJI.values()):
        region = read_region(geometry)
        assert restore_region(json.loads(json.dumps(write_region(region)))) == region


@given(st.floats(-180, 180), st.floats(-60, 60), st.floats(0.1, 20))
def test_a_box_anywhere_has_the_same_surface(west: float, south: float, size: float) -> None:
    def turned(longitude: float) -> float:
        return longitude - 360 if longitude > 180 else longitude

    def box(west: float) -> Region:
        east = turned(west + size)
        ring = [[west, south], [east, south], [east, south + size], [west, south + size], [west, south]]
        return read_region(polygon(ring))

    assert surface_km2(box(west)) == pytest.approx(surface_km2(box(0)), rel=1e-6)

"""From a written location to the area a job keeps, and importing boundaries."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from jobs.cities import AmbiguousCity, UnknownCity, city_disc, find_city
from jobs.geo import Area, BadPlace, Disc, Point, Region, contains
from jobs.geojson import read_region
from jobs.models import Boundary
from jobs.places import (
    BadBoundaryFile,
    Location,
    NoLocation,
    NothingInCommon,
    area_from_json,
    area_to_json,
    city_area,
    import_boundaries,
    region_code,
    resolve,
)

NOW = datetime(2026, 10, 1, 12, tzinfo=UTC)
AUSTIN = {"city": "Austin", "state": "TX", "country": "US"}
DOWNTOWN = Point(30.2672, -97.7431)
ROUND_ROCK = Point(30.5083, -97.6789)

Write = Callable[..., Path]


def box(west: float, south: float, east: float, north: float) -> dict[str, Any]:
    return {
        "type": "Polygon",
        "coordinates": [[[west, south], [east, south], [east, north], [west, north], [west, south]]],
    }


def feature(geometry: Any, **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "properties": properties, "geometry": geometry}


AUSTIN_AND_ROUND_ROCK = feature(box(-97.95, 30.1, -97.56, 30.52), name="Austin", state="Texas", country="USA")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(*features: Any) -> Path:
        file = tmp_path / "cities.geojson"
        file.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
        return file

    return write


def test_a_radius_around_a_point(session: Session) -> None:
    area = resolve(session, Location(latitude=30.2672, longitude=-97.7431, radius_km=5))
    assert area == Area((Disc(DOWNTOWN, 5),))


def test_a_city_without_a_boundary_is_a_disc(session: Session) -> None:
    area = resolve(session, Location(**AUSTIN))
    assert area == Area((city_disc(find_city(**AUSTIN)),))
    assert contains(area, DOWNTOWN)
    assert not contains(area, ROUND_ROCK)


def test_both_must_hold(session: Session) -> None:
    area = resolve(session, Location(**AUSTIN, latitude=30.36, longitude=-97.74, radius_km=9))
    assert len(area.shapes) == 2
    assert contains(area, Point(30.33, -97.74))
    assert not contains(area, DOWNTOWN)  # in the city, out of the radius
    assert not contains(area, Point(30.43, -97.74))  # in the radius, out of the city


def test_a_radius_that_does_not_reach_the_city_is_refused(session: Session) -> None:
    with pytest.raises(NothingInCommon, match="Austin lies outside the 10 km"):
        resolve(session, Location(**AUSTIN, latitude=40.7, longitude=-74, radius_km=10))


@pytest.mark.parametrize(
    ("written", "field"),
    [
        ({}, "location"),
        ({"latitude": 30.0, "longitude": -97.0}, "radius_km"),
        ({"radius_km": 3.0}, "latitude"),
        ({"city": "Austin", "state": "TX"}, "country"),
        ({"city": "", "country": "US"}, "city"),
        ({"latitude": 30.0, "longitude": -97.0, "radius_km": 3.0, "state": "TX"}, "city"),
    ],
)
def test_half_a_location_is_refused(written: dict[str, Any], field: str) -> None:
    with pytest.raises(NoLocation) as refused:
        Location(**written)
    assert refused.value.members["field"] == field


def test_numbers_out_of_range_and_unknown_cities_are_refused(session: Session) -> None:
    with pytest.raises(BadPlace, match="radius_km must be between"):
        resolve(session, Location(latitude=30, longitude=-97, radius_km=2_001))
    with pytest.raises(UnknownCity):
        resolve(session, Location(city="Atlantis", state="TX", country="US"))
    with pytest.raises(AmbiguousCity):
        resolve(session, Location(city="Brentwood", state="CA", country="US"))


def test_an_imported_boundary_wins_over_the_radius(session: Session, write: Write) -> None:
    report = import_boundaries(session, write(AUSTIN_AND_ROUND_ROCK), now=NOW)
    assert (report.imported, report.replaced, report.refused) == (1, 0, [])
    stored = session.scalars(select(Boundary)).one()
    assert (stored.city_key, stored.name, stored.country, stored.source) == (
        "austin|TX|US",
        "Austin",
        "US",
        "cities.geojson",
    )
    assert stored.imported_at == NOW
    area = resolve(session, Location(**AUSTIN))
    assert isinstance(area.shapes[0], Region)
    assert contains(area, ROUND_ROCK)


def test_a_published_area_does_not_move(session: Session, write: Write) -> None:
    before = area_to_json(resolve(session, Location(**AUSTIN)))
    import_boundaries(session, write(AUSTIN_AND_ROUND_ROCK), now=NOW)
    assert not contains(area_from_json(before), ROUND_ROCK)


def test_a_second_import_replaces_the_first(session: Session, write: Write) -> None:
    import_boundaries(session, write(AUSTIN_AND_ROUND_ROCK), now=NOW)
    smaller = feature(box(-97.95, 30.1, -97.56, 30.4), city="AUSTIN", region="TX", country="US")
    report = import_boundaries(session, write(smaller), now=NOW)
    assert (report.imported, report.replaced) == (0, 1)
    assert not contains(resolve(session, Location(**AUSTIN)), ROUND_ROCK)


def test_a_boundary_makes_a_small_town_known(session: Session, write: Write) -> None:
    town = {"city": "Terlingua", "state": "Texas", "country": "US"}
    with pytest.raises(UnknownCity):
        resolve(session, Location(**town))
    import_boundaries(session, write(feature(box(-103.7, 29.25, -103.5, 29.4), **town)), now=NOW)
    assert contains(resolve(session, Location(city="TERLINGUA", state="TX", country="USA")), Point(29.32, -103.62))


def test_each_refused_feature_has_its_reason_and_the_others_are_imported(session: Session, write: Write) -> None:
    names = {"state": "TX", "country": "US"}
    swapped = feature(box(47.6, 7.7, 48.2, 8.0), name="Freiburg", country="DE")
    report = import_boundaries(
        session,
        write(
            feature(None, name="Dallas", **names),
            feature(box(-97, 32, -96, 33), **names),
            feature(box(-97, 32, -96, 33), name="Dallas", state="TX", country="Narnia"),
            feature(box(0, -80, 179, 80), name="Dallas", **names),
            feature(box(-97, 32, -96.99999, 32.00001), name="Dallas", **names),
            swapped,
            "Dallas",
            AUSTIN_AND_ROUND_ROCK,
            AUSTIN_AND_ROUND_ROCK,
        ),
        now=NOW,
    )
    assert report.imported == 1
    assert [index for index, _ in report.refused] == [0, 1, 2, 3, 4, 5, 6, 8]
    for (index, said), reason in zip(
        report.refused,
        [
            "must be a Polygon",
            "needs the properties name",
            "Narnia",
            "no city",
            "no city",
            "swapped",
            "no properties",
            "feature 7",
        ],
        strict=True,
    ):
        assert f"feature {index}: " in said
        assert reason in said


@pytest.mark.parametrize("content", ["{", "[]", '{"type": "FeatureCollection"}', '"text"'])
def test_a_file_of_something_else_is_refused(session: Session, tmp_path: Path, content: str) -> None:
    file = tmp_path / "cities.geojson"
    file.write_text(content)
    with pytest.raises(BadBoundaryFile, match=r"cities\.geojson"):
        import_boundaries(session, file, now=NOW)


def test_the_stored_form_is_the_same_area() -> None:
    region = read_region(
        {"type": "Polygon", "coordinates": [[[177, -19], [-178, -19], [-178, -16], [177, -16], [177, -19]]]}
    )
    for area in (
        Area((Disc(DOWNTOWN, 5),)),
        Area((Disc(Point(-17, 180), 50), region)),
        city_area(find_city(**AUSTIN), region),
    ):
        assert area_from_json(json.loads(json.dumps(area_to_json(area)))) == area


@pytest.mark.parametrize(
    ("latitude", "longitude", "region"),
    [
        (40.7128, -74.006, "US-NY"),
        (40.745, -74.03, "US-NJ"),  # across the Hudson
        (30.27, -97.74, "US-TX"),
        (21.31, -157.86, "US-HI"),
        (43.65, -79.38, "CA-ON"),
        (-33.87, 151.21, "AU-NSW"),
        (55.95, -3.19, "GB-SCT"),
        (47.37, 8.54, "CH-ZH"),
        (48.8566, 2.3522, "FR"),  # GeoNames' code is not ISO 3166-2 there
        (-16.9, -179.99, "FJ"),  # Taveuni, over the antimeridian from its nearest town
        (0, -30, "ZZ"),
        (90, 0, "ZZ"),
        (-90, 0, "ZZ"),
    ],
)
def test_the_coarse_region_of_a_point(latitude: float, longitude: float, region: str) -> None:
    assert region_code(Point(latitude, longitude)) == region

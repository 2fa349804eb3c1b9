"""
Places: from what a buyer writes as a job's location to the area the job keeps, the city boundaries staff import, and the
coarse region of a point.

The area is resolved once, when the job is published, and stored with it (`area_to_json`): a boundary imported later does not
move the ground under work that has begun.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import shapely
from sqlalchemy import select
from sqlalchemy.orm import Session

from infra import ids
from jobs.cells import cover
from jobs.cities import (
    ISO_STATES,
    City,
    UnknownCity,
    city_disc,
    city_key,
    find_city,
    find_country,
    find_state,
    nearest_city,
)
from jobs.geo import Area, BadPlace, Disc, Point, Region, distance_km, surface_km2
from jobs.geojson import BadGeometry, read_region, restore_region, write_region
from jobs.models import Boundary

# A shape larger or smaller than this is no city. The largest that is called one, Hulunbuir, has 263,953 km2.
LARGEST_CITY_KM2, SMALLEST_CITY_KM2 = 300_000, 0.05
# A boundary this far from its city has its coordinates swapped or its name wrong.
FARTHEST_KM = 100


UNKNOWN_REGION = "ZZ"  # ISO 3166 leaves ZZ to users; CLDR uses it for "unknown region"
_SAME_REGION_KM = 250.0


class NoLocation(BadPlace):
    """A location needs a radius around a point, a city, or both."""


class NothingInCommon(BadPlace):
    """The radius and the city do not meet."""


class BadBoundaryFile(BadPlace):
    """This file is not a GeoJSON FeatureCollection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """What a buyer writes: a radius around a point, a city, or both (both must hold)."""

    latitude: float | None = None
    longitude: float | None = None
    radius_km: float | None = None
    city: str | None = None
    state: str | None = None
    country: str | None = None

    def __post_init__(self) -> None:
        disc = {"latitude": self.latitude, "longitude": self.longitude, "radius_km": self.radius_km}
        _require_together(disc)
        _require_together({"city": self.city, "country": self.country})
        if self.city is None and self.latitude is None:
            raise NoLocation(
                "Give latitude, longitude and radius_km, or city, state and country, or all of them.", field="location"
            )
        if self.state is not None and self.city is None:
            raise NoLocation("A state alone is no place: give city and country too.", field="city")


@dataclass(slots=True)
class ImportReport:
    """What became of each feature of a file; `refused` holds its index and the reason."""

    imported: int = 0
    replaced: int = 0
    refused: list[tuple[int, str]] = field(default_factory=list)


def resolve(session: Session, location: Location) -> Area:
    """
    The area of a location. A city has its imported boundary if there is one, else the disc of `cities.city_disc`; a city the
    dataset does not know can still have a boundary.

    :raises BadPlace: a number out of its limits, an unknown or ambiguous city, a radius that does not reach the city
    """
    shapes: list[Disc | Region] = []
    if location.latitude is not None and location.longitude is not None and location.radius_km is not None:
        shapes.append(Disc(Point(location.latitude, location.longitude), location.radius_km))
    if location.city is not None and location.country is not None:
        shapes.append(_city_shape(session, location.city, location.state, location.country))
    area = Area(tuple(shapes))
    if len(area.shapes) == 2 and not cover(area):
        raise NothingInCommon(
            f"{location.city} lies outside the {location.radius_km:g} km around the point, and both must hold: no worker could "
            "be in place. Leave one of them out or widen radius_km.",
            field="location",
        )
    return area


def city_area(city: City, boundary: Region | None) -> Area:
    """The boundary if it is known, else the disc that stands for the city."""
    return Area((boundary or city_disc(city),))


def area_to_json(area: Area) -> dict[str, Any]:
    """The area as a job stores it."""
    return {"shapes": [_shape_to_json(shape) for shape in area.shapes]}


def area_from_json(stored: Mapping[str, Any]) -> Area:
    """The area as `area_to_json` wrote it."""
    return Area(tuple(_shape_from_json(shape) for shape in stored["shapes"]))


def import_boundaries(session: Session, geojson_file: Path, *, now: datetime) -> ImportReport:
    """
    Read city boundaries from a FeatureCollection whose features have the properties `name` (or `city`), `state` (or
    `region`) and `country`. They replace those of the same cities and win over the radius rule for jobs published from now
    on. Refused features are reported and the others imported; roll back to have all or nothing.

    :raises BadBoundaryFile: not readable as a FeatureCollection at all
    """
    report = ImportReport()
    seen: dict[str, int] = {}
    for index, feature in enumerate(_read_features(geojson_file)):
        try:
            key, country, region = _read_boundary(feature)
            if key in seen:
                raise BadGeometry(f"{key} is in feature {seen[key]} already. Make one MultiPolygon of the parts.")
        except BadPlace as refusal:
            report.refused.append((index, f"feature {index}: {refusal}"))
            continue
        seen[key] = index
        boundary = session.scalar(select(Boundary).where(Boundary.city_key == key))
        if boundary is None:
            boundary = Boundary(id=ids.new(), city_key=key)
            session.add(boundary)
            report.imported += 1
        else:
            report.replaced += 1
        boundary.name, boundary.country, boundary.source = _name(feature["properties"]), country, geojson_file.name
        boundary.geojson, boundary.imported_at = write_region(region), now
    session.flush()
    return report


def region_code(point: Point) -> str:
    """
    The coarse region a buyer may see, `US-NY`: state and country of the nearest city of the dataset, so near a border it may
    name the neighbour's. ISO 3166-2 where `City.state` is, elsewhere the country alone (`FR`); `ZZ` when no city is within
    250 km.
    """
    city, distance = nearest_city(point)
    if distance > _SAME_REGION_KM:
        return UNKNOWN_REGION
    return f"{city.country}-{city.state}" if city.country in ISO_STATES and city.state else city.country


def _city_shape(session: Session, name: str, state: str | None, country: str) -> Disc | Region:
    try:
        city = find_city(name, state, country)
    except UnknownCity:
        boundary = _boundary(session, _written_key(name, state, country))
        if boundary is None:
            raise
        return boundary
    return city_area(city, _boundary(session, city.key)).shapes[0]


def _boundary(session: Session, key: str) -> Region | None:
    geojson = session.scalar(select(Boundary.geojson).where(Boundary.city_key == key))
    return None if geojson is None else restore_region(geojson)


def _written_key(name: str, state: str | None, country: str) -> str:
    """The key of a city the dataset does not know."""
    code = find_country(country)
    return city_key(name, (find_state(state, code) or state.strip().upper()) if state else "", code)


def _read_features(geojson_file: Path) -> list[Any]:
    try:
        collection = json.loads(geojson_file.read_bytes())
    except ValueError as error:
        raise BadBoundaryFile(f"{geojson_file.name} is not JSON: {error}.") from error
    features = collection.get("features") if isinstance(collection, dict) else None
    if not isinstance(features, list):
        raise BadBoundaryFile(f"{geojson_file.name} has no list of features.")
    return features


def _read_boundary(feature: Any) -> tuple[str, str, Region]:
    """The city's key, its country's code and its region."""
    properties = feature.get("properties") if isinstance(feature, dict) else None
    if not isinstance(properties, dict):
        raise BadGeometry("It has no properties.")
    name, state, country = (
        _name(properties),
        properties.get("state") or properties.get("region"),
        properties.get("country"),
    )
    if not all(isinstance(text, str) and text.strip() for text in (name, country)) or not isinstance(state, str | None):
        raise BadGeometry("It needs the properties name (or city), country, and in the United States state, as text.")
    region = read_region(feature)
    surface = surface_km2(region)
    if not SMALLEST_CITY_KM2 <= surface <= LARGEST_CITY_KM2:
        raise BadGeometry(
            f"{surface:,.2f} km2 is no city: {SMALLEST_CITY_KM2} to {LARGEST_CITY_KM2:,} km2 are expected."
        )
    assert isinstance(country, str)
    code = find_country(country)
    try:
        city = find_city(name, state, code)
    except UnknownCity:
        return _written_key(name, state, code), code, region
    distance = _distance_to_region_km(city.point, region)
    if distance > FARTHEST_KM:
        raise BadGeometry(f"It lies {distance:,.0f} km from {city}. Are latitude and longitude swapped?")
    return city.key, code, region


def _name(properties: Mapping[str, Any]) -> Any:
    return properties.get("name") or properties.get("city")


def _distance_to_region_km(point: Point, region: Region) -> float:
    """To the nearest of the region's rim in degrees, 0 inside: good enough to tell near from far."""
    degrees = shapely.Point(point.longitude, point.latitude)
    if region.shape.intersects(degrees):
        return 0.0
    nearest = shapely.shortest_line(region.shape, degrees).coords[0]
    return distance_km(point, Point(nearest[1], nearest[0]))


def _shape_to_json(shape: Disc | Region) -> dict[str, Any]:
    if isinstance(shape, Disc):
        where = {"latitude": shape.center.latitude, "longitude": shape.center.longitude}
        return {"type": "disc", **where, "radius_km": shape.radius_km}
    return {"type": "region", "geometry": write_region(shape)}


def _shape_from_json(shape: Mapping[str, Any]) -> Disc | Region:
    if shape["type"] == "disc":
        return Disc(Point(shape["latitude"], shape["longitude"]), shape["radius_km"])
    return restore_region(shape["geometry"])


def _require_together(fields: Mapping[str, Any]) -> None:
    missing = [name for name, value in fields.items() if value is None or value == ""]
    if missing and len(missing) < len(fields):
        raise NoLocation(
            f"{' and '.join(missing)} must be given with {' and '.join(fields.keys() - set(missing))}.",
            field=missing[0],
        )

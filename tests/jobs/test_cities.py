"""Finding a city as buyers write it, its size without a boundary, and the city nearest to a point."""

import math

import pytest

from jobs.cities import (
    AmbiguousCity,
    City,
    UnknownCity,
    UnknownCountry,
    UnknownState,
    city_disc,
    find_city,
    find_country,
    nearest_city,
    plain,
)
from jobs.geo import Point, distance_km


@pytest.mark.parametrize("state", ["TX", "tx", "Texas", "US-TX"])
@pytest.mark.parametrize("country", ["US", "usa", "United States", "U.S.A.", "United States of America"])
def test_a_city_by_any_spelling_of_state_and_country(state: str, country: str) -> None:
    city = find_city("  austin ", state, country)
    assert (city.name, city.state, city.country, city.key) == ("Austin", "TX", "US", "austin|TX|US")
    assert distance_km(city.point, Point(30.2672, -97.7431)) < 1
    assert city.population > 900_000


@pytest.mark.parametrize(
    ("written", "state", "country", "name"),
    [
        ("sao paulo", None, "BR", "São Paulo"),
        ("Łódź", None, "PL", "Łódź"),
        ("LODZ", None, "Poland", "Łódź"),
        ("Saint Louis", "MO", "US", "St. Louis"),
        ("New York", "NY", "US", "New York City"),
        ("NYC", "New York", "US", "New York City"),
        ("Bombay", None, "IN", "Mumbai"),
        ("東京", None, "JP", "Tokyo"),
        ("Wien", None, "AT", "Vienna"),
        ("London", "Ontario", "CA", "London"),
        ("London", "England", "UK", "London"),
        ("Munich", "Bavaria", "DE", "Munich"),
        ("Santana", "27", "BR", "Santana"),
    ],
)
def test_a_city_by_other_names_without_accents(written: str, state: str | None, country: str, name: str) -> None:
    assert find_city(written, state, country).name == name


def test_a_main_name_counts_before_other_names() -> None:
    assert find_city("Brooklyn", "NY", "US").name == "Brooklyn"
    assert find_city("London", "ON", "CA").country == "CA"


def test_an_ambiguous_city_names_its_candidates() -> None:
    with pytest.raises(AmbiguousCity, match="Santana, 27, BR") as refused:
        find_city("Santana", None, "Brazil")
    assert len(refused.value.members["candidates"]) == 4
    with pytest.raises(AmbiguousCity, match=r"37\.93, -121\.70.*34\.05, -118\.47.*radius_km"):
        find_city("Brentwood", "CA", "US")


def test_a_state_that_cannot_be_checked_does_not_decide() -> None:
    with pytest.raises(AmbiguousCity):
        find_city("Santana", "São Paulo State", "BR")


def test_an_unknown_city_gets_suggestions() -> None:
    with pytest.raises(
        UnknownCity, match=r"Asutin.* is not a known city in TX, US\. Did you mean Austin, TX, US"
    ) as refused:
        find_city("Asutin", "TX", "US")
    assert refused.value.members == {"field": "city", "suggestions": ["Austin, TX, US"]}
    with pytest.raises(UnknownCity, match="5,000 people"):
        find_city("", "TX", "US")


def test_the_united_states_need_a_known_state() -> None:
    with pytest.raises(UnknownState, match="for example TX") as refused:
        find_city("Springfield", None, "US")
    assert refused.value.members["field"] == "state"
    with pytest.raises(UnknownState, match=r"Minnesota \(MN\)"):
        find_city("Minneapolis", "Minesota", "US")


def test_an_unknown_country_gets_suggestions() -> None:
    with pytest.raises(UnknownCountry, match="Did you mean United States"):
        find_country("Unted States")
    assert find_country("Türkiye") == find_country("turkiye") == "TR"


def test_names_are_compared_plain() -> None:
    assert plain("Saint-Étienne") == plain("st. ETIENNE") == "st etienne"
    assert plain("O'Fallon") == plain("OFallon")
    assert plain("Tromsø") == plain("Tromso")
    assert plain("東京") == "東京"


def of(population: int) -> float:
    return city_disc(City("Here", "TX", "US", Point(30, -97), population)).radius_km


def test_a_city_s_radius_grows_with_the_cube_root_of_its_people() -> None:
    assert of(8_000_000) / of(1_000_000) == pytest.approx(2, rel=0.01)
    assert of(1_000_000) == pytest.approx(1.25 * math.sqrt(0.054 * 10_000 / math.pi), abs=0.05)
    assert of(0) == 2.0
    assert of(40_000_000) == 50.0


def test_the_nearest_city_of_a_point_over_the_antimeridian() -> None:
    city, distance = nearest_city(Point(-16.9, -179.99))
    assert city.country == "FJ"
    assert city.point.longitude > 0
    assert distance < 150

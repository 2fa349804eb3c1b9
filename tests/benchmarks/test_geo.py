"""
What finding jobs by place costs: `pytest tests/benchmarks/test_geo.py -s`

Four ways to find the jobs around a worker among 100,000, each followed by the same exact distance check and each giving the
same jobs: H3 cells in a table with a B-tree, H3 cells in an array with GIN, a bounding box with GiST, four numbers of the
bounding box with a B-tree.
"""

import math
import random
import statistics
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from jobs import cities
from jobs.cells import ancestors, cover
from jobs.geo import EARTH_RADIUS_KM, Area, Disc, Point, contains
from jobs.geojson import read_region, restore_region, write_region
from jobs.places import region_code

JOBS, PLACES, WORKERS = 100_000, 4_000, 300

DISTANCE = f"""2 * {EARTH_RADIUS_KM} * asin(sqrt(least(1.0, power(sin(radians(latitude - %(lat)s) / 2), 2)
    + cos(radians(%(lat)s)) * cos(radians(latitude)) * power(sin(radians(longitude - %(lon)s) / 2), 2))))"""

TABLES = """
    create schema bench;
    create table bench.jobs (id int primary key, latitude float8, longitude float8, radius_km float8, cells bigint[], bounds box,
                             south float8, north float8, west float8, east float8);
    create table bench.job_cells (cell bigint, job_id int, primary key (cell, job_id));
"""

FIND = {
    "H3 cells, B-tree": """select j.id from bench.job_cells c join bench.jobs j on j.id = c.job_id
                           where c.cell = any(%(cells)s) and {exact}""",
    "H3 cells, GIN": "select id from bench.jobs where cells && %(cells)s::bigint[] and {exact}",
    "box, GiST": "select id from bench.jobs where bounds @> box(point(%(lon)s, %(lat)s)) and {exact}",
    "box, B-tree": """select id from bench.jobs where south <= %(lat)s and north >= %(lat)s
                      and west <= %(lon)s and east >= %(lon)s and {exact}""",
}
INDEXES = {
    "H3 cells, GIN": "create index by_cells on bench.jobs using gin (cells)",
    "box, GiST": "create index by_bounds on bench.jobs using gist (bounds)",
    "box, B-tree": "create index by_numbers on bench.jobs (south, north, west, east)",
}
INDEX_OF = {
    "H3 cells, B-tree": "bench.job_cells",
    "H3 cells, GIN": "bench.by_cells",
    "box, GiST": "bench.by_bounds",
    "box, B-tree": "bench.by_numbers",
}


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(TABLES)
        yield connection
        connection.execute("drop schema bench cascade")


def test_finding_jobs_by_place(connection: psycopg.Connection) -> None:
    chance = random.Random(7)
    began = time.perf_counter()
    _fill(connection, [_disc(chance) for _ in range(PLACES)])
    print(f"\n{JOBS:,} jobs at {PLACES:,} places written in {time.perf_counter() - began:.0f} s")
    for name, index in INDEXES.items():
        began = time.perf_counter()
        connection.execute(index)
        print(f"{name}: index built in {time.perf_counter() - began:.1f} s")
    connection.execute("vacuum analyze bench.jobs")
    connection.execute("vacuum analyze bench.job_cells")

    workers = [_worker(chance) for _ in range(WORKERS)]
    found: dict[str, list[set[int]]] = {}
    times: dict[str, list[float]] = {name: [] for name in FIND}
    for name, query in FIND.items():
        sql = query.format(exact=f"{DISTANCE} <= radius_km")
        found[name] = []
        for worker in workers:
            values = {"cells": ancestors(worker), "lat": worker.latitude, "lon": worker.longitude}
            began = time.perf_counter()
            rows = connection.execute(sql, values).fetchall()
            times[name].append(time.perf_counter() - began)
            found[name].append({id for (id,) in rows})
    reference = found["H3 cells, B-tree"]
    assert all(answers == reference for answers in found.values())

    fastest = statistics.median(times["H3 cells, B-tree"])
    print(
        f"jobs found per worker: median {statistics.median(map(len, reference)):.0f}, most {max(map(len, reference)):,}"
    )
    for name in FIND:
        (size,) = connection.execute("select pg_total_relation_size(%s)", [INDEX_OF[name]]).fetchone()  # type: ignore[misc]
        median, slow = statistics.median(times[name]), statistics.quantiles(times[name], n=20)[-1]
        print(
            f"{name:17} median {median * 1e3:6.2f} ms  p95 {slow * 1e3:6.2f} ms  {median / fastest:5.2f} x  {size / 1e6:5.0f} MB"
        )


def test_covering_and_looking_up(capsys: pytest.CaptureFixture[str]) -> None:
    here = Point(30.26715, -97.74306)
    ring = [
        [-97.74 + 0.25 * math.cos(i / 300) * (1 + 0.1 * math.sin(i)), 30.27 + 0.2 * math.sin(i / 300)]
        for i in range(1_885)
    ]
    region = read_region({"type": "Polygon", "coordinates": [[*ring, ring[0]]]})
    written = write_region(region)
    cities.find_city("Austin", "TX", "US")
    with capsys.disabled():
        print()
        one = _seconds(lambda: [ancestors(here) for _ in range(1_000)]) / 1_000
        print(f"ancestors of a point: {one * 1e6:.1f} us")
        for radius_km in (0.01, 1, 5, 16, 50, 500, 2_000):
            area = Area((Disc(here, radius_km),))
            cells = cover(area)
            took = _seconds(lambda area=area: cover(area))
            print(f"cover of {radius_km:g} km: {took * 1e3:.2f} ms, {len(cells)} cells, {took / one:,.0f} x ancestors")
        area = Area((region,))
        print(
            f"cover of a boundary with 1,885 corners: {_seconds(lambda: cover(area)) * 1e3:.1f} ms, {len(cover(area))} cells"
        )
        print(f"restoring that boundary: {_seconds(lambda: restore_region(written)) * 1e3:.2f} ms")
        print(f"contains, boundary: {_seconds(lambda: [contains(area, here) for _ in range(1_000)]) * 1e3:.1f} us")
        print(f"region_code: {_seconds(lambda: region_code(here)) * 1e6:.0f} us")


def _seconds(act: Callable[[], object]) -> float:
    took = []
    for _ in range(9):
        began = time.perf_counter()
        act()
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def _worker(chance: random.Random) -> Point:
    """Somewhere around a city of the United States, the larger the likelier."""
    city = chance.choices(_US, weights=_WEIGHTS)[0]
    return Point(city.point.latitude + chance.gauss(0, 0.1), city.point.longitude + chance.gauss(0, 0.1))


def _disc(chance: random.Random) -> Disc:
    least, most = chance.choices([(0.5, 20), (20, 60), (60, 500)], weights=[70, 25, 5])[0]
    return Disc(_worker(chance), chance.uniform(least, most))


def _fill(connection: psycopg.Connection, places: list[Disc]) -> None:
    covers = [sorted(cover(Area((place,)))) for place in places]
    with connection.cursor() as cursor:
        with cursor.copy("copy bench.jobs from stdin") as copy:
            for job in range(JOBS):
                place, cells = places[job % PLACES], covers[job % PLACES]
                south, north, west, east = _bounds(place)
                where = (place.center.latitude, place.center.longitude, place.radius_km)
                copy.write_row((job, *where, cells, f"({east},{north}),({west},{south})", south, north, west, east))
        with cursor.copy("copy bench.job_cells from stdin") as copy:
            for job in range(JOBS):
                for cell in covers[job % PLACES]:
                    copy.write_row((cell, job))


def _bounds(place: Disc) -> tuple[float, float, float, float]:
    """South, north, west, east; no place of this benchmark is near a pole or the antimeridian."""
    angle = place.radius_km / EARTH_RADIUS_KM
    width = math.degrees(math.asin(math.sin(angle) / math.cos(math.radians(place.center.latitude))))
    height = math.degrees(angle)
    latitude, longitude = place.center.latitude, place.center.longitude
    return latitude - height, latitude + height, longitude - width, longitude + width


_US = [
    city
    for city in cities._cities()
    if city.country == "US" and 24 < city.point.latitude < 50 and city.point.longitude > -130
]
_WEIGHTS = [math.sqrt(city.population) for city in _US]

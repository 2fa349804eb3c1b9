"""Positions: impossible ones are refused by field; speed is judged with the receiver's uncertainty."""

import math
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from jobs import geo, positions
from jobs.geo import BadPlace, Point
from jobs.positions import BadPosition, Position
from tests.jobs import scenes
from tests.jobs.scenes import AUSTIN, NOW, later
from tiering import workers
from tiering.workers import Fix

DALLAS = Position(32.7767, -96.7970, accuracy_m=10.0)
APART = geo.distance_km(AUSTIN.point, DALLAS.point)  # 294 km


def fix(position: Position, at: datetime = NOW, *, accuracy_m: float | None = None) -> Fix:
    accuracy_m = position.accuracy_m if accuracy_m is None else accuracy_m
    return Fix(position.latitude, position.longitude, accuracy_m, at)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"accuracy_m": -0.1}, "accuracy_m"),
        ({"accuracy_m": 100_001}, "accuracy_m"),
        ({"accuracy_m": math.nan}, "accuracy_m"),
        ({"fix_age_s": -1}, "fix_age_s"),
        ({"fix_age_s": 86_401}, "fix_age_s"),
        ({"fix_age_s": math.inf}, "fix_age_s"),
        ({"latitude": 90.1}, "latitude"),
        ({"latitude": math.nan}, "latitude"),
        ({"longitude": -180.1}, "longitude"),
    ],
)
def test_what_cannot_be_is_refused_by_field(values: dict[str, Any], field: str) -> None:
    with pytest.raises((BadPosition, BadPlace)) as refused:
        Position(**{"latitude": 30.0, "longitude": -97.0, "accuracy_m": 5.0} | values)
    assert refused.value.members["field"] == field


def test_the_limits_themselves_are_fine() -> None:
    Position(-90, 180, accuracy_m=100_000, fix_age_s=86_400, mocked=True)


@pytest.mark.parametrize(
    ("hours", "before_m", "accuracy_m", "kmh"),
    [
        (1, 0, 0, APART),
        (-1, 0, 0, APART),
        (0.5, 0, 0, 2 * APART),
        (1, 0, 100_000, APART - 100),
        (1, 1_000, 1_000, APART - 2),
    ],
)
def test_speed_is_distance_less_uncertainty_by_time(
    hours: float, before_m: float, accuracy_m: float, kmh: float
) -> None:
    there = Fix(DALLAS.latitude, DALLAS.longitude, accuracy_m, later(hours=hours))
    assert positions.speed_kmh(fix(AUSTIN, accuracy_m=before_m), there) == pytest.approx(kmh)


def test_without_an_earlier_fix_there_is_no_speed() -> None:
    assert positions.speed_kmh(None, fix(AUSTIN)) is None


@given(st.integers(-60, 60), st.floats(0, 0.05), st.floats(0, 1_000))
def test_a_jumpy_receiver_is_no_aeroplane(seconds: int, north: float, accuracy_m: float) -> None:
    """Less than a minute counts as one, also when the phones' requests arrive in the wrong order."""
    there = Fix(AUSTIN.latitude + north, AUSTIN.longitude, accuracy_m, NOW + timedelta(seconds=seconds))
    speed = positions.speed_kmh(fix(AUSTIN, accuracy_m=0), there)
    km = geo.distance_km(AUSTIN.point, Point(there.latitude, there.longitude))
    assert speed == pytest.approx(max(0.0, km - accuracy_m / 1_000) * 60)


def test_a_move_is_remembered_for_the_next(session: Session) -> None:
    ana = scenes.worker(session)
    assert positions.move(session, ana, AUSTIN, now=NOW) is None
    session.expire_all()
    assert positions.move(session, ana, DALLAS, now=later(hours=1)) == pytest.approx(APART, abs=0.1)
    session.expire_all()
    assert workers.last_fix(ana) == fix(DALLAS, later(hours=1))


def test_a_fix_the_phone_has_kept_is_as_old_as_it_says(session: Session) -> None:
    """A driver claims with a fix from an hour ago and hands in with a fresh one: they have had that hour."""
    ana = scenes.worker(session)
    old = Position(30.80, AUSTIN.longitude, accuracy_m=10.0, fix_age_s=3_600)
    positions.move(session, ana, old, now=NOW)
    session.expire_all()
    assert workers.last_fix(ana) == fix(old, later(hours=-1))
    speed = positions.move(session, ana, AUSTIN, now=later(minutes=2))
    assert speed == pytest.approx(geo.distance_km(old.point, AUSTIN.point) / (62 / 60), abs=0.1)
    session.expire_all()
    back = positions.move(session, ana, old, now=later(minutes=3))
    assert back == pytest.approx(geo.distance_km(old.point, AUSTIN.point) / (59 / 60), abs=0.1)
    session.expire_all()
    assert workers.last_fix(ana) == fix(AUSTIN, later(minutes=2))


def test_a_late_request_does_not_move_the_worker_back(session: Session) -> None:
    ana = scenes.worker(session)
    positions.move(session, ana, DALLAS, now=later(hours=1))
    session.expire_all()
    positions.move(session, ana, AUSTIN, now=NOW)
    session.expire_all()
    assert workers.last_fix(ana) == fix(DALLAS, later(hours=1))


def test_evidence_is_kept_as_given() -> None:
    position = Position(30.0, -97.0, 12.5, fix_age_s=3, mocked=True)
    assert position.evidence(now=NOW, speed_kmh=12.345) == {
        "latitude": 30.0,
        "longitude": -97.0,
        "accuracy_m": 12.5,
        "fix_age_s": 3,
        "mocked": True,
        "at": "2026-03-02T12:00:00+00:00",
        "speed_kmh": 12.3,
    }
    assert position.evidence(now=NOW, speed_kmh=None)["speed_kmh"] is None


def test_crossing_the_antimeridian_is_no_flight_round_the_world() -> None:
    there, here = Fix(0.0, 179.99, 0, NOW), Fix(0.0, -179.99, 0, later(hours=1))
    assert positions.speed_kmh(there, here) == pytest.approx(2.2, abs=0.1)

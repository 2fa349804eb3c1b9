"""Positions: impossible ones are refused by field; speed is judged with the receiver's uncertainty."""

import math
from datetime import timedelta
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

DALLAS = Position(32.7767, -96.7970, accuracy_m=10.0)
APART = geo.distance_km(AUSTIN.point, DALLAS.point)  # 294 km


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
    ("hours", "accuracy_m", "kmh"),
    [(1, 0, APART), (0.5, 0, 2 * APART), (1, 100_000, APART - 100), (1, 1_000, APART - 1)],
)
def test_speed_is_distance_less_uncertainty_by_time(hours: float, accuracy_m: float, kmh: float) -> None:
    there = Position(DALLAS.latitude, DALLAS.longitude, accuracy_m)
    assert positions.speed_kmh((AUSTIN.point, NOW), there, later(hours=hours)) == pytest.approx(kmh)


def test_without_an_earlier_fix_there_is_no_speed() -> None:
    assert positions.speed_kmh(None, AUSTIN, NOW) is None


@given(st.integers(-3_600, 60), st.floats(0, 0.05), st.floats(0, 1_000))
def test_a_jumpy_receiver_is_no_aeroplane(seconds: int, north: float, accuracy_m: float) -> None:
    """Less than a minute counts as one, also when the phones' requests arrive in the wrong order."""
    there = Position(AUSTIN.latitude + north, AUSTIN.longitude, accuracy_m)
    speed = positions.speed_kmh((AUSTIN.point, NOW), there, NOW + timedelta(seconds=seconds))
    km = geo.distance_km(AUSTIN.point, there.point)
    assert speed == pytest.approx(max(0.0, km - accuracy_m / 1_000) * 60)


def test_a_move_is_remembered_for_the_next(session: Session) -> None:
    ana = scenes.worker(session)
    assert positions.move(session, ana, AUSTIN, now=NOW) is None
    session.expire_all()
    assert positions.move(session, ana, DALLAS, now=later(hours=1)) == pytest.approx(APART, abs=0.1)
    session.expire_all()
    assert workers.last_fix(ana) == workers.Fix(DALLAS.latitude, DALLAS.longitude, later(hours=1))


def test_a_late_request_does_not_move_the_worker_back(session: Session) -> None:
    ana = scenes.worker(session)
    positions.move(session, ana, DALLAS, now=later(hours=1))
    session.expire_all()
    positions.move(session, ana, AUSTIN, now=NOW)
    session.expire_all()
    assert workers.last_fix(ana) == workers.Fix(DALLAS.latitude, DALLAS.longitude, later(hours=1))


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
    here = Position(0.0, -179.99, 0)
    assert positions.speed_kmh((Point(0.0, 179.99), NOW), here, later(hours=1)) == pytest.approx(2.2, abs=0.1)

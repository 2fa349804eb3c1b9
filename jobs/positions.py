"""Where a phone says it is: evidence, kept as given, with what it implies about speed."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from infra.errors import Invalid
from jobs.geo import Point, distance_km
from tiering import workers
from tiering.models import Worker

MAX_ACCURACY_M = 100_000.0
MAX_FIX_AGE_S = 86_400.0


class BadPosition(Invalid):
    """This position cannot be right."""


@dataclass(frozen=True)
class Position:
    """A device fix: degrees (WGS 84), radius of uncertainty in metres, age in seconds, and the system's mock flag."""

    latitude: float
    longitude: float
    accuracy_m: float
    fix_age_s: float = 0.0
    mocked: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.accuracy_m <= MAX_ACCURACY_M:
            raise BadPosition(
                f"accuracy_m is {self.accuracy_m:g}; it lies between 0 and {MAX_ACCURACY_M:g} metres.",
                field="accuracy_m",
            )
        if not 0 <= self.fix_age_s <= MAX_FIX_AGE_S:
            raise BadPosition(
                f"fix_age_s is {self.fix_age_s:g}; it lies between 0 and {MAX_FIX_AGE_S:g} seconds.", field="fix_age_s"
            )
        self.point  # noqa: B018 - refuses impossible degrees

    @property
    def point(self) -> Point:
        return Point(self.latitude, self.longitude)

    def evidence(self, *, now: datetime, speed_kmh: float | None) -> dict[str, Any]:
        """What is kept with a claim or a submission."""
        return {**asdict(self), "at": now.isoformat(), "speed_kmh": None if speed_kmh is None else round(speed_kmh, 1)}


def speed_kmh(last: tuple[Point, datetime] | None, here: Position, now: datetime) -> float | None:
    """
    Speed since the worker's last fix, in kilometres per hour; None without one. The uncertainty of this fix is taken off
    the distance, and less than a minute counts as one, so that a jumpy receiver does not look like an aeroplane.
    """
    if last is None:
        return None
    point, at = last
    km = max(0.0, distance_km(point, here.point) - here.accuracy_m / 1_000)
    hours = max((now - at).total_seconds(), 60.0) / 3_600
    return km / hours


def move(session: Session, worker: Worker, here: Position, *, now: datetime) -> float | None:
    """Remember where the worker is; returns the speed since the last fix."""
    last = workers.last_fix(worker)
    workers.remember_fix(session, worker.id, workers.Fix(here.latitude, here.longitude, now))
    return speed_kmh((Point(last.latitude, last.longitude), last.at) if last else None, here, now)

"""Where a phone says it is: evidence, kept as given, with what it implies about speed."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from infra.errors import Invalid
from jobs.geo import Point, distance_km
from tiering import workers
from tiering.models import Worker
from tiering.workers import Fix

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


def speed_kmh(last: Fix | None, here: Fix) -> float | None:
    """
    Speed between two fixes, in kilometres per hour; None without a last one. The uncertainty of both is taken off the
    distance, and less than a minute counts as one, so that a jumpy receiver does not look like an aeroplane. A phone may
    answer with a fix it has kept, older than the last: the time between them counts either way.
    """
    if last is None:
        return None
    uncertain_km = (last.accuracy_m + here.accuracy_m) / 1_000
    apart = distance_km(Point(last.latitude, last.longitude), Point(here.latitude, here.longitude))
    hours = max(abs((here.at - last.at).total_seconds()), 60.0) / 3_600
    return max(0.0, apart - uncertain_km) / hours


def move(session: Session, worker: Worker, here: Position, *, now: datetime) -> float | None:
    """Remember where the worker was when the phone looked; returns the speed since the last fix."""
    last = workers.last_fix(worker)
    fix = Fix(here.latitude, here.longitude, here.accuracy_m, now - timedelta(seconds=here.fix_age_s))
    workers.remember_fix(session, worker.id, fix)
    return speed_kmh(last, fix)

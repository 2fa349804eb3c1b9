"""
What the story finds there already: a buyer with a key, a reviewer, and workers with a past.

The only part of the demo that goes past HTTP. A tier takes up to 500 scored submissions, so these histories are planted:
outcomes of submissions that never were, written by the same functions that verdicts call, which then decide on the tier.
"""

from dataclasses import dataclass
from datetime import timedelta

from api.auth import keys
from api.auth import staff as people
from api.seed import NotInProduction
from infra import clock, db, ids
from infra.settings import settings
from jobs import organizations
from tiering import standing, workers

BUYER = "Demo Maps Ltd"
REVIEWER = "reviewer@example.org"
REVIEWER_PASSWORD = "only-for-the-demo"  # noqa: S105 - lives as long as the demo's data folder


@dataclass(frozen=True)
class Past:
    """How many submissions were scored, and how many of them got 3 stars or more."""

    scored: int
    good: int


PASTS = {
    "diamond": Past(520, 494),
    "gold": Past(160, 144),
    "silver": Past(60, 48),
    "bronze": Past(20, 14),
    "new": Past(0, 0),
}


@dataclass(frozen=True)
class Secrets:
    """What the people of the story sign in with."""

    api_key: str
    otpauth: str


def plant_people() -> Secrets:
    """
    A buyer without money, and a reviewer, as `footwork org add` and `footwork staff add` do.

    :raises NotInProduction: never there
    """
    _require_sandbox()
    now = clock.now()
    with db.transaction() as session:
        organization = organizations.found(session, name=BUYER, now=now)
        _, api_key = keys.issue(session, organization.id, "demo", keys.SCOPES, "live", now)
        otpauth = people.add(session, REVIEWER, REVIEWER_PASSWORD, "admin", now=now)
    return Secrets(api_key, otpauth)


def plant_past(worker_id: str, past: Past) -> None:
    """
    Give a worker outcomes, one a half hour, spread evenly, and have their tier reconsidered.

    :raises NotInProduction: never there
    """
    _require_sandbox()
    if not past.scored:
        return
    now, id = clock.now(), ids.read("wkr", worker_id)
    with db.transaction() as session:
        for number in range(past.scored):
            good = (number + 1) * past.good // past.scored > number * past.good // past.scored
            scored_at = now - timedelta(minutes=30) * (past.scored - number)
            standing.record_outcome(
                session, worker_id=id, submission_id=ids.new(), stars=4 if good else 2, now=scored_at
            )
        workers.count_assignment(session, id, past.scored)
        standing.reconsider(session, id, now)


def _require_sandbox() -> None:
    if settings().env == "production":
        raise NotInProduction

"""Money in the right place to start from, put there the way it gets there."""

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

import pytest

from infra import db, ids
from payouts import earnings, escrow, wallets
from payouts.money import Split

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def funded(database: str) -> Callable[[int], UUID]:
    """`funded(5_000)`: an organization with that much in its wallet."""

    def top_up(cents: int) -> UUID:
        organization_id = ids.new()
        with db.transaction() as session:
            wallets.top_up(session, organization_id=organization_id, cents=cents, cause=f"top_up:{ids.new()}", now=NOW)
        return organization_id

    return top_up


@pytest.fixture
def earned(funded: Callable[[int], UUID]) -> Callable[[int], UUID]:
    """`earned(2_500)`: a worker who was paid that much, without a fee."""

    def pay(cents: int) -> UUID:
        organization_id, job_id, worker_id = funded(cents), ids.new(), ids.new()
        with db.transaction() as session:
            escrow.reserve(
                session,
                organization_id=organization_id,
                job_id=job_id,
                cents=cents,
                cause=f"publish:{job_id}",
                now=NOW,
            )
            earnings.pay(
                session,
                job_id=job_id,
                worker_id=worker_id,
                submission_id=ids.new(),
                split=Split(buyer=cents, worker=cents, fee=0),
                now=NOW,
            )
        return worker_id

    return pay

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import pytest
from sqlalchemy.orm import Session

from infra import db, ids
from infra.outbox import Event
from payouts import escrow, wallets
from payouts.escrow import WalletTooShort
from payouts.ledger import Overdrawn

Funded = Callable[[int], UUID]


def test_a_wallet_too_short_says_what_is_missing(session: Session, now: datetime) -> None:
    buyer = ids.new()
    wallets.top_up(session, organization_id=buyer, cents=1_200, cause="top_up:1", now=now)
    with pytest.raises(WalletTooShort, match="Top up at least 3,800 cents") as refused:
        escrow.reserve(session, organization_id=buyer, job_id=ids.new(), cents=5_000, cause="publish:1", now=now)
    assert refused.value.members == {"needed_cents": 5_000, "available_cents": 1_200, "missing_cents": 3_800}
    assert wallets.balance(session, buyer) == 1_200


def test_an_empty_wallet_is_too_short(session: Session, now: datetime) -> None:
    with pytest.raises(WalletTooShort):
        escrow.reserve(session, organization_id=ids.new(), job_id=ids.new(), cents=1, cause="publish:1", now=now)


def test_refund_goes_back_to_the_wallet(session: Session, now: datetime) -> None:
    buyer, job = ids.new(), ids.new()
    wallets.top_up(session, organization_id=buyer, cents=500, cause="top_up:1", now=now)
    escrow.reserve(session, organization_id=buyer, job_id=job, cents=500, cause="publish:1", now=now)
    escrow.refund(session, organization_id=buyer, job_id=job, cents=200, cause="cancel:1", now=now)
    assert (wallets.balance(session, buyer), escrow.balance(session, job)) == (200, 300)


def test_more_than_the_escrow_holds_is_not_refunded(session: Session, now: datetime) -> None:
    buyer, job = ids.new(), ids.new()
    wallets.top_up(session, organization_id=buyer, cents=500, cause="top_up:1", now=now)
    escrow.reserve(session, organization_id=buyer, job_id=job, cents=500, cause="publish:1", now=now)
    with pytest.raises(Overdrawn):
        escrow.refund(session, organization_id=buyer, job_id=job, cents=501, cause="cancel:1", now=now)


@pytest.mark.parametrize("cents", [0, -1])
def test_nothing_and_less_do_not_move(session: Session, now: datetime, cents: int) -> None:
    of = {"organization_id": ids.new(), "cents": cents, "cause": "x", "now": now}
    with pytest.raises(ValueError, match="more than nothing"):
        wallets.top_up(session, **of)  # type: ignore[arg-type]
    for step in (escrow.reserve, escrow.refund):
        with pytest.raises(ValueError, match="more than nothing"):
            step(session, job_id=ids.new(), **of)  # type: ignore[arg-type]


def test_a_top_up_is_told_once(database: str, now: datetime) -> None:
    buyer = ids.new()
    for _ in range(2):
        with db.transaction() as session:
            wallets.top_up(session, organization_id=buyer, cents=700, cause="top_up:1", now=now)
    with db.transaction() as session:
        [event] = session.query(Event).filter_by(type="credits.purchased")
        assert event.organization_id == buyer
        assert event.data == {"amount_cents": 700, "balance_cents": 700}

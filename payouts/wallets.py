"""Wallets: what a buyer has paid in and not spent yet."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from infra import ids, outbox
from payouts import accounts, ledger
from payouts.ledger import About, Line
from payouts.models import Transfer


def top_up(session: Session, *, organization_id: UUID, cents: int, cause: str, now: datetime) -> Transfer:
    """
    Put money from outside into a wallet, once per cause.

    :param cause: the payment that brought it: `top_up:<payment id>`
    """
    if cents <= 0:
        raise ValueError(f"a top-up is more than nothing: {cents}")
    wallet = accounts.wallet(organization_id)
    held = ledger.hold(session, [wallet], now=now)[wallet]
    fresh = ledger.find(session, cause) is None
    transfer = ledger.post(
        session,
        reason="top_up",
        cause=cause,
        entries={accounts.PROVIDER: -cents, wallet: cents},
        about=About(organization_id=organization_id),
        now=now,
    )
    if fresh:
        outbox.record(
            session,
            "credits.purchased",
            subject=ids.show("org", organization_id),
            organization_id=organization_id,
            data={"amount_cents": cents, "balance_cents": (held.balance_cents or 0) + cents},
        )
    return transfer


def balance(session: Session, organization_id: UUID) -> int:
    """Cents the organization can still spend."""
    return ledger.balance(session, accounts.wallet(organization_id))


def history(session: Session, organization_id: UUID, *, limit: int, before: UUID | None = None) -> Sequence[Line]:
    """What went into and out of the wallet, newest first."""
    return ledger.lines(session, accounts.wallet(organization_id), limit=limit, before=before)

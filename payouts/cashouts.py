"""
Cashouts: earnings on their way to the worker's bank.

    requested -> sending -> paid
                         -> failed: the money is back in the earnings, with the rail's reason

The money leaves the earnings with the request and waits in transit, so it can be spent once however often it is asked for.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from infra import ids, outbox, states
from infra.errors import Conflict, Invalid, NotFound
from infra.settings import settings
from payouts import accounts, ledger
from payouts.ledger import About
from payouts.models import CASHOUT, Cashout
from payouts.rails import Payment, Receipt

SEND_WITHIN = timedelta(minutes=1)
ANSWER_WITHIN = timedelta(minutes=2)


class CashoutTooSmall(Invalid):
    """This is less than the smallest cashout."""


class NotEnoughEarned(Conflict):
    """Your earnings do not cover this cashout."""


class NoRail(Conflict):
    """Cashouts are not switched on here yet."""


class CashoutDiffers(Conflict):
    """This client id belongs to a cashout of another amount."""


class NoSuchCashout(NotFound):
    """There is no such cashout."""


def request(
    session: Session, *, worker_id: UUID, amount_cents: int | None, client_id: UUID | str, now: datetime
) -> Cashout:
    """
    Start a cashout. Asked twice with one client id, it is the same cashout.

    :param amount_cents: None for the whole balance
    :param client_id: made by the worker's app
    :raises NoRail: no way to pay out is set up
    :raises CashoutTooSmall: less than the minimum asked for
    :raises NotEnoughEarned: less than that (or less than the minimum) earned
    :raises CashoutDiffers: the client id was used for another amount
    """
    if settings().cashout_rail == "none":
        raise NoRail("Nothing is lost: what you have earned waits here until cashouts are switched on.")
    earnings, transit = accounts.earnings(worker_id), accounts.transit(worker_id)
    # Holding the worker's accounts makes their requests wait for each other; what is read from here on stays true.
    available = ledger.hold(session, [earnings, transit], now=now)[earnings].balance_cents or 0
    if earlier := _of_client(session, worker_id, str(client_id)):
        if amount_cents not in (None, earlier.amount_cents):
            raise CashoutDiffers(
                f"Client id {client_id} is a cashout of {earlier.amount_cents:,} cents. Use a new id for another one.",
                amount_cents=earlier.amount_cents,
            )
        return earlier
    cents = _amount(amount_cents, available)
    cashout = Cashout(
        id=ids.new(),
        state="requested",
        due_at=now + SEND_WITHIN,
        worker_id=worker_id,
        client_id=str(client_id),
        amount_cents=cents,
        rail=settings().cashout_rail,
        created_at=now,
    )
    session.add(cashout)
    session.flush()
    ledger.post(
        session,
        reason="cashout",
        cause=f"cashout:{cashout.id}",
        entries={earnings: -cents, transit: cents},
        about=_about(cashout),
        now=now,
    )
    _tell(session, "cashout.requested", cashout)
    return cashout


def begin(session: Session, id: UUID, *, now: datetime) -> Cashout | None:
    """About to send: from here on the rail may know of it. Also for asking again. None when it is finished or not there."""
    return states.try_move(session, Cashout, id, along=CASHOUT, to="sending", due_at=now + ANSWER_WITHIN)


def payment(cashout: Cashout) -> Payment:
    """What the rail is asked for; the key is the cashout's id, so however often it is asked it pays once."""
    return Payment(key=ids.show("csh", cashout.id), worker_id=cashout.worker_id, amount_cents=cashout.amount_cents)


def confirm(session: Session, id: UUID, receipt: Receipt, *, event_id: UUID | None = None, now: datetime) -> None:
    """The rail has paid. Nothing happens if that is known already."""
    cashout = states.try_move(
        session, Cashout, id, along=CASHOUT, to="paid", receipt=receipt.reference, finished_at=now
    )
    if cashout is None:
        return
    ledger.post(
        session,
        reason="cashout_paid",
        cause=f"cashout_paid:{id}",
        entries={accounts.transit(cashout.worker_id): -cashout.amount_cents, accounts.PROVIDER: cashout.amount_cents},
        about=_about(cashout, event_id),
        now=now,
    )
    _tell(session, "cashout.paid", cashout)


def fail(session: Session, id: UUID, reason: str, *, event_id: UUID | None = None, now: datetime) -> None:
    """The rail will not pay: the money goes back. Nothing happens if that is known already."""
    cashout = states.try_move(session, Cashout, id, along=CASHOUT, to="failed", failure=reason, finished_at=now)
    if cashout is None:
        return
    earnings, transit = accounts.earnings(cashout.worker_id), accounts.transit(cashout.worker_id)
    ledger.post(
        session,
        reason="cashout_failed",
        cause=f"cashout_failed:{id}",
        entries={transit: -cashout.amount_cents, earnings: cashout.amount_cents},
        about=_about(cashout, event_id),
        now=now,
    )
    _tell(session, "cashout.failed", cashout, reason=reason)


def get(session: Session, id: UUID, *, worker_id: UUID) -> Cashout:
    """
    One of the worker's cashouts.

    :raises NoSuchCashout: not there, or another worker's
    """
    cashout = session.get(Cashout, id)
    if cashout is None or cashout.worker_id != worker_id:
        raise NoSuchCashout("You have no cashout with this id.")
    return cashout


def history(session: Session, worker_id: UUID, *, limit: int, before: UUID | None = None) -> Sequence[Cashout]:
    """The worker's cashouts, newest first."""
    wanted = select(Cashout).where(Cashout.worker_id == worker_id).order_by(Cashout.id.desc()).limit(limit)
    if before is not None:
        wanted = wanted.where(Cashout.id < before)
    return session.scalars(wanted).all()


def _amount(asked: int | None, available: int) -> int:
    minimum = settings().cashout_minimum_cents
    if asked is not None and asked < minimum:
        raise CashoutTooSmall(
            f"A cashout is at least {minimum:,} cents; this one is {asked:,}.",
            amount_cents=asked,
            minimum_cents=minimum,
        )
    needed = max(asked or 0, minimum)
    if available < needed:
        raise NotEnoughEarned(
            f"This needs {needed:,} cents and you have {available:,}: {needed - available:,} to go.",
            needed_cents=needed,
            available_cents=available,
            missing_cents=needed - available,
        )
    return available if asked is None else asked


def _of_client(session: Session, worker_id: UUID, client_id: str) -> Cashout | None:
    wanted = select(Cashout).where(Cashout.worker_id == worker_id, Cashout.client_id == client_id)
    return session.scalars(wanted).one_or_none()


def _about(cashout: Cashout, event_id: UUID | None = None) -> About:
    return About(worker_id=cashout.worker_id, cashout_id=cashout.id, event_id=event_id)


def _tell(session: Session, type: str, cashout: Cashout, **more: str) -> None:
    outbox.record(
        session,
        type,
        subject=ids.show("csh", cashout.id),
        data={"worker": ids.show("wkr", cashout.worker_id), "amount_cents": cashout.amount_cents, **more},
    )

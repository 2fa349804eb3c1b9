"""
The ledger: the only writer of money. A transfer is a balanced set of entries, posted once and never changed; a correction is
another transfer.

What must hold is held by the database (see `models.py`). This module finds the accounts, locks them in one order for
everybody, and says in words what the database would refuse in codes.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Literal, cast
from uuid import UUID

from sqlalchemy import func, insert, select, tuple_, union_all
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from infra import ids
from payouts.accounts import AccountName, Kind
from payouts.models import Account, Entry, Transfer

Reason = Literal["top_up", "reserve", "refund", "pay", "cashout", "cashout_paid", "cashout_failed"]


class Overdrawn(Exception):
    """
    An account would go below zero. Nothing was written. Callers who can explain it turn it into a refusal; elsewhere it is
    a bug: an escrow, say, never holds less than its unapproved slots need.
    """

    def __init__(self, account: AccountName, *, available_cents: int, needed_cents: int) -> None:
        super().__init__(f"{account} holds {available_cents} cents, {needed_cents} are needed")
        self.account = account
        self.available_cents = available_cents
        self.needed_cents = needed_cents


class CauseReused(Exception):
    """A cause that was posted before came back with another meaning: two different things share a key."""


@dataclass(frozen=True)
class About:
    """Whom a transfer concerns, for histories and for reconciliation. `event_id` is the fact that led to it."""

    organization_id: UUID | None = None
    job_id: UUID | None = None
    submission_id: UUID | None = None
    worker_id: UUID | None = None
    cashout_id: UUID | None = None
    event_id: UUID | None = None


NOBODY = About()


@dataclass(frozen=True)
class Line:
    """One entry as the account's owner reads it."""

    transfer_id: UUID
    reason: Reason
    amount_cents: int
    about: About
    created_at: datetime


@dataclass(frozen=True)
class Posting:
    """One transfer with all its entries, as an auditor reads it."""

    transfer_id: UUID
    reason: Reason
    cause: str
    entries: Mapping[AccountName, int]
    about: About
    created_at: datetime


@dataclass(frozen=True)
class Held:
    """A guarded account's id and balance, true until the transaction ends; a hot account has no balance to hold."""

    id: UUID
    balance_cents: int | None


def post(
    session: Session,
    *,
    reason: Reason,
    cause: str,
    entries: Mapping[AccountName, int],
    about: About = NOBODY,
    now: datetime,
) -> Transfer:
    """
    Move money. The same cause moves it once: posted again, the first transfer is returned.

    The accounts stay locked until the transaction ends, so post late in it. Several transfers in one transaction can
    deadlock with another's (PostgreSQL then ends one of them): post them in one order, sorted by what they share.

    :param cause: what makes it happen, with its id: `publish:<job id>`
    :param entries: cents into (positive) and out of (negative) each account; zeros are left out
    :raises Overdrawn: a wallet, an escrow, earnings or transit would go below zero
    :raises CauseReused: the cause was posted with another reason, other amounts or about something else
    """
    moved = {account: cents for account, cents in entries.items() if cents}
    if len(moved) < 2 or sum(moved.values()) != 0:
        raise ValueError(f"{cause}: entries must be at least two and add up to zero, not {dict(entries)}")
    accounts = hold(session, moved, now=now)
    # Read under the locks: whoever posts the same cause takes the same locks, so it is either here already or not at all.
    if posted := find(session, cause):
        return _the_same(session, posted, reason, moved, about)
    for account, cents in moved.items():
        balance = accounts[account].balance_cents
        if balance is not None and balance + cents < 0:
            raise Overdrawn(account, available_cents=balance, needed_cents=-cents)
    transfer = Transfer(id=ids.new(), reason=reason, cause=cause, legs=len(moved), created_at=now, **_columns(about))
    session.add(transfer)
    session.flush()
    session.execute(
        insert(Entry).values(
            [
                {"transfer_id": transfer.id, "account_id": accounts[account].id, "amount_cents": cents}
                for account, cents in moved.items()
            ]
        )
    )
    return transfer


def hold(session: Session, names: Collection[AccountName], *, now: datetime) -> dict[AccountName, Held]:
    """
    Lock accounts until the transaction ends, opening those that are not there yet. Hot accounts are found, not locked.

    Whoever needs several must hold them in one call: they are locked in the order of their ids, which is what keeps two
    transactions from waiting for each other.
    """
    held = _lock(session, names)
    missing = sorted((name for name in names if name not in held), key=str)
    if missing:
        session.execute(
            upsert(Account)
            .values(
                [
                    {
                        "id": ids.new(),
                        "kind": name.kind,
                        "owner_id": name.owner_id,
                        "balance_cents": None if name.hot else 0,
                        "created_at": now,
                    }
                    for name in missing
                ]
            )
            .on_conflict_do_nothing(index_elements=["kind", "owner_id"])
        )
        held |= _lock(session, missing)
    return held


def find(session: Session, cause: str) -> Transfer | None:
    """The transfer that was posted for a cause."""
    return session.scalars(select(Transfer).where(Transfer.cause == cause)).one_or_none()


def balance(session: Session, name: AccountName) -> int:
    """
    Cents in an account; 0 if it was never used. Hot accounts are added up, which takes time with their entries: ask for
    them in reports only.
    """
    if name.hot:
        total = select(func.sum(Entry.amount_cents)).join(Account, Account.id == Entry.account_id)
        return int(session.execute(total.where(Account.kind == name.kind)).scalar() or 0)
    kept = select(Account.balance_cents).where(Account.kind == name.kind, Account.owner_id == name.owner_id)
    return session.execute(kept).scalar() or 0


def lines(session: Session, name: AccountName, *, limit: int, before: UUID | None = None) -> Sequence[Line]:
    """
    An account's history, newest first.

    :param before: transfer id of the last line of the page before
    """
    wanted = (
        select(Transfer, Entry.amount_cents)
        .join(Entry, Entry.transfer_id == Transfer.id)
        .join(Account, Account.id == Entry.account_id)
        .where(Account.kind == name.kind, Account.owner_id.is_not_distinct_from(name.owner_id))
        .order_by(Entry.transfer_id.desc())
        .limit(limit)
    )
    if before is not None:
        wanted = wanted.where(Entry.transfer_id < before)
    return [
        Line(transfer.id, _reason(transfer), cents, _about(transfer), transfer.created_at)
        for transfer, cents in session.execute(wanted)
    ]


def journal(
    session: Session, *, limit: int, before: UUID | None = None, job_id: UUID | None = None
) -> Sequence[Posting]:
    """
    All transfers (or one job's) with their entries, newest first.

    :param before: transfer id of the last posting of the page before
    """
    wanted = select(Transfer).order_by(Transfer.id.desc()).limit(limit)
    if before is not None:
        wanted = wanted.where(Transfer.id < before)
    if job_id is not None:
        wanted = wanted.where(Transfer.job_id == job_id)
    transfers = session.scalars(wanted).all()
    entries = _entries(session, [transfer.id for transfer in transfers])
    return [Posting(t.id, _reason(t), t.cause, entries[t.id], _about(t), t.created_at) for t in transfers]


def _lock(session: Session, names: Collection[AccountName]) -> dict[AccountName, Held]:
    columns = (Account.id, Account.kind, Account.owner_id, Account.balance_cents)
    guarded = (
        select(*columns)
        .where(tuple_(Account.kind, Account.owner_id).in_([tuple(name) for name in names if not name.hot]))
        .order_by(Account.id)
        .with_for_update(key_share=True)
        .cte("guarded")
    )
    hot = select(*columns).where(Account.kind.in_([name.kind for name in names if name.hot]))
    rows = session.execute(union_all(select(guarded), hot))
    return {AccountName(cast(Kind, kind), owner): Held(id, cents) for id, kind, owner, cents in rows}


def _the_same(
    session: Session, posted: Transfer, reason: Reason, moved: Mapping[AccountName, int], about: About
) -> Transfer:
    """What was posted, if it is what would have been posted now (whichever event led to it)."""
    told = {**_columns(about), "event_id": posted.event_id}
    before = _entries(session, [posted.id])[posted.id]
    if posted.reason != reason or before != moved or _columns(_about(posted)) != told:
        raise CauseReused(f"{posted.cause} was posted as {posted.reason} {before}, and now comes as {reason} {moved}")
    return posted


def _entries(session: Session, transfer_ids: Collection[UUID]) -> dict[UUID, dict[AccountName, int]]:
    found: dict[UUID, dict[AccountName, int]] = {id: {} for id in transfer_ids}
    rows = session.execute(
        select(Entry.transfer_id, Account.kind, Account.owner_id, Entry.amount_cents)
        .join(Account, Account.id == Entry.account_id)
        .where(Entry.transfer_id.in_(transfer_ids))
        .order_by(Entry.amount_cents)
    )
    for id, kind, owner, cents in rows:
        found[id][AccountName(cast(Kind, kind), owner)] = cents
    return found


def _about(transfer: Transfer) -> About:
    return About(**{field.name: getattr(transfer, field.name) for field in fields(About)})


def _columns(about: About) -> dict[str, UUID | None]:
    return asdict(about)


def _reason(transfer: Transfer) -> Reason:
    return cast(Reason, transfer.reason)

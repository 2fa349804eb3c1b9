"""
Tables of money.

Accounts, transfers and entries are written by `ledger.py` alone. What the database itself refuses stands in the migration
(`0003_payouts`): a transfer that does not balance at COMMIT, an entry or transfer that changes, a running balance that
anything but an entry moves, a guarded account below zero.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from infra.db import Base
from infra.states import Stateful, lifecycle
from payouts.accounts import HOT, KINDS

_known = ", ".join(f"'{kind}'" for kind in KINDS)
_hot = ", ".join(f"'{kind}'" for kind in sorted(HOT))

# A cashout that is being sent may be sent again: the rail knows it by its key.
CASHOUT = lifecycle("cashout", requested="sending", sending="sending paid failed", paid="", failed="")


class Account(Base):
    """A place money can be. `balance_cents` is the sum of its entries, kept by a trigger; hot accounts have none."""

    __tablename__ = "accounts"
    __table_args__ = (
        UniqueConstraint("kind", "owner_id", postgresql_nulls_not_distinct=True),
        CheckConstraint(f"kind IN ({_known})", name="kind_known"),
        CheckConstraint(f"(kind IN ({_hot})) = (owner_id IS NULL)", name="owned_unless_hot"),
        CheckConstraint(f"(kind IN ({_hot})) = (balance_cents IS NULL)", name="balance_unless_hot"),
        CheckConstraint("balance_cents >= 0", name="balance_not_negative"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str]
    owner_id: Mapped[UUID | None]
    balance_cents: Mapped[int | None]
    created_at: Mapped[datetime]


class Transfer(Base):
    """Money that moved, for ever: why (`reason`), because of what (`cause`, at most once), and whom it concerns."""

    __tablename__ = "transfers"
    __table_args__ = (
        UniqueConstraint("cause"),
        CheckConstraint("legs >= 2", name="legs_enough"),
        Index(None, "job_id", "id", postgresql_where=text("job_id IS NOT NULL")),
        Index(None, "submission_id", postgresql_where=text("submission_id IS NOT NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    reason: Mapped[str]
    cause: Mapped[str]
    legs: Mapped[int] = mapped_column(comment="how many entries it has; the database counts them")
    organization_id: Mapped[UUID | None]
    job_id: Mapped[UUID | None]
    submission_id: Mapped[UUID | None]
    worker_id: Mapped[UUID | None]
    cashout_id: Mapped[UUID | None]
    event_id: Mapped[UUID | None]
    created_at: Mapped[datetime]


class Entry(Base):
    """One account's part in a transfer: into it when positive, out of it when negative."""

    __tablename__ = "entries"
    __table_args__ = (
        CheckConstraint("amount_cents <> 0", name="amount_not_zero"),
        # An account's history, newest first, and its sum without touching the table.
        Index(None, "account_id", "transfer_id", unique=True, postgresql_include=["amount_cents"]),
    )

    transfer_id: Mapped[UUID] = mapped_column(ForeignKey("transfers.id"), primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    amount_cents: Mapped[int]


class Cashout(Stateful):
    """A worker's earnings on their way to the bank."""

    __tablename__ = "cashouts"
    __table_args__ = (
        UniqueConstraint("worker_id", "client_id"),
        CheckConstraint("amount_cents > 0", name="amount_positive"),
        CheckConstraint("(state = 'failed') = (failure IS NOT NULL)", name="failure_explained"),
        CheckConstraint("(state = 'paid') = (receipt IS NOT NULL)", name="payment_receipted"),
        CheckConstraint("(state IN ('paid', 'failed')) = (finished_at IS NOT NULL)", name="finish_dated"),
        Index(None, "worker_id", "id"),
        *CASHOUT.constraints(),
    )

    worker_id: Mapped[UUID]
    client_id: Mapped[str]
    amount_cents: Mapped[int]
    rail: Mapped[str]
    receipt: Mapped[str | None] = mapped_column(comment="the rail's reference of the payment")
    failure: Mapped[str | None] = mapped_column(comment="the rail's reason, for the worker to read")
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class SandboxPayout(Base):
    """The sandbox provider's own books: what it was asked to pay, by key, and what it answered."""

    __tablename__ = "sandbox_payouts"
    __table_args__ = (CheckConstraint("amount_cents > 0", name="amount_positive"),)

    key: Mapped[str] = mapped_column(primary_key=True)
    worker_id: Mapped[UUID]
    amount_cents: Mapped[int]
    refusal: Mapped[str | None]
    created_at: Mapped[datetime]


class SandboxFault(Base):
    """How the sandbox provider shall treat a worker's next payment: refuse it (with a reason) or pay and not answer."""

    __tablename__ = "sandbox_faults"
    __table_args__ = (
        CheckConstraint("kind IN ('refuse', 'silence')", name="kind_known"),
        CheckConstraint("(kind = 'refuse') = (reason IS NOT NULL)", name="refusal_explained"),
        Index(None, "worker_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    worker_id: Mapped[UUID]
    kind: Mapped[str]
    reason: Mapped[str | None]
    created_at: Mapped[datetime]

"""
Reconciliation: the books checked against themselves, against the jobs and against the rail. Reads only.

    statement = rails.named(name).statement()          # network, so before the transaction
    with db.transaction() as session:
        reconcile.freeze(session)
        violations = reconcile.check(session, expected_escrow=jobs..., statement=statement)

Most of it cannot happen while the database's constraints stand. That is the reason to look.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select, text
from sqlalchemy.orm import Session

from infra import ids
from payouts.accounts import KINDS, Kind
from payouts.models import CASHOUT, Account, Cashout, Entry, Transfer
from payouts.rails import Statement


@dataclass(frozen=True)
class Violation:
    """
    A rule that does not hold.

    :param rows: the rows to look at, as `table id`
    """

    rule: str
    rows: Sequence[str]
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.rule}: {', '.join(self.rows)}: expected {self.expected}, found {self.found}"


@dataclass(frozen=True)
class Owed:
    """What one accepted submission pays: to whom, and cents out of escrow, to the worker and as fee."""

    worker_id: UUID | None
    buyer: int
    worker: int
    fee: int


def freeze(session: Session) -> None:
    """
    See everything as of one moment for the rest of the transaction, so that payments made meanwhile are not violations.
    Must come before the transaction's first query.
    """
    session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))


def check(
    session: Session,
    *,
    expected_escrow: Mapping[UUID, int] | None = None,
    owed: Mapping[UUID, Owed] | None = None,
    statement: Statement | None = None,
) -> list[Violation]:
    """
    Every rule of the books; an empty list is what it should be.

    :param expected_escrow: job id -> what its unapproved slots still need; jobs left out need nothing. None: not checked
    :param owed: submission id -> what it pays, of all accepted ones that pay. None: not checked
    :param statement: the rail's view, taken before this transaction began. None: not checked
    """
    found = [
        *_transfers(session),
        *_books_sum_to_zero(session),
        *_balances(session),
        *_paid_once(session),
        *_transit(session),
        *_cashouts(session),
    ]
    if expected_escrow is not None:
        found += _escrow(session, expected_escrow)
    if owed is not None:
        found += _payments(session, owed)
    if statement is not None:
        found += _rail(session, statement)
    return found


def books(session: Session) -> dict[str, int]:
    """Cents per kind of account, every kind named. They add up to zero."""
    totals = select(Account.kind, func.sum(Entry.amount_cents)).join(Entry, Entry.account_id == Account.id)
    found = {kind: int(cents) for kind, cents in session.execute(totals.group_by(Account.kind))}
    return {kind: found.get(kind, 0) for kind in KINDS}


def _transfers(session: Session) -> Iterator[Violation]:
    legs, cents = func.count(Entry.account_id), func.coalesce(func.sum(Entry.amount_cents), 0)
    wrong = (
        select(Transfer.id, Transfer.legs, legs, cents)
        .outerjoin(Entry, Entry.transfer_id == Transfer.id)
        .group_by(Transfer.id)
        .having(or_(cents != 0, legs != Transfer.legs))
    )
    for id, declared, counted, total in session.execute(wrong):
        yield Violation(
            "every transfer balances",
            [f"transfers {id}"],
            f"{declared} entries adding up to 0",
            f"{counted} adding up to {total}",
        )


def _books_sum_to_zero(session: Session) -> Iterator[Violation]:
    totals = books(session)
    if sum(totals.values()) != 0:
        shown = ", ".join(f"{kind} {cents}" for kind, cents in totals.items())
        yield Violation("all accounts sum to zero", ["entries"], "0", f"{sum(totals.values())} ({shown})")


def _balances(session: Session) -> Iterator[Violation]:
    total = func.coalesce(func.sum(Entry.amount_cents), 0)
    wrong = (
        select(Account.id, Account.kind, Account.balance_cents, total)
        .outerjoin(Entry, Entry.account_id == Account.id)
        .where(Account.balance_cents.is_not(None))
        .group_by(Account.id)
        .having(or_(total != Account.balance_cents, total < 0))
    )
    for id, kind, balance, cents in session.execute(wrong):
        if cents != balance:
            yield Violation("a balance is the sum of its entries", [f"accounts {id}"], str(cents), str(balance))
        if cents < 0:
            yield Violation(f"no {kind} is below zero", [f"accounts {id}"], "0 or more", str(cents))


def _paid_once(session: Session) -> Iterator[Violation]:
    times = func.count()
    wrong = (
        select(Transfer.submission_id, times, func.array_agg(Transfer.id))
        .where(Transfer.reason == "pay", Transfer.submission_id.is_not(None))
        .group_by(Transfer.submission_id)
        .having(times > 1)
    )
    for id, count, transfers in session.execute(wrong):
        rows = [f"submissions {id}", *(f"transfers {transfer}" for transfer in transfers)]
        yield Violation("a submission is paid once", rows, "1 payment", f"{count}")


def _escrow(session: Session, expected: Mapping[UUID, int]) -> Iterator[Violation]:
    held = _totals(session, "escrow")
    for job_id in sorted(held.keys() | expected.keys()):
        if held.get(job_id, 0) != expected.get(job_id, 0):
            yield Violation(
                "escrow is what the unapproved slots need",
                [f"jobs {job_id}"],
                str(expected.get(job_id, 0)),
                str(held.get(job_id, 0)),
            )


def _payments(session: Session, owed: Mapping[UUID, Owed]) -> Iterator[Violation]:
    def cents(kind: Kind) -> ColumnElement[int]:
        return func.coalesce(func.sum(Entry.amount_cents).filter(Account.kind == kind), 0)

    rows = session.execute(
        select(Transfer.submission_id, Transfer.worker_id, cents("escrow"), cents("earnings"), cents("fee"))
        .join(Entry, Entry.transfer_id == Transfer.id)
        .join(Account, Account.id == Entry.account_id)
        .where(Transfer.reason == "pay")
        .group_by(Transfer.id)
    )
    nobody = UUID(int=0)  # a payment that names no submission is one for nothing
    paid: dict[UUID, Owed] = {}
    for id, worker_id, buyer, worker, fee in rows:
        paid[id or nobody] = Owed(worker_id, -int(buyer), int(worker), int(fee))
    for id in sorted(paid.keys() | owed.keys()):
        if paid.get(id) != owed.get(id):
            yield Violation(
                "what is accepted is paid, and nothing else",
                [f"submissions {id}"],
                str(owed.get(id)),
                str(paid.get(id)),
            )


def _transit(session: Session) -> Iterator[Violation]:
    running = select(Cashout.worker_id, func.sum(Cashout.amount_cents)).where(
        Cashout.state.not_in(sorted(CASHOUT.final))
    )
    rows = session.execute(running.group_by(Cashout.worker_id))
    expected = {worker_id: int(cents) for worker_id, cents in rows}
    held = _totals(session, "transit")
    for worker_id in sorted(held.keys() | expected.keys()):
        if held.get(worker_id, 0) != expected.get(worker_id, 0):
            yield Violation(
                "transit is what running cashouts carry",
                [f"workers {worker_id}"],
                str(expected.get(worker_id, 0)),
                str(held.get(worker_id, 0)),
            )


def _cashouts(session: Session) -> Iterator[Violation]:
    """Every cashout came into transit once, and once finished it left it once, for the bank or back."""
    moved = func.concat(Transfer.reason, " ", Entry.amount_cents)
    posted = (
        select(Transfer.cashout_id, func.array_agg(moved).label("moves"))
        .join(Entry, Entry.transfer_id == Transfer.id)
        .join(Account, Account.id == Entry.account_id)
        .where(Transfer.cashout_id.is_not(None), Account.kind == "transit")
        .group_by(Transfer.cashout_id)
        .cte("posted")
    )
    every = select(Cashout.id, Cashout.state, Cashout.amount_cents, func.coalesce(posted.c.moves, []))
    rows = session.execute(every.outerjoin(posted, posted.c.cashout_id == Cashout.id))
    for id, state, cents, moves in rows:
        expected = [f"cashout {cents}", *([f"cashout_{state} {-cents}"] if state in CASHOUT.final else [])]
        if sorted(moves) != sorted(expected):
            yield Violation(
                "a cashout moves its money once", [f"cashouts {id}"], ", ".join(expected), ", ".join(moves) or "nothing"
            )


def _rail(session: Session, statement: Statement) -> Iterator[Violation]:
    """Paid here and there is the same, but for answers still under way; what is failed here was never paid there."""
    ours = {ids.show("csh", cashout.id): cashout for cashout in session.scalars(select(Cashout))}
    for key, cents in statement.paid.items():
        cashout = ours.get(key)
        if cashout is None:
            yield Violation("the rail pays only cashouts", [f"rail {key}"], "a cashout", f"none, {cents} paid")
        elif cashout.state == "failed":
            yield Violation("a failed cashout is not paid", [f"cashouts {cashout.id}"], "0", f"{cents} paid")
        elif cashout.amount_cents != cents:
            yield Violation(
                "the rail pays the amount", [f"cashouts {cashout.id}"], f"{cashout.amount_cents}", f"{cents} paid"
            )
    for key, cashout in ours.items():
        finished = cashout.finished_at
        if cashout.state == "paid" and key not in statement.paid and finished and finished <= statement.taken_at:
            yield Violation(
                "a paid cashout is paid by the rail", [f"cashouts {cashout.id}"], f"{cashout.amount_cents}", "0 paid"
            )


def _totals(session: Session, kind: Kind) -> dict[UUID, int]:
    """Cents by owner, added up from the entries."""
    totals = (
        select(Account.owner_id, func.sum(Entry.amount_cents))
        .join(Entry, Entry.account_id == Account.id)
        .where(Account.kind == kind, Account.owner_id.is_not(None))
        .group_by(Account.owner_id)
    )
    return {owner: int(cents) for owner, cents in session.execute(totals) if owner}

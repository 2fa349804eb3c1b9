"""
Chart of accounts: every place money can be.

    provider --top up--> wallet --reserve--> escrow --pay--> earnings --cashout--> transit --paid--> provider
                         wallet <--refund--- escrow --pay--> fee     earnings <--failed--- transit

`provider` is the world outside: what came in from there stands on it as a negative balance, so that all accounts together
are zero. An amount is positive when it goes into an account.
"""

from typing import Literal, NamedTuple, get_args
from uuid import UUID

Kind = Literal["wallet", "escrow", "earnings", "transit", "fee", "provider"]
KINDS: tuple[Kind, ...] = get_args(Kind)

# One row for the whole platform. They keep no running balance: every payment would wait for the one before it to commit.
HOT: frozenset[Kind] = frozenset({"fee", "provider"})


class AccountName(NamedTuple):
    """Which account: its kind, and whose it is (nobody's if the platform has one of the kind)."""

    kind: Kind
    owner_id: UUID | None

    @property
    def hot(self) -> bool:
        return self.kind in HOT

    def __str__(self) -> str:
        return f"{self.kind} {self.owner_id}" if self.owner_id else self.kind


FEE = AccountName("fee", None)
PROVIDER = AccountName("provider", None)


def wallet(organization_id: UUID) -> AccountName:
    """What a buyer has not spent yet."""
    return AccountName("wallet", organization_id)


def escrow(job_id: UUID) -> AccountName:
    """What a published job still needs for its unapproved slots."""
    return AccountName("escrow", job_id)


def earnings(worker_id: UUID) -> AccountName:
    """What a worker has earned and not cashed out."""
    return AccountName("earnings", worker_id)


def transit(worker_id: UUID) -> AccountName:
    """What is on its way to a worker's bank. One per worker, so that cashouts do not wait for each other."""
    return AccountName("transit", worker_id)

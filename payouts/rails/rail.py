"""What Footwork asks of whoever pays workers' banks."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID


class RailRefused(Exception):
    """The rail will never make this payment; the message is its reason, for the worker to read."""


class RailUnavailable(Exception):
    """The rail did not answer. It may have paid: ask again with the same key."""


@dataclass(frozen=True)
class Payment:
    """What to pay. The rail keeps `key` for ever and answers it the same way every time."""

    key: str
    worker_id: UUID
    amount_cents: int


@dataclass(frozen=True)
class Receipt:
    """The rail's own reference of a payment it made."""

    reference: str


@dataclass(frozen=True)
class Statement:
    """The rail's view at one moment: cents paid, by key."""

    taken_at: datetime
    paid: Mapping[str, int]


class Rail(Protocol):
    """A way to pay. Both calls go over the network: never inside a transaction."""

    name: str

    def send(self, payment: Payment) -> Receipt:
        """
        Pay, at most once per key.

        :raises RailRefused: it never will
        :raises RailUnavailable: no answer
        """
        ...

    def statement(self) -> Statement:
        """
        Everything it has paid.

        :raises RailUnavailable: no answer
        """
        ...

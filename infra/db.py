"""
PostgreSQL: the engine, the base of all models, and the transaction.

A transaction is opened and committed here and only here: `api/deps.py` for a request, the `background.py` of each package
for a background function. Domain functions take a `Session` and never commit.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, Engine, LargeBinary, MetaData, Text, Uuid, create_engine
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Session

from infra.settings import settings

# A server whose machine or network is gone says nothing. Without these a query waits for the kernel's 15 minutes or more, and
# every thread with it. https://www.postgresql.org/docs/18/libpq-connect.html#LIBPQ-PARAMKEYWORDS
NOTICE_DEATH = {
    "tcp_user_timeout": 10_000,  # milliseconds in which what was sent must be acknowledged
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}

_here = threading.local()


class Base(DeclarativeBase):
    """Base of every model. Timestamps are `timestamptz`, integers 64 bit, `dict` and `list` are `jsonb`."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: DateTime(timezone=True),
        UUID: Uuid(),
        int: BigInteger(),
        str: Text(),
        bytes: LargeBinary(),
        dict[str, Any]: JSONB(),
        list[Any]: JSONB(),
        list[str]: JSONB(),
    }


class NetworkInTransaction(RuntimeError):
    """A call to the network was tried while a database transaction was open: locks would wait for a stranger."""


def engine() -> Engine:
    """This process's engine, as large as its thread pool."""
    return _engine(settings().database_url, settings().threads)


@lru_cache(maxsize=4)
def _engine(url: str, threads: int) -> Engine:
    return create_engine(
        url,
        pool_size=threads,
        max_overflow=2,
        pool_timeout=10,
        pool_pre_ping=True,  # a restarted server costs one round trip, not a failed request
        connect_args={
            "connect_timeout": 5,
            **NOTICE_DEATH,
            "options": " ".join(f"-c {name}={value}" for name, value in _session_settings().items()),
        },
    )


def _session_settings() -> dict[str, str]:
    timeout = settings().statement_timeout_ms
    return {
        "timezone": "UTC",
        "statement_timeout": str(timeout),
        "idle_in_transaction_session_timeout": str(timeout * 3),
        # What memory and solid-state disks cost; PostgreSQL's 4 is that of a spinning disk and makes it read whole tables.
        "random_page_cost": "1.1",
    }


@contextmanager
def transaction() -> Iterator[Session]:
    """
    One transaction: committed when the block ends, rolled back when it raises. What `after_commit` collected runs then,
    outside the transaction.
    """
    if in_transaction():
        raise RuntimeError(
            "A transaction is already open in this thread: pass its session on instead of opening another."
        )
    session = Session(engine(), expire_on_commit=False)
    _here.open = True
    try:
        with session.begin():
            yield session
    finally:
        _here.open = False
        session.close()
    for act in session.info.pop("after_commit", ()):
        act()


def in_transaction() -> bool:
    """Whether this thread holds a transaction open."""
    return getattr(_here, "open", False)


def after_commit(session: Session, act: Callable[[], None]) -> None:
    """Do something once the transaction has committed; never if it did not. Must not raise: the change already stands."""
    session.info.setdefault("after_commit", []).append(act)


def forbid_in_transaction(what: str) -> None:
    """
    Guard of everything that talks to the network.

    :raises NetworkInTransaction: a transaction is open in this thread
    """
    if in_transaction():
        raise NetworkInTransaction(f"{what} inside a transaction. Split it in three: about to send, call, answer.")

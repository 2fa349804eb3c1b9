"""The transaction: all or nothing, what waits for the commit, and no network meanwhile."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from infra import blobs, db, egress
from infra.db import NetworkInTransaction
from infra.outbox import Event


def count_notes() -> int:
    with db.transaction() as session:
        return session.scalars(select(func.count()).select_from(Event)).one()


def note(session: Session) -> None:
    session.execute(
        text(
            "INSERT INTO events (id, type, subject, data, created_at) "
            "VALUES (gen_random_uuid(), 'test.noted', 'x_y', '{}', now())"
        )
    )


def test_what_waits_for_the_commit_runs_after_it_in_order(database: str) -> None:
    seen: list[tuple[str, bool, int]] = []
    with db.transaction() as session:
        note(session)
        db.after_commit(session, lambda: seen.append(("first", db.in_transaction(), count_notes())))
        db.after_commit(session, lambda: seen.append(("second", db.in_transaction(), count_notes())))
        assert seen == []
    assert seen == [("first", False, 1), ("second", False, 1)]


def test_nothing_runs_or_stays_after_a_rollback(database: str) -> None:
    seen: list[str] = []

    def fail() -> None:
        with db.transaction() as session:
            note(session)
            db.after_commit(session, lambda: seen.append("ran"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert seen == []
    assert count_notes() == 0
    assert not db.in_transaction()


def test_a_commit_that_fails_is_an_error_and_nothing_runs(database: str) -> None:
    seen: list[str] = []

    def commit_what_the_database_refuses_at_the_end() -> None:
        with db.transaction() as session:
            session.execute(text("CREATE TEMP TABLE late (n int UNIQUE DEFERRABLE INITIALLY DEFERRED) ON COMMIT DROP"))
            session.execute(text("INSERT INTO late VALUES (1), (1)"))
            db.after_commit(session, lambda: seen.append("ran"))

    with pytest.raises(IntegrityError):
        commit_what_the_database_refuses_at_the_end()
    assert seen == []
    assert not db.in_transaction()


def test_no_transaction_inside_another(session: Session) -> None:
    with pytest.raises(RuntimeError, match="already open"), db.transaction():
        pass
    assert db.in_transaction(), "the outer one is untouched"


@pytest.mark.parametrize(
    "call",
    [
        lambda: blobs.stat("some/key"),
        lambda: blobs.get("some/key"),
        lambda: blobs.put("some/key", b"", "text/plain"),
        lambda: blobs.delete("some/key"),
        lambda: blobs.download("some/key", Path("/nowhere")),
        lambda: egress.post("https://example.org/hook", content=b"{}", headers={}, timeout=1),
    ],
    ids=["stat", "get", "put", "delete", "download", "egress"],
)
def test_no_network_inside_a_transaction(session: Session, call: Callable[[], object]) -> None:
    with pytest.raises(NetworkInTransaction):
        call()


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the kernel has no such option")
def test_a_server_that_is_gone_is_noticed_in_seconds(session: Session) -> None:
    driver = session.connection().connection.dbapi_connection
    assert driver is not None
    with socket.socket(fileno=os.dup(driver.fileno())) as connection:
        option = connection.getsockopt
        assert option(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10_000
        assert option(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        idle, pause = (option(socket.IPPROTO_TCP, it) for it in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL))
        assert idle + pause * option(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) < 15


def test_timestamps_come_back_in_utc(session: Session) -> None:
    assert session.execute(text("SHOW timezone")).scalar_one() == "UTC"

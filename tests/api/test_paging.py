"""Pages neither repeat nor skip, whatever comes in meanwhile; cursors are not trusted."""

from contextlib import suppress
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from api import paging
from api.auth.models import LoginCode
from infra import ids

NOW = datetime(2026, 11, 21, tzinfo=UTC)
ALL = select(LoginCode)


def add(session: Session) -> UUID:
    code = LoginCode(id=ids.new(), email="a@example.org", attempts=0, created_at=NOW, expires_at=NOW)
    session.add(code)
    session.flush()
    return code.id


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.integers(0, 12), limit=st.integers(1, 5), newcomers=st.lists(st.integers(0, 2), max_size=12))
def test_every_row_is_seen_once_newest_first(session: Session, rows: int, limit: int, newcomers: list[int]) -> None:
    session.execute(delete(LoginCode))
    expected = [add(session) for _ in range(rows)][::-1]
    seen: list[UUID] = []
    cursor = None
    while True:
        found = paging.page(session, ALL, LoginCode.id, cursor, limit)
        assert len(found.rows) <= limit
        seen += [row.id for row in found.rows]
        cursor = found.next_cursor
        if cursor is None:
            break
        for _ in range(newcomers.pop() if newcomers else 0):
            add(session)
    assert seen == expected


def test_a_full_last_page_promises_no_more(session: Session) -> None:
    for _ in range(4):
        add(session)
    first = paging.page(session, ALL, LoginCode.id, None, 2)
    second = paging.page(session, ALL, LoginCode.id, first.next_cursor, 2)
    assert (first.next_cursor is None, second.next_cursor) == (False, None)


@given(st.text(max_size=40) | st.binary(max_size=40).map(lambda raw: raw.decode("latin-1")))
def test_a_made_up_cursor_is_refused_or_read_but_never_breaks(text: str) -> None:
    with suppress(paging.BadCursor):
        (place,) = paging.read(text, 1)
        assert isinstance(paging.uuid(place), UUID)


@given(st.lists(st.integers() | st.text() | st.none() | st.booleans(), max_size=4))
def test_a_place_comes_back_as_it_was(place: list[object]) -> None:
    assert paging.read(paging.write(place), len(place)) == place
    with pytest.raises(paging.BadCursor):
        paging.read(paging.write(place), len(place) + 1)

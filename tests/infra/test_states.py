"""Guarded moves: only along the lifecycle, once of two racers, never without a deadline."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from infra import db, ids, states
from infra.outbox import CALL, Call, Event
from infra.states import Gone, IllegalMove, lifecycle

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SOON = NOW + timedelta(minutes=5)
# A lifecycle with a way back, over the states that the table of calls knows.
REVIVABLE = lifecycle("lamp", waiting="done failed", failed="waiting", done="")


def put(session: Session, state: str = "waiting", due_at: datetime | None = SOON) -> UUID:
    event = Event(id=ids.new(), type="test.put", subject="x_y", data={}, created_at=NOW)
    session.add(event)
    session.flush()
    call = Call(
        id=ids.new(), event_id=event.id, function="a.b", state=state, due_at=due_at, attempts=0, deaths=0, rings=0
    )
    session.add(call)
    session.flush()
    return call.id


def test_a_move_changes_state_deadline_and_more_in_one_update(session: Session) -> None:
    id = put(session)
    moved = states.move(session, Call, id, along=REVIVABLE, to="failed", due_at=SOON, attempts=3)
    assert (moved.state, moved.due_at, moved.attempts) == ("failed", SOON, 3)
    moved = states.move(session, Call, id, along=REVIVABLE, to="waiting", due_at=NOW)
    assert (moved.state, moved.due_at, moved.attempts) == ("waiting", NOW, 3)
    moved = states.move(session, Call, id, along=REVIVABLE, to="done")
    assert (moved.state, moved.due_at) == ("done", None)


def test_an_illegal_move_names_the_state_and_the_moves_allowed(session: Session) -> None:
    id = put(session)
    with pytest.raises(IllegalMove) as refused:
        states.move(session, Call, id, along=REVIVABLE, to="waiting", due_at=SOON)
    assert refused.value.members == {"state": "waiting", "allowed": ["done", "failed"]}
    assert refused.value.detail == "This lamp is waiting: from there it can become done, failed."


def test_a_final_state_says_so(session: Session) -> None:
    id = put(session, "done", None)
    with pytest.raises(IllegalMove) as refused:
        states.move(session, Call, id, along=REVIVABLE, to="failed", due_at=SOON)
    assert refused.value.members == {"state": "done", "allowed": []}
    assert refused.value.detail == "This lamp is done: that is final."


def test_only_from_narrows_what_the_lifecycle_allows(session: Session) -> None:
    id = put(session)
    assert states.try_move(session, Call, id, along=REVIVABLE, to="done", only_from="failed") is None
    assert states.try_move(session, Call, id, along=REVIVABLE, to="done", only_from=frozenset({"waiting"})) is not None


def test_what_is_not_there_is_gone(session: Session) -> None:
    with pytest.raises(Gone):
        states.move(session, Call, ids.new(), along=CALL, to="done")
    assert states.try_move(session, Call, ids.new(), along=CALL, to="done") is None


def test_a_state_that_is_not_final_needs_a_deadline(session: Session) -> None:
    id = put(session)
    with pytest.raises(ValueError, match="needs a deadline"):
        states.move(session, Call, id, along=REVIVABLE, to="failed")


@pytest.mark.parametrize(
    ("state", "due_at", "constraint"),
    [("waiting", None, "ck_event_calls_state_has_deadline"), ("lost", SOON, "ck_event_calls_state_known")],
)
def test_the_database_refuses_too(session: Session, state: str, due_at: datetime | None, constraint: str) -> None:
    with pytest.raises(IntegrityError, match=constraint):
        put(session, state, due_at)


def test_of_many_racers_one_moves(database: str) -> None:
    with db.transaction() as session:
        id = put(session)
    racers = 12
    start = Barrier(racers)

    def race(number: int) -> str:
        start.wait()
        with db.transaction() as session:
            try:
                states.move(session, Call, id, along=CALL, to="done" if number % 2 else "failed")
            except IllegalMove as refused:
                return f"refused: {refused.members['state']}"
            return "moved"

    with ThreadPoolExecutor(racers) as pool:
        outcomes = list(pool.map(race, range(racers)))
    with db.transaction() as session:
        end = session.get_one(Call, id).state
    assert sorted(outcomes) == ["moved"] + [f"refused: {end}"] * (racers - 1)


@hypothesis_settings(max_examples=30)
@given(st.lists(st.sampled_from(REVIVABLE.states), max_size=8))
def test_any_walk_stays_on_the_lifecycle(database: str, wishes: list[str]) -> None:
    with db.transaction() as session:
        id, state = put(session), "waiting"
        for wish in wishes:
            moved = states.try_move(session, Call, id, along=REVIVABLE, to=wish, due_at=SOON)
            assert (moved is not None) == (wish in REVIVABLE.moves[state])
            state = wish if moved else state
            assert session.get_one(Call, id, populate_existing=True).state == state


def test_overdue_finds_what_overstays_longest_first(session: Session) -> None:
    late = put(session, due_at=NOW - timedelta(seconds=1))
    later = put(session, due_at=NOW - timedelta(seconds=9))
    now = put(session, due_at=NOW)
    put(session, due_at=NOW + timedelta(seconds=1))
    put(session, "done", NOW - timedelta(days=1))
    assert session.scalars(states.overdue(Call, CALL, NOW)).all() == [later, late, now]
    assert session.scalars(states.overdue(Call, CALL, NOW, limit=1)).all() == [later]


def test_two_clocks_share_the_work(database: str) -> None:
    with db.transaction() as session:
        both = {put(session, due_at=NOW), put(session, due_at=NOW)}

    def other_clock(take: Callable[[Session], set[UUID]]) -> set[UUID]:
        with db.transaction() as session:
            return take(session)

    with ThreadPoolExecutor(1) as pool, db.transaction() as session:
        mine = set(session.scalars(states.overdue(Call, CALL, NOW, limit=1)))
        theirs = pool.submit(other_clock, lambda other: set(other.scalars(states.overdue(Call, CALL, NOW)))).result(5)
    assert len(mine) == len(theirs) == 1
    assert mine | theirs == both


def test_a_lifecycle_knows_its_ends_and_ways() -> None:
    assert REVIVABLE.final == {"done"}
    assert REVIVABLE.sources("waiting") == {"failed"}
    assert REVIVABLE.sources("nowhere") == frozenset()

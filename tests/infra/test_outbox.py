"""The outbox: events with the change they tell of, calls until they are answered, bells that may be lost."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from infra import clock, db, ids, outbox, states, telemetry
from infra.outbox import Call, Event

Bells = list[tuple[UUID, str]]
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
GRACE = timedelta(seconds=5)
LEASE = timedelta(seconds=60) + GRACE


@pytest.fixture
def bells(monkeypatch: pytest.MonkeyPatch) -> Bells:
    """What was rung, with two listeners to `test.happened`."""
    rung: Bells = []

    def ring(calls: Sequence[tuple[UUID, str]]) -> None:
        assert not db.in_transaction()
        rung.extend(calls)

    monkeypatch.setattr(outbox, "_listeners", {})
    monkeypatch.setattr(outbox, "_ring", outbox._ring)
    outbox.wire({"test.happened": ["listeners.hear", "api.webhooks.deliver"]}, ring)
    return rung


def happen(type: str = "test.happened") -> UUID:
    with db.transaction() as session:
        return outbox.record(session, type, subject="x_y", data={"n": 1}).id


def calls() -> list[Call]:
    with db.transaction() as session:
        return list(session.scalars(select(Call).order_by(Call.id)))


def first_call() -> Call:
    return calls()[0]


def sweep(now: datetime) -> int:
    with db.transaction() as session:
        return outbox.sweep(session, now=now)


def begin(id: UUID, now: datetime = NOW) -> tuple[str, UUID] | None:
    with db.transaction() as session:
        return outbox.begin(session, id, now=now)


def postpone(id: UUID, error: str = "Boom: no", *, died: bool = False, now: datetime = NOW) -> None:
    with db.transaction() as session:
        outbox.postpone(session, id, error=error, died=died, now=now)


# -- recording ---------------------------------------------------------------------------------------------------------------


def test_an_event_is_kept_and_every_listener_gets_one_call(database: str, bells: Bells) -> None:
    organization = ids.new()
    telemetry.bind("req_1")
    try:
        with db.transaction() as session:
            outbox.record(session, "test.happened", subject="job_x", organization_id=organization, data={"n": 1})
            assert bells == [], "not before the commit"
    finally:
        telemetry.bind(None)
    with db.transaction() as session:
        [event] = session.scalars(select(Event))
    assert (event.type, event.subject, event.organization_id, event.data, event.request_id) == (
        "test.happened",
        "job_x",
        organization,
        {"n": 1},
        "req_1",
    )
    assert [(call.event_id, call.function, call.state) for call in calls()] == [
        (event.id, "listeners.hear", "waiting"),
        (event.id, "api.webhooks.deliver", "waiting"),
    ]
    assert bells == [(call.id, call.function) for call in calls()]


def test_what_nobody_listens_to_is_kept_and_rings_nothing(database: str, bells: Bells) -> None:
    happen("test.unheard")
    assert calls() == []
    assert bells == []


def test_a_rollback_leaves_neither_event_nor_bell(database: str, bells: Bells) -> None:
    def fail() -> None:
        with db.transaction() as session:
            outbox.record(session, "test.happened", subject="x_y")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with db.transaction() as session:
        assert session.scalars(select(Event)).all() == []
    assert bells == []


# -- the sweep ---------------------------------------------------------------------------------------------------------------


def test_the_sweep_rings_what_never_rang(database: str, bells: Bells) -> None:
    happen()
    lost = list(bells)
    bells.clear()
    due = first_call().due_at
    assert due is not None
    assert sweep(due - timedelta(milliseconds=1)) == 0, "the first bell may still be on its way"
    assert sweep(due) == 2
    assert sorted(bells) == sorted(lost)


def test_the_sweep_rings_again_later_each_time(database: str, bells: Bells) -> None:
    happen()
    pauses = []
    for _ in range(7):
        now = first_call().due_at
        assert now is not None
        assert sweep(now) == 2
        due = first_call().due_at
        assert due is not None
        pauses.append((due - now).total_seconds())
    assert pauses == [30, 60, 120, 240, 300, 300, 300]


def test_the_sweep_rings_nothing_for_what_is_done_or_given_up(
    database: str, bells: Bells, configure: Callable[..., None]
) -> None:
    configure(call_deaths=1)
    happen()
    done, failing = calls()
    begin(done.id)
    with db.transaction() as session:
        outbox.finish(session, done.id)
    begin(failing.id)
    postpone(failing.id, died=True)
    assert [call.state for call in calls()] == ["done", "failed"]
    bells.clear()
    assert sweep(clock.now() + timedelta(days=365)) == 0
    assert bells == []


def test_a_sweep_takes_no_more_than_its_limit(database: str, bells: Bells) -> None:
    for _ in range(3):
        happen()
    bells.clear()
    with db.transaction() as session:
        assert outbox.sweep(session, now=clock.now() + timedelta(hours=1), limit=4) == 4
    assert len(bells) == 4


# -- answering ---------------------------------------------------------------------------------------------------------------


def test_an_attempt_is_counted_before_the_work_and_keeps_the_sweep_away(database: str, bells: Bells) -> None:
    event = happen()
    call = first_call()
    assert begin(call.id, NOW) == ("listeners.hear", event)
    begun = first_call()
    assert (begun.attempts, begun.due_at) == (1, NOW + timedelta(seconds=60) + GRACE)


def test_what_is_done_is_not_begun_again(database: str, bells: Bells) -> None:
    happen()
    call = first_call()
    begin(call.id)
    with db.transaction() as session:
        outbox.finish(session, call.id)
    assert begin(call.id) is None
    assert begin(ids.new()) is None
    postpone(call.id)
    after = first_call()
    assert (after.state, after.attempts, after.error) == ("done", 1, None)


def test_a_failure_is_postponed_with_doubling_pause_for_as_long_as_the_settings_say(
    database: str, bells: Bells
) -> None:
    happen()
    call, now = first_call(), clock.now()
    pauses = []
    for attempt in range(1, 12):
        assert begin(call.id, now) is not None
        postpone(call.id, f"Boom: {attempt}", now=now)
        after = first_call()
        assert after.due_at is not None
        assert (after.state, after.attempts, after.deaths, after.error) == ("waiting", attempt, 0, f"Boom: {attempt}")
        pauses.append((after.due_at - now).total_seconds())
        assert begin(call.id, after.due_at - timedelta(seconds=1)) is None, "it rests, however often it is rung"
        now = after.due_at
    assert pauses == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    late = now + timedelta(hours=24)
    assert begin(call.id, late) is not None
    postpone(call.id, "Boom: last", now=late)
    after = first_call()
    assert (after.state, after.due_at, after.error) == ("failed", None, "Boom: last")
    assert begin(call.id, late) is None


def test_a_call_that_is_being_tried_is_not_tried_by_another(database: str, bells: Bells) -> None:
    happen()
    call = first_call()
    assert begin(call.id, NOW) is not None
    assert begin(call.id, NOW) is None
    assert begin(call.id, NOW + LEASE - timedelta(seconds=1)) is None
    assert begin(call.id, NOW + LEASE) is not None, "it never reported back"


@pytest.mark.parametrize("tells", [True, False])
def test_what_kills_every_horse_is_given_up_and_somebody_is_told(
    database: str, bells: Bells, monkeypatch: pytest.MonkeyPatch, tells: bool
) -> None:
    happen()
    call, now = first_call(), NOW
    for _ in range(3):
        assert begin(call.id, now) is not None
        if tells:
            postpone(call.id, "work horse died", died=True, now=now)
        now += LEASE
    assert begin(call.id, now) is None
    assert first_call().state == "failed"
    with db.transaction() as session:
        told = session.scalars(select(Event).where(Event.type == "given_up.listeners.hear")).one()
        assert (told.subject, told.data) == ("x_y", {"n": 1, "killed": True})


def test_what_was_given_up_can_be_tried_again(database: str, bells: Bells, configure: Callable[..., None]) -> None:
    configure(call_deaths=1)
    happen()
    begin(first_call().id)
    postpone(first_call().id, died=True)
    with db.transaction() as session:
        assert outbox.retry_given_up(session, now=clock.now()) == 1
        assert outbox.retry_given_up(session, now=clock.now()) == 0
    again = next(call for call in calls() if call.function == "listeners.hear")
    assert (again.state, again.attempts, again.deaths) == ("waiting", 0, 0)
    assert begin(again.id) is not None


def test_an_endless_error_is_cut(database: str, bells: Bells) -> None:
    happen()
    postpone(first_call().id, "x" * 10_000)
    assert len(first_call().error or "") == 2_000


def test_the_backlog_counts_what_waits_and_what_was_given_up(
    session: Session, bells: Bells, configure: Callable[..., None]
) -> None:
    configure(call_deaths=1)
    assert outbox.backlog(session) == {"waiting": 0, "failed": 0}
    outbox.record(session, "test.happened", subject="x_y")
    one = session.scalars(select(Call.id)).first()
    assert one is not None
    outbox.begin(session, one, now=NOW)
    outbox.postpone(session, one, error="Boom", died=True, now=NOW)
    assert outbox.backlog(session) == {"waiting": 1, "failed": 1}


def test_a_background_function_finds_its_event(database: str, bells: Bells) -> None:
    id = happen()
    with db.transaction() as session:
        assert outbox.event(session, id).data == {"n": 1}


def test_the_traces_of_work_done_long_ago_go_and_the_rest_stays(bells: Bells, session: Session) -> None:
    for _ in range(2):
        outbox.record(session, "test.happened", subject="x_y")
    done, failed, *waiting = session.scalars(select(Call.id).order_by(Call.id)).all()
    outbox.finish(session, done)
    states.move(session, Call, failed, along=outbox.CALL, to="failed")
    assert outbox.forget_done(session, now=clock.now()) == 0
    assert outbox.forget_done(session, now=clock.now() + outbox.KEEP_DONE + timedelta(seconds=1)) == 1
    assert session.scalars(select(Call.id).order_by(Call.id)).all() == [failed, *waiting]
    assert len(session.scalars(select(Event.id)).all()) == 2

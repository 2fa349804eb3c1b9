"""The tables of states: everything ends, ends are final, and the database moves exactly as the tables say."""

from collections.abc import Callable
from datetime import timedelta
from itertools import product
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from infra import ids, outbox, states
from infra.states import IllegalMove, Lifecycle, Stateful
from ingest.models import UPLOAD, Upload
from jobs import lifecycle
from jobs.lifecycle import ASSIGNMENT, JOB, SUBMISSION
from jobs.models import Assignment, Job, Submission
from payouts.models import CASHOUT
from quality.models import REVIEW, Review
from tests.jobs import scenes
from tests.jobs.scenes import NOW

EVERY = (JOB, ASSIGNMENT, SUBMISSION, UPLOAD, REVIEW, CASHOUT, outbox.CALL)
TABLES: tuple[tuple[Lifecycle, type[Stateful]], ...] = (
    (JOB, Job),
    (ASSIGNMENT, Assignment),
    (SUBMISSION, Submission),
    (UPLOAD, Upload),
    (REVIEW, Review),
)
SOON = NOW + timedelta(hours=1)


def reachable(table: Lifecycle, start: str) -> set[str]:
    found, ahead = set[str](), [start]
    while ahead:
        state = ahead.pop()
        ahead += table.moves[state] - found
        found |= table.moves[state]
    return found


@pytest.mark.parametrize("table", EVERY, ids=lambda table: table.name)
def test_moves_lead_to_states_that_exist(table: Lifecycle) -> None:
    assert {to for following in table.moves.values() for to in following} <= set(table.states)


@pytest.mark.parametrize("table", EVERY, ids=lambda table: table.name)
def test_whatever_is_not_final_can_end(table: Lifecycle) -> None:
    assert table.final
    for state in table.states:
        assert (state in table.final) == (not table.moves[state])
        assert state in table.final or reachable(table, state) & table.final, state


@pytest.mark.parametrize("table", EVERY, ids=lambda table: table.name)
def test_every_state_can_be_reached_from_the_first(table: Lifecycle) -> None:
    first = table.states[0]
    assert reachable(table, first) | {first} == set(table.states)


def test_the_sets_beside_the_tables_fit_them() -> None:
    assert JOB.final | {"closing"} == lifecycle.ENDED
    assert set(JOB.states) - {"draft", "scheduled"} == lifecycle.RUNNING | lifecycle.ENDED
    assert {state for state in JOB.states if "expired" in JOB.moves[state]} == lifecycle.RUNNING
    assert set(ASSIGNMENT.states) >= lifecycle.HOLDING


def test_the_job_moves_as_the_product_draws_it() -> None:
    """product.md, section 2, arrow by arrow."""
    drawn = {
        "draft": {"scheduled", "open", "cancelled"},
        "scheduled": {"open", "cancelled"},
        "open": {"filled", "paused", "closing", "cancelled", "expired"},
        "filled": {"open", "paused", "closing", "cancelled", "expired"},
        "paused": {"open", "closing", "cancelled", "expired"},
        "closing": {"completed"},
    }
    assert {state: set(following) for state, following in JOB.moves.items() if following} == drawn


@pytest.mark.parametrize(("table", "model"), TABLES, ids=lambda value: getattr(value, "name", ""))
def test_the_database_moves_as_the_table_says(session: Session, table: Lifecycle, model: type[Stateful]) -> None:
    id = put(session, model)
    for here, to in product(table.states, table.states):
        force(session, model, id, state=here, due_at=SOON)
        due_at = None if to in table.final else SOON
        if to in table.moves[here]:
            assert states.move(session, model, id, along=table, to=to, due_at=due_at).state == to, (here, to)
        else:
            with pytest.raises(IllegalMove) as refused:
                states.move(session, model, id, along=table, to=to, due_at=due_at)
            assert refused.value.members == {"state": here, "allowed": sorted(table.moves[here])}
            assert session.get_one(model, id, populate_existing=True).state == here, (here, to)


@pytest.mark.parametrize(("table", "model"), TABLES, ids=lambda value: getattr(value, "name", ""))
def test_only_a_final_state_has_no_deadline(session: Session, table: Lifecycle, model: type[Stateful]) -> None:
    id = put(session, model)
    for state in table.states:
        if state in table.final:
            force(session, model, id, state=state, due_at=None)
        else:
            with pytest.raises(IntegrityError, match="state_has_deadline"), session.begin_nested():
                force(session, model, id, state=state, due_at=None)


@pytest.mark.parametrize(("table", "model"), TABLES, ids=lambda value: getattr(value, "name", ""))
def test_a_state_nobody_declared_is_refused(session: Session, table: Lifecycle, model: type[Stateful]) -> None:
    id = put(session, model)
    with pytest.raises(IntegrityError, match="state_known"):
        force(session, model, id, state="lost")


def put(session: Session, model: type[Stateful]) -> UUID:
    """A row of the model."""
    made: dict[type[Stateful], Callable[[], UUID]] = {
        Job: lambda: scenes.published(session).id,
        Assignment: lambda: scenes.claimed(session, scenes.published(session)).id,
        Submission: lambda: scenes.submission(session).id,
        Upload: lambda: _upload(session),
        Review: lambda: _review(session),
    }
    id = made[model]()
    session.flush()
    return id


def force(session: Session, model: type[Stateful], id: UUID, **values: Any) -> None:
    """Write past the lifecycle."""
    session.execute(update(model).where(model.id == id).values(**values).execution_options(synchronize_session=False))


def _upload(session: Session) -> UUID:
    upload = Upload(
        id=ids.new(),
        state="begun",
        due_at=SOON,
        worker_id=ids.new(),
        assignment_id=ids.new(),
        submission_id=None,
        key=str(ids.new()),
        size=1,
        media_type="image/jpeg",
        sha256=bytes(32),
        begun_at=NOW,
    )
    session.add(upload)
    return upload.id


def _review(session: Session) -> UUID:
    review = Review(
        id=ids.new(),
        state="open",
        due_at=SOON,
        kind="submission",
        subject_id=ids.new(),
        worker_id=ids.new(),
        reasons=[],
        held_cents=0,
        escalations=0,
        opened_at=NOW,
    )
    session.add(review)
    return review.id

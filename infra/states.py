"""
Lifecycles as data, and the guarded UPDATE that is the only way to move along them.

Of two racers one moves the row and the other sees zero rows, so the UPDATE is the lock. Every state that is not final
has a deadline in the row's `due_at`, held there by a CHECK; the clock rings what overstays.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, Select, select, text, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from infra.db import Base
from infra.errors import Conflict, NotFound


class Stateful(Base):
    """A model with an id, a state and the state's deadline; its `__table_args__` take `Lifecycle.constraints()`."""

    __abstract__ = True

    id: Mapped[UUID] = mapped_column(primary_key=True)
    state: Mapped[str]
    due_at: Mapped[datetime | None]


Row = TypeVar("Row", bound=Stateful)


class IllegalMove(Conflict):
    """The current state does not allow this."""


class Gone(NotFound):
    """There is no such thing here."""


@dataclass(frozen=True)
class Lifecycle:
    """
    Which states a thing can be in and where each may lead. A state that leads nowhere is final.

    :param name: what the thing is called in messages
    :param moves: state -> the states it may move to
    """

    name: str
    moves: Mapping[str, frozenset[str]]

    @property
    def states(self) -> tuple[str, ...]:
        return tuple(self.moves)

    @property
    def final(self) -> frozenset[str]:
        return frozenset(state for state, following in self.moves.items() if not following)

    def sources(self, to: str) -> frozenset[str]:
        """The states from which `to` may be reached in one move."""
        return frozenset(state for state, following in self.moves.items() if to in following)

    def constraints(self) -> tuple[CheckConstraint, CheckConstraint, Index]:
        """For `__table_args__`: only known states, a deadline unless final, and the index the clock reads."""
        known = ", ".join(f"'{state}'" for state in self.states)
        final = ", ".join(f"'{state}'" for state in sorted(self.final))
        return (
            CheckConstraint(f"state IN ({known})", name="state_known"),
            CheckConstraint(f"state IN ({final}) OR due_at IS NOT NULL", name="state_has_deadline"),
            Index(None, "due_at", postgresql_where=text(f"state NOT IN ({final})")),
        )


def lifecycle(name: str, **moves: str) -> Lifecycle:
    """Shorthand: `lifecycle("claim", open="closed lost", closed="", lost="")`."""
    return Lifecycle(name, {state: frozenset(following.split()) for state, following in moves.items()})


def move(
    session: Session,
    model: type[Row],
    id: UUID,
    *,
    along: Lifecycle,
    to: str,
    due_at: datetime | None = None,
    only_from: str | frozenset[str] | None = None,
    **changes: Any,
) -> Row:
    """
    Move one row to the state `to` if its present state allows it, with further column changes in the same UPDATE.

    :param due_at: the new state's deadline; required unless it is final
    :param only_from: narrower than what the lifecycle allows
    :raises Gone: no such row
    :raises IllegalMove: names the current state and the moves allowed from it
    """
    row = try_move(session, model, id, along=along, to=to, due_at=due_at, only_from=only_from, **changes)
    if row is not None:
        return row
    present = session.execute(select(model.state).where(model.id == id)).scalar_one_or_none()
    if present is None:
        raise Gone(f"There is no such {along.name}.")
    allowed = sorted(along.moves[present])
    choice = f"from there it can become {', '.join(allowed)}" if allowed else "that is final"
    raise IllegalMove(f"This {along.name} is {present}: {choice}.", state=present, allowed=allowed)


def try_move(
    session: Session,
    model: type[Row],
    id: UUID,
    *,
    along: Lifecycle,
    to: str,
    due_at: datetime | None = None,
    only_from: str | frozenset[str] | None = None,
    **changes: Any,
) -> Row | None:
    """Like `move`, but None when the row is not there or its state does not allow it: for work that may run twice."""
    sources = along.sources(to)
    if only_from is not None:
        sources &= {only_from} if isinstance(only_from, str) else only_from
    if due_at is None and to not in along.final:
        raise ValueError(f"{to} is not a final state of a {along.name}: it needs a deadline")
    statement = (
        update(model)
        .where(model.id == id, model.state.in_(sorted(sources)))
        .values(state=to, due_at=due_at, **changes)
        .returning(model)
        .execution_options(populate_existing=True, synchronize_session=False)
    )
    return session.execute(statement).scalar_one_or_none()


def put_off(session: Session, model: type[Row], id: UUID, *, until: datetime) -> None:
    """The clock failed at this row and must not stand before it for ever: others come first until then."""
    session.execute(
        update(model)
        .where(model.id == id, model.due_at < until)
        .values(due_at=until)
        .execution_options(synchronize_session=False)
    )


def overdue(model: type[Row], along: Lifecycle, now: datetime, limit: int = 200) -> Select[UUID]:
    """Ids of the rows that have overstayed, longest first; rows another clock is at work on are passed over."""
    return (
        select(model.id)
        .where(model.state.not_in(sorted(along.final)), model.due_at <= now)
        .order_by(model.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )

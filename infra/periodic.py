"""
The clock: functions rung at a steady pace, one after the other, in one process.

They run here and not in the queue, so that time-outs are kept while Redis is away; what takes long they leave to the queue
by recording an event. Two clocks at once do no harm: each row is taken by one of them.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import update
from sqlalchemy.orm import Session

from infra import db, telemetry
from infra.states import Stateful

PUT_OFF = timedelta(minutes=1)

_log = telemetry.log(__name__)


def run(rounds: Mapping[Callable[[], object], float], stop: threading.Event) -> None:
    """
    Call every function each so many seconds until told to stop. A call that fails is logged and tried again at its next
    turn: nothing that happens to one function stops the others.
    """
    due = dict.fromkeys(rounds, 0.0)
    while not stop.is_set():
        for function, seconds in rounds.items():
            if time.monotonic() >= due[function] and not stop.is_set():
                due[function] = time.monotonic() + seconds
                _ring(function)
        stop.wait(max(0.05, min(due.values()) - time.monotonic()))


def each(model: type[Stateful], ids: Iterable[UUID], act: Callable[[Session, UUID], object], *, now: datetime) -> None:
    """
    Do it for every row that is due, each in its own transaction. One that fails is logged and comes up again in a minute:
    it neither stops the others nor stands first for ever.
    """
    for id in ids:
        try:
            with db.transaction() as session:
                act(session, id)
        except Exception:  # noqa: BLE001 - nothing that happens to one row stops the others
            _log.exception("row failed, put off", table=model.__tablename__, id=str(id))
            with db.transaction() as session:
                late = update(model).where(model.id == id, model.due_at <= now)
                session.execute(late.values(due_at=now + PUT_OFF))


def _ring(function: Callable[[], object]) -> None:
    name = f"{function.__module__}.{function.__name__}"
    telemetry.bind(f"clock-{name}")
    try:
        function()
    except Exception:  # noqa: BLE001 - the edge of the clock: logged, and tried again at the next turn
        _log.exception("clock function failed", function=name)
    finally:
        telemetry.bind(None)

"""
Deliveries: one event on its way to one endpoint, tried at once and then after ever longer pauses.

Every try has a number, and an event `delivery.due` of its own that calls for it. A try begins only if the one before it was
the last begun, so however often it is called for, each is made once; a try whose answer was never recorded (the process
was killed) is followed by the next when its lease is over. A receiver may still see an event twice: if its answer got lost.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from api.auth.keys import Mode
from api.webhooks import endpoints, events, signing
from api.webhooks.models import DELIVERY, Delivery, Endpoint
from infra import ids, outbox, states
from infra.errors import Conflict, NotFound
from infra.outbox import Event

PAUSES = (
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=8),
    timedelta(hours=24),
)
TRIES = 1 + len(PAUSES)
LEASE = timedelta(minutes=5)  # after this without news of a try the clock calls for the next one
GONE = 410
GONE_REASON = "The address answered 410 Gone."
ERROR_LENGTH = 500


class NoSuchDelivery(NotFound):
    """There is no such delivery."""


class NoSuchEvent(NotFound):
    """There is no such event."""


class EndpointDisabled(Conflict):
    """This webhook endpoint is disabled."""


class AlreadyOnItsWay(Conflict):
    """This event is on its way to the endpoint already."""


class LastTryRunning(Conflict):
    """The last try of this delivery is being made."""


@dataclass(frozen=True)
class Letter:
    """One try, ready to be posted without a transaction."""

    delivery_id: UUID
    attempt: int
    url: str
    body: bytes
    headers: dict[str, str]


def schedule(
    session: Session, endpoint: Endpoint, event: Event, *, now: datetime, replay_of: UUID | None = None
) -> Delivery | None:
    """Send an event to an endpoint. None when that is already under way, or was done before and this is no replay."""
    made = session.scalars(
        insert(Delivery)
        .values(
            id=ids.new(),
            endpoint_id=endpoint.id,
            event_id=event.id,
            event_type=event.type,
            replay_of=replay_of,
            state="waiting",
            due_at=now + LEASE,
            attempts=0,
            created_at=now,
        )
        .on_conflict_do_nothing()
        .returning(Delivery)
    ).one_or_none()
    if made is not None:
        _call_for_next_try(session, made, now=now)
    return made


def ping(session: Session, endpoint: Endpoint, *, now: datetime) -> Delivery:
    """
    Send a test event.

    :raises EndpointDisabled: enable it first
    """
    _require_enabled(endpoint)
    event = outbox.record(
        session, events.PING, subject=ids.show("whe", endpoint.id), organization_id=endpoint.organization_id
    )
    made = schedule(session, endpoint, event, now=now)
    assert made is not None, "the event is new"
    return made


def replay(session: Session, endpoint: Endpoint, event_id: UUID, *, now: datetime) -> Delivery:
    """
    Send an event to an endpoint again, whatever became of it there, or for the first time. What still waits for its next
    try is tried now; that counts as one of its tries.

    :raises EndpointDisabled: enable it first
    :raises NoSuchEvent: not one of the organization's that buyers hear of, or too long ago
    """
    _require_enabled(endpoint)
    event = session.get(Event, event_id)
    shown = (*events.BUYER_EVENTS, events.PING)
    if event is None or event.organization_id != endpoint.organization_id or event.type not in shown:
        raise NoSuchEvent("Events can be replayed for 90 days.")
    if endpoint.mode == "test" and event.type != events.PING and not events.is_test(session, event):
        raise NoSuchEvent("A test endpoint hears of test jobs only.")
    latest = session.scalars(
        select(Delivery)
        .where(Delivery.endpoint_id == endpoint.id, Delivery.event_id == event_id)
        .order_by(Delivery.id.desc())
        .limit(1)
        .with_for_update()
    ).one_or_none()
    if latest is not None and latest.state == "waiting":
        if latest.attempts >= TRIES:
            raise LastTryRunning("Replay it once it has failed, in a few minutes at most.")
        _call_for_next_try(session, latest, now=now)
        return latest
    made = schedule(session, endpoint, event, now=now, replay_of=latest.id if latest else None)
    if made is None:
        raise AlreadyOnItsWay("It was sent a moment ago; its delivery is in the list.")
    return made


def get(session: Session, organization_id: UUID, delivery_id: UUID, *, mode: Mode) -> tuple[Delivery, Endpoint]:
    """
    A delivery to one of the organization's endpoints, and that endpoint.

    :param mode: of the key that asks; to a test key live endpoints are not there
    :raises NoSuchDelivery: not there, or somebody else's
    """
    found = session.execute(
        select(Delivery, Endpoint)
        .join(Endpoint, Endpoint.id == Delivery.endpoint_id)
        .where(Delivery.id == delivery_id, Endpoint.organization_id == organization_id)
    ).one_or_none()
    if found is None:
        raise NoSuchDelivery
    delivery, endpoint = found
    if mode not in ("live", endpoint.mode):
        raise NoSuchDelivery
    return delivery, endpoint


def to(endpoint: Endpoint, state: str | None = None) -> Select[Delivery]:
    """What was sent to an endpoint, or only what is in this state."""
    statement = select(Delivery).where(Delivery.endpoint_id == endpoint.id)
    return statement if state is None else statement.where(Delivery.state == state)


def begin(session: Session, delivery_id: UUID, attempt: int, *, now: datetime) -> Letter | None:
    """About to send: count the try. None when it was begun before, or there is nothing to send any more."""
    delivery = session.get(Delivery, delivery_id, with_for_update=True)
    if delivery is None or delivery.state != "waiting" or delivery.attempts != attempt - 1:
        return None
    endpoint = session.get_one(Endpoint, delivery.endpoint_id)
    if endpoint.disabled_reason is not None:
        _fail(session, delivery, status=delivery.status, error="The endpoint is disabled.")
        return None
    event = outbox.event(session, delivery.event_id)
    body = events.payload(event)
    proof = signing.headers(body, message_id=ids.show("evt", event.id), keys=endpoints.keys(endpoint, now=now), now=now)
    delivery.attempts = attempt
    delivery.tried_at = now
    delivery.due_at = now + LEASE
    return Letter(delivery_id, attempt, endpoint.url, body, proof)


def answered(session: Session, delivery_id: UUID, attempt: int, *, status: int, now: datetime) -> None:
    """The address answered. 2xx is delivered, 410 disables the endpoint, anything else is tried again."""
    delivery = _still_on(session, delivery_id, attempt)
    if delivery is None:
        return
    if 200 <= status < 300:
        states.move(session, Delivery, delivery_id, along=DELIVERY, to="delivered", status=status, error=None)
    elif status == GONE:
        endpoint = session.get_one(Endpoint, delivery.endpoint_id)
        if endpoint.disabled_reason is None:
            endpoints.disable(session, endpoint, GONE_REASON)
        _fail(session, delivery, status=status, error=GONE_REASON)
    else:
        _try_again(session, delivery, status=status, error=f"The address answered {status}.", now=now)


def unanswered(session: Session, delivery_id: UUID, attempt: int, *, error: str, now: datetime) -> None:
    """The address did not answer, or may not be called: it is tried again, names and servers get mended."""
    delivery = _still_on(session, delivery_id, attempt)
    if delivery is not None:
        _try_again(session, delivery, status=None, error=error, now=now)


def call_for_overdue(session: Session, *, now: datetime, limit: int) -> int:
    """Call for the next try of what is due, and give up what had its last. Returns how many deliveries it was."""
    due = session.scalars(states.overdue(Delivery, DELIVERY, now, limit)).all()
    for delivery in session.scalars(select(Delivery).where(Delivery.id.in_(due))):
        if delivery.attempts >= TRIES:
            _fail(session, delivery, status=None, error="The last try ended without an answer.")
        else:
            _call_for_next_try(session, delivery, now=now)
    return len(due)


def _call_for_next_try(session: Session, delivery: Delivery, *, now: datetime) -> None:
    """The deadline moves ahead first, so that no second clock calls for the same try."""
    delivery.due_at = now + LEASE
    outbox.record(session, events.DUE, subject=ids.show("dlv", delivery.id), data={"attempt": delivery.attempts + 1})


def _still_on(session: Session, delivery_id: UUID, attempt: int) -> Delivery | None:
    """The delivery, if this try is the last begun and nothing has been decided."""
    delivery = session.get(Delivery, delivery_id, with_for_update=True)
    if delivery is None or delivery.state != "waiting" or delivery.attempts != attempt:
        return None
    return delivery


def _try_again(session: Session, delivery: Delivery, *, status: int | None, error: str, now: datetime) -> None:
    if delivery.attempts >= TRIES:
        _fail(session, delivery, status=status, error=error)
        return
    delivery.status = status
    delivery.error = error[:ERROR_LENGTH]
    delivery.due_at = now + PAUSES[delivery.attempts - 1]


def _fail(session: Session, delivery: Delivery, *, status: int | None, error: str) -> None:
    states.move(session, Delivery, delivery.id, along=DELIVERY, to="failed", status=status, error=error[:ERROR_LENGTH])


def _require_enabled(endpoint: Endpoint) -> None:
    if endpoint.disabled_reason is not None:
        raise EndpointDisabled(f"{endpoint.disabled_reason} Enable it first.")

"""
Endpoints: the addresses of a buyer that hear of events, and the secrets that sign for them.

Whether an address may be called is said at the door (`routes.py`) and decided when it is (`infra/egress.py`).
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from api.auth.keys import Mode
from api.webhooks import signing
from api.webhooks.models import Endpoint
from infra import crypto, ids, outbox
from infra.errors import Conflict, NotFound

PER_ORGANIZATION = 10
OVERLAP = timedelta(hours=24)
BY_HAND = "Disabled by the organization."


class NoSuchEndpoint(NotFound):
    """There is no such webhook endpoint."""


class TooManyEndpoints(Conflict):
    """The organization has as many webhook endpoints as it may have."""


def add(
    session: Session,
    organization_id: UUID,
    *,
    url: str,
    event_types: Sequence[str] | None,
    mode: Mode = "live",
    now: datetime,
) -> tuple[Endpoint, str]:
    """
    A new endpoint and its secret, which is not shown again.

    :param mode: that of the key it is made with; each has its own number of endpoints
    :param event_types: None for all
    :raises TooManyEndpoints: delete one first
    """
    _lock(session, organization_id)
    mine = (Endpoint.organization_id == organization_id, Endpoint.mode == mode)
    count = session.scalar(select(func.count()).where(*mine)) or 0
    if count >= PER_ORGANIZATION:
        raise TooManyEndpoints(
            f"There can be {PER_ORGANIZATION}. Delete one, or let one address hear more event types.",
            limit=PER_ORGANIZATION,
        )
    secret = signing.new_secret()
    endpoint = Endpoint(
        id=ids.new(),
        organization_id=organization_id,
        mode=mode,
        url=url,
        event_types=_distinct(event_types),
        disabled_reason=None,
        secret=crypto.seal(secret.encode()),
        previous_secret=None,
        previous_until=None,
        created_at=now,
    )
    session.add(endpoint)
    session.flush()
    _note(session, endpoint, "created")
    return endpoint, secret


def get(session: Session, organization_id: UUID, endpoint_id: UUID, *, mode: Mode, to_change: bool = False) -> Endpoint:
    """
    One of the organization's endpoints.

    :param mode: of the key that asks; to a test key live endpoints are not there
    :raises NoSuchEndpoint: not there, or somebody else's
    """
    endpoint = session.get(Endpoint, endpoint_id, with_for_update=to_change or None)
    if endpoint is None or endpoint.organization_id != organization_id or mode not in ("live", endpoint.mode):
        raise NoSuchEndpoint
    return endpoint


def of(session: Session, organization_id: UUID, *, mode: Mode = "live") -> Sequence[Endpoint]:
    """The organization's endpoints that a key of this mode sees, newest first; they are few."""
    mine = select(Endpoint).where(Endpoint.organization_id == organization_id)
    if mode == "test":
        mine = mine.where(Endpoint.mode == "test")
    return session.scalars(mine.order_by(Endpoint.id.desc())).all()


def listening(session: Session, organization_id: UUID, event_type: str, *, test: bool) -> list[Endpoint]:
    """
    The enabled endpoints that want to hear of this type of event.

    :param test: whether the event is about a test job; those in mode `test` hear of nothing else
    """
    return [
        endpoint
        for endpoint in of(session, organization_id)
        if endpoint.disabled_reason is None
        and (endpoint.event_types is None or event_type in endpoint.event_types)
        and (test or endpoint.mode == "live")
    ]


def point_to(session: Session, endpoint: Endpoint, url: str) -> None:
    """Move the endpoint to another address; what still waits goes there too."""
    endpoint.url = url
    _note(session, endpoint, "updated")


def listen_to(session: Session, endpoint: Endpoint, event_types: Sequence[str] | None) -> None:
    """Choose what the endpoint hears from now on; None for all."""
    endpoint.event_types = _distinct(event_types)
    _note(session, endpoint, "updated")


def enable(session: Session, endpoint: Endpoint) -> None:
    """Hear of events from now on. What was missed can be replayed."""
    endpoint.disabled_reason = None
    _note(session, endpoint, "enabled")


def disable(session: Session, endpoint: Endpoint, reason: str) -> None:
    """Stop. What still waits fails when its next try is due."""
    endpoint.disabled_reason = reason
    _note(session, endpoint, "disabled")


def rotate(session: Session, endpoint: Endpoint, *, now: datetime) -> str:
    """A new secret, not shown again; the one it replaces signs along for 24 hours."""
    secret = signing.new_secret()
    endpoint.previous_secret, endpoint.previous_until = endpoint.secret, now + OVERLAP
    endpoint.secret = crypto.seal(secret.encode())
    _note(session, endpoint, "secret_rotated")
    return secret


def remove(session: Session, endpoint: Endpoint) -> None:
    """Delete the endpoint with all its deliveries."""
    _note(session, endpoint, "deleted")
    session.delete(endpoint)


def keys(endpoint: Endpoint, *, now: datetime) -> list[str]:
    """The secrets that sign at this moment, newest first."""
    sealed = [endpoint.secret]
    if endpoint.previous_secret and endpoint.previous_until and now < endpoint.previous_until:
        sealed.append(endpoint.previous_secret)
    return [crypto.unseal(secret).decode() for secret in sealed]


def _distinct(event_types: Sequence[str] | None) -> list[str] | None:
    return None if event_types is None else sorted(set(event_types))


def _lock(session: Session, organization_id: UUID) -> None:
    """One endpoint of an organization is added at a time, or two at once could pass the limit together."""
    session.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:what, 0))"), {"what": f"webhooks.{organization_id}"}
    )


def _note(session: Session, endpoint: Endpoint, what: str) -> None:
    """For the organization's audit; who did it is found by the event's request id. Addresses may carry secrets."""
    outbox.record(
        session,
        f"webhook_endpoint.{what}",
        subject=ids.show("whe", endpoint.id),
        organization_id=endpoint.organization_id,
    )

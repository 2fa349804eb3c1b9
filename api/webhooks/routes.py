"""Webhook endpoints and their deliveries, for buyers."""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError
from sqlalchemy.orm import Session

from api.auth.callers import Buyer, BuyerCaller
from api.edge import delete, get, patch, post
from api.paging import Cursor, Limit, page
from api.schemas import EndpointId, EventId, Model, Page, Shown, Timestamp
from api.webhooks import deliveries, endpoints
from api.webhooks.events import BUYER_EVENTS
from api.webhooks.models import Delivery, Endpoint
from infra import egress


def _callable(url: str) -> str:
    try:
        egress.check(url)
    except egress.Refused as refused:
        raise PydanticCustomError("address_refused", "{why}", {"why": refused.detail.rstrip(".")}) from None
    return url


def _known(event_type: str) -> str:
    if event_type not in BUYER_EVENTS:
        raise PydanticCustomError("unknown_event_type", "There is no such event type")
    return event_type


DeliveryId = Annotated[UUID, Shown("dlv")]
Address = Annotated[
    str,
    AfterValidator(_callable),
    WithJsonSchema({"type": "string", "format": "uri", "examples": ["https://hooks.example.com/footwork"]}),
]
EventType = Annotated[str, AfterValidator(_known), WithJsonSchema({"type": "string", "enum": list(BUYER_EVENTS)})]
EventTypes = Annotated[list[EventType], Field(min_length=1, max_length=len(BUYER_EVENTS))]


class EndpointDraft(Model):
    """Where to send events, and which; without `event_types` all of them, future ones included."""

    url: Address
    event_types: EventTypes | None = None


class EndpointChange(Model):
    """What is left out stays as it is. `event_types: null` means all."""

    url: Address | None = None
    event_types: EventTypes | None = None
    enabled: bool | None = None


class EndpointView(Model):
    """A webhook endpoint."""

    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    id: EndpointId
    mode: Annotated[Literal["live", "test"], Field(description="test: made with a test key, hears of test jobs only")]
    url: str
    event_types: list[str] | None
    enabled: bool
    disabled_reason: str | None
    previous_secret_valid_until: Timestamp | None
    created_at: Timestamp

    @classmethod
    def of(cls, endpoint: Endpoint, **more: str) -> Self:
        return cls(
            id=endpoint.id,
            mode="test" if endpoint.mode == "test" else "live",
            url=endpoint.url,
            event_types=endpoint.event_types,
            enabled=endpoint.disabled_reason is None,
            disabled_reason=endpoint.disabled_reason,
            previous_secret_valid_until=endpoint.previous_until,
            created_at=endpoint.created_at,
            **more,
        )


class EndpointWithSecret(EndpointView):
    """A webhook endpoint and its signing secret, which is not shown again."""

    secret: str


class DeliveryView(Model):
    """One event on its way to one endpoint. `status` and `error` are those of the last try."""

    object: Literal["webhook_delivery"] = "webhook_delivery"
    id: DeliveryId
    endpoint_id: EndpointId
    event_id: EventId
    event_type: str
    state: Literal["waiting", "delivered", "failed"]
    attempts: int
    status: int | None
    error: str | None
    tried_at: Timestamp | None
    next_try_at: Timestamp | None
    replay_of: DeliveryId | None
    created_at: Timestamp

    @classmethod
    def of(cls, delivery: Delivery) -> Self:
        return cls.model_validate(
            {
                "id": delivery.id,
                "endpoint_id": delivery.endpoint_id,
                "event_id": delivery.event_id,
                "event_type": delivery.event_type,
                "state": delivery.state,
                "attempts": delivery.attempts,
                "status": delivery.status,
                "error": delivery.error,
                "tried_at": delivery.tried_at,
                "next_try_at": delivery.due_at,
                "replay_of": delivery.replay_of,
                "created_at": delivery.created_at,
            }
        )


class Replay(Model):
    """Which event to send again."""

    event_id: EventId


@post("/v1/webhook-endpoints", who=Buyer("webhooks:write"), summary="Create a webhook endpoint")
def create(session: Session, caller: BuyerCaller, now: datetime, data: EndpointDraft) -> EndpointWithSecret:
    endpoint, secret = endpoints.add(
        session, caller.organization_id, url=data.url, event_types=data.event_types, mode=caller.mode, now=now
    )
    return EndpointWithSecret.of(endpoint, secret=secret)


@get("/v1/webhook-endpoints", who=Buyer("webhooks:read"), summary="List webhook endpoints")
def list_all(session: Session, caller: BuyerCaller) -> Page[EndpointView]:
    return Page(
        data=[EndpointView.of(endpoint) for endpoint in endpoints.of(session, caller.organization_id, mode=caller.mode)]
    )


@get("/v1/webhook-endpoints/{endpoint_id:str}", who=Buyer("webhooks:read"), summary="Read a webhook endpoint")
def read(session: Session, caller: BuyerCaller, endpoint_id: EndpointId) -> EndpointView:
    return EndpointView.of(endpoints.get(session, caller.organization_id, endpoint_id, mode=caller.mode))


@patch(
    "/v1/webhook-endpoints/{endpoint_id:str}",
    who=Buyer("webhooks:write"),
    summary="Change, enable or disable a webhook endpoint",
)
def change(session: Session, caller: BuyerCaller, endpoint_id: EndpointId, data: EndpointChange) -> EndpointView:
    endpoint = endpoints.get(session, caller.organization_id, endpoint_id, mode=caller.mode, to_change=True)
    if data.url is not None and data.url != endpoint.url:
        endpoints.point_to(session, endpoint, data.url)
    if "event_types" in data.model_fields_set:
        endpoints.listen_to(session, endpoint, data.event_types)
    if data.enabled is True and endpoint.disabled_reason is not None:
        endpoints.enable(session, endpoint)
    if data.enabled is False and endpoint.disabled_reason is None:
        endpoints.disable(session, endpoint, endpoints.BY_HAND)
    return EndpointView.of(endpoint)


@delete(
    "/v1/webhook-endpoints/{endpoint_id:str}",
    who=Buyer("webhooks:write"),
    summary="Delete a webhook endpoint and its deliveries",
)
def remove(session: Session, caller: BuyerCaller, endpoint_id: EndpointId) -> None:
    endpoints.remove(
        session, endpoints.get(session, caller.organization_id, endpoint_id, mode=caller.mode, to_change=True)
    )


@post(
    "/v1/webhook-endpoints/{endpoint_id:str}/rotate-secret",
    who=Buyer("webhooks:write"),
    status=200,
    summary="Replace the signing secret; the old one stays valid for 24 hours",
)
def rotate_secret(session: Session, caller: BuyerCaller, now: datetime, endpoint_id: EndpointId) -> EndpointWithSecret:
    endpoint = endpoints.get(session, caller.organization_id, endpoint_id, mode=caller.mode, to_change=True)
    secret = endpoints.rotate(session, endpoint, now=now)
    return EndpointWithSecret.of(endpoint, secret=secret)


@post(
    "/v1/webhook-endpoints/{endpoint_id:str}/test",
    who=Buyer("webhooks:write"),
    status=202,
    summary="Send a `ping` event to the endpoint",
)
def send_test(session: Session, caller: BuyerCaller, now: datetime, endpoint_id: EndpointId) -> DeliveryView:
    endpoint = endpoints.get(session, caller.organization_id, endpoint_id, mode=caller.mode)
    return DeliveryView.of(deliveries.ping(session, endpoint, now=now))


@post(
    "/v1/webhook-endpoints/{endpoint_id:str}/replay",
    who=Buyer("webhooks:write"),
    status=202,
    summary="Send one event to the endpoint, again or for the first time",
)
def replay_event(
    session: Session, caller: BuyerCaller, now: datetime, endpoint_id: EndpointId, data: Replay
) -> DeliveryView:
    endpoint = endpoints.get(session, caller.organization_id, endpoint_id, mode=caller.mode)
    return DeliveryView.of(deliveries.replay(session, endpoint, data.event_id, now=now))


@get(
    "/v1/webhook-endpoints/{endpoint_id:str}/deliveries",
    who=Buyer("webhooks:read"),
    summary="List what was sent to an endpoint",
)
def list_deliveries(
    session: Session,
    caller: BuyerCaller,
    endpoint_id: EndpointId,
    state: Literal["waiting", "delivered", "failed"] | None = None,
    limit: Limit = 20,
    cursor: Cursor | None = None,
) -> Page[DeliveryView]:
    endpoint = endpoints.get(session, caller.organization_id, endpoint_id, mode=caller.mode)
    return page(session, deliveries.to(endpoint, state), Delivery.id, cursor, limit).shown(DeliveryView.of)


@get("/v1/webhook-deliveries/{delivery_id:str}", who=Buyer("webhooks:read"), summary="Read a webhook delivery")
def read_delivery(session: Session, caller: BuyerCaller, delivery_id: DeliveryId) -> DeliveryView:
    delivery, _ = deliveries.get(session, caller.organization_id, delivery_id, mode=caller.mode)
    return DeliveryView.of(delivery)


@post(
    "/v1/webhook-deliveries/{delivery_id:str}/replay",
    who=Buyer("webhooks:write"),
    status=202,
    summary="Send a delivery's event to its endpoint again",
)
def replay(session: Session, caller: BuyerCaller, now: datetime, delivery_id: DeliveryId) -> DeliveryView:
    delivery, endpoint = deliveries.get(session, caller.organization_id, delivery_id, mode=caller.mode)
    return DeliveryView.of(deliveries.replay(session, endpoint, delivery.event_id, now=now))


HANDLERS = [
    create,
    list_all,
    read,
    change,
    remove,
    rotate_secret,
    send_test,
    replay_event,
    list_deliveries,
    read_delivery,
    replay,
]

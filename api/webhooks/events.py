"""Which events buyers hear of, and what they get to read."""

import json
from typing import Any

from api.schemas import timestamp
from infra import ids
from infra.outbox import Event

BUYER_EVENTS = (
    "submission.scored",
    "submission.approved",
    "submission.rejected",
    "job.published",
    "job.filled",
    "job.completed",
    "job.cancelled",
    "job.expired",
    "credits.purchased",
)
PING = "ping"  # sent on request to one endpoint, whatever it listens to
DUE = "delivery.due"  # internal: a try of one delivery is due; its subject is the delivery


def show(event: Event) -> dict[str, Any]:
    """The event as buyers see it."""
    return {
        "id": ids.show("evt", event.id),
        "object": "event",
        "type": event.type,
        "created_at": timestamp(event.created_at),
        "data": {**event.data, "subject": event.subject},
    }


def payload(event: Event) -> bytes:
    """The body of every try: the same bytes each time."""
    return json.dumps(show(event), separators=(",", ":"), ensure_ascii=False, sort_keys=True).encode()

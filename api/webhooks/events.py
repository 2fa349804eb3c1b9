"""Which events buyers hear of, and what they get to read."""

import json
from typing import Any

from sqlalchemy.orm import Session

from api.schemas import timestamp
from infra import ids
from infra.outbox import Event
from jobs import jobs, submissions

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


def is_test(session: Session, event: Event) -> bool:
    """Whether the event is about a test job. Those of jobs say so, those of submissions name what does."""
    data = event.data
    if "test" in data:
        return bool(data["test"])
    if "submission" not in data:
        return False
    submission = submissions.get(session, ids.read("sub", data["submission"]))
    return jobs.get(session, submission.job_id).test


def payload(event: Event) -> bytes:
    """The body of every try: the same bytes each time."""
    return json.dumps(show(event), separators=(",", ":"), ensure_ascii=False, sort_keys=True).encode()

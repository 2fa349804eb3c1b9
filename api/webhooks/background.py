"""What webhooks do in the background. Each runs in the lane for deliveries and may run twice."""

from uuid import UUID

from api.webhooks import deliveries, endpoints, events
from infra import clock, db, egress, ids, outbox, telemetry
from infra.settings import settings

BATCH = 200
HEADERS = {"content-type": "application/json", "user-agent": "Footwork-Webhooks/1"}

_log = telemetry.log(__name__)


def fan_out(event_id: UUID) -> None:
    """An event that buyers hear of: one delivery for each of the organization's endpoints that listens to it."""
    with db.transaction() as session:
        event = outbox.event(session, event_id)
        if event.organization_id is None:
            return
        test = events.is_test(session, event)
        for endpoint in endpoints.listening(session, event.organization_id, event.type, test=test):
            deliveries.schedule(session, endpoint, event, now=clock.now())


def deliver(event_id: UUID) -> None:
    """`delivery.due`: make one try. About to send, POST, answer."""
    with db.transaction() as session:
        due = outbox.event(session, event_id)
        letter = deliveries.begin(session, ids.read("dlv", due.subject), int(due.data["attempt"]), now=clock.now())
    if letter is None:
        return
    try:
        answer = egress.post(
            letter.url,
            content=letter.body,
            headers=HEADERS | letter.headers,
            timeout=settings().webhook_timeout_seconds,
        )
    except (egress.Refused, egress.Unreachable) as error:
        _log.info("webhook not delivered", delivery=due.subject, attempt=letter.attempt, error=str(error))
        with db.transaction() as session:
            deliveries.unanswered(session, letter.delivery_id, letter.attempt, error=str(error), now=clock.now())
    else:
        _log.info("webhook answered", delivery=due.subject, attempt=letter.attempt, status=answer.status)
        with db.transaction() as session:
            deliveries.answered(session, letter.delivery_id, letter.attempt, status=answer.status, now=clock.now())


def retry_due() -> None:
    """For the clock: call for what is due for its next try. Waits for no address, only writes events."""
    while True:
        with db.transaction() as session:
            called = deliveries.call_for_overdue(session, now=clock.now(), limit=BATCH)
        if called < BATCH:
            return

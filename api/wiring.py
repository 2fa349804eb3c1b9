"""
All asynchrony on one page: which background functions hear of which events, and what the clock rings.

A function takes the event's id (ON_EVENT) or nothing (ON_CLOCK), opens its own transactions, may run twice and at any time.
"""

from collections.abc import Callable, Mapping

from api import checks
from api.auth import background as auth
from api.auth import codes
from api.webhooks import background as webhooks
from api.webhooks.events import BUYER_EVENTS, DUE
from infra import outbox, queue
from ingest import background as ingest
from jobs import background as jobs
from payouts import background as payouts
from quality import background as quality
from tiering import background as tiering

ON_EVENT: Mapping[str, tuple[Callable[..., object], ...]] = {
    "submission.received": (ingest.inspect,),
    outbox.GIVEN_UP + "ingest.background.inspect": (ingest.give_up,),
    "media.inspected": (quality.assess,),
    "upload.expired": (ingest.delete_bytes,),
    "cashout.requested": (payouts.send,),
    codes.REQUESTED: (auth.send_code,),
    DUE: (webhooks.deliver,),
    **dict.fromkeys(BUYER_EVENTS, (webhooks.fan_out,)),
}

# Seconds between two calls.
ON_CLOCK: Mapping[Callable[[], object], float] = {
    queue.sweep: 1,
    jobs.expire_assignments: 2,
    jobs.move_jobs_on: 2,
    webhooks.retry_due: 2,
    quality.ring_overdue: 5,
    payouts.resume_overdue: 5,
    ingest.sweep_uploads: 60,
    jobs.refresh_scorecards: 60,
    checks.run: 900,
    tiering.reconsider_due: 3_600,
    auth.forget_expired: 3_600,
    queue.forget_done: 3_600,
}


def wire() -> None:
    """Tell the outbox. Every process that records events does this first."""
    listeners = {type: [_name(function) for function in functions] for type, functions in ON_EVENT.items()}
    outbox.wire(listeners, queue.ring)


def _name(function: Callable[..., object]) -> str:
    return f"{function.__module__}.{function.__qualname__}"

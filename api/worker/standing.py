"""What a worker may know of themselves: tier and what lifts it, strikes, today's cap, and why an account is banned."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field
from sqlalchemy.orm import Session

from api.auth.callers import Worker, WorkerCaller
from api.edge import get
from api.schemas import Model, SubmissionId, Timestamp, WorkerId
from infra.settings import settings
from quality import strikes
from tiering import standing


class Lift(Model):
    """What separates you from one tier above."""

    tier: str
    needs_scored: int
    needs_rate: float
    more_scored: Annotated[int, Field(description="scored submissions still missing, whatever their stars")]
    good_in_a_row: Annotated[int, Field(description="with so many of 3 stars or more in a row you are there")]


class TierChangeView(Model):
    from_tier: str
    to_tier: str
    approval_rate: float
    scored: int
    reason: str
    at: Timestamp


class StrikeView(Model):
    submission_id: SubmissionId
    code: str
    written: str
    at: Timestamp
    lifted_at: Timestamp | None


class StandingView(Model):
    object: Literal["standing"] = "standing"
    worker_id: WorkerId
    state: Literal["active", "banned"]
    ban_reason: str | None
    tier: str
    tier_since: Timestamp
    scored: int
    approval_rate: Annotated[float, Field(description="share with 3 stars or more, of the last 500")]
    what_lifts_me: list[Lift]
    demotion_to: str | None
    demotion_at: Timestamp | None
    newcomer: bool
    jobs_open_after_seconds: Annotated[float, Field(description="how long after publication you see a job")]
    daily_cap: int
    used_today: int
    cap_resets_at: Timestamp
    strikes: list[StrikeView]
    strikes_to_ban: int
    changes: list[TierChangeView]


@get("/v1/worker/standing", who=Worker(banned_allowed=True), summary="Read your standing")
def read(session: Session, caller: WorkerCaller, now: datetime) -> StandingView:
    """Your tier with the numbers behind it, what lifts you, and what is held against you."""
    where = standing.describe(session, caller.worker_id, now)
    return StandingView(
        worker_id=where.worker_id,
        state=where.state,
        ban_reason=where.ban_reason,
        tier=where.tier,
        tier_since=where.tier_since,
        scored=where.scored,
        approval_rate=where.approval_rate,
        what_lifts_me=[Lift(**{name: getattr(gap, name) for name in Lift.model_fields}) for gap in where.next_tiers],
        demotion_to=where.demotion_to,
        demotion_at=where.demotion_at,
        newcomer=where.newcomer,
        jobs_open_after_seconds=where.opens_after_seconds,
        daily_cap=where.cap,
        used_today=where.used_today,
        cap_resets_at=where.resets_at,
        strikes=[
            StrikeView(
                submission_id=strike.submission_id,
                code=strike.code,
                written=strike.written,
                at=strike.created_at,
                lifted_at=strike.lifted_at,
            )
            for strike in strikes.of_worker(session, caller.worker_id)
        ],
        strikes_to_ban=settings().strikes_to_ban,
        changes=[
            TierChangeView(**{name: getattr(change, name) for name in TierChangeView.model_fields})
            for change in where.changes
        ],
    )

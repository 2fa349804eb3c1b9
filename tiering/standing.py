"""
Standing: a worker's scores, the tier they add up to, and bans.

Outcomes are written by whoever decides on a submission, in that transaction. The tier follows from them: promotion at
once, demotion only after 7 days below the gate, so that one bad afternoon costs nobody their tier.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from infra import ids
from infra.settings import settings
from tiering import caps, events, tiers, windows, workers
from tiering.models import Outcome, TierChange, Worker
from tiering.tiers import GOOD_STARS, Gap, Stats, Tier


@dataclass(frozen=True)
class Standing:
    """
    Where a worker stands and what lifts them; for the worker and for staff, never for buyers.

    :param counted: how many of the scored submissions the approval rate looks at
    :param demotion_to: the tier the numbers earn now, when that is lower; it comes at `demotion_at` unless they recover
    :param changes: latest tier changes, newest first
    """

    worker_id: UUID
    state: str
    ban_reason: str | None
    tier: Tier
    tier_since: datetime
    scored: int
    counted: int
    approval_rate: float
    next_tiers: list[Gap]
    demotion_to: Tier | None
    demotion_at: datetime | None
    newcomer: bool
    cap: int
    used_today: int
    resets_at: datetime
    opens_after_seconds: float
    changes: Sequence[TierChange]


def record_outcome(session: Session, *, worker_id: UUID, submission_id: UUID, stars: int, now: datetime) -> bool:
    """
    Count the score of a submission. False when it was counted before: the first score stands.

    Not for files rejected before scoring (broken, too small, duplicate): those are no judgement of the work.
    """
    counted = session.execute(
        insert(Outcome)
        .values(submission_id=submission_id, worker_id=worker_id, stars=stars, scored_at=now)
        .on_conflict_do_nothing(index_elements=[Outcome.submission_id])
        .returning(Outcome.submission_id)
    )
    return counted.scalar_one_or_none() is not None


def void_outcome(session: Session, *, submission_id: UUID, now: datetime) -> bool:
    """Take a score back, as if it had never been given. False when there is none or it was taken back before."""
    voided = session.execute(
        update(Outcome)
        .where(Outcome.submission_id == submission_id, Outcome.voided_at.is_(None))
        .values(voided_at=now)
        .returning(Outcome.submission_id)
        .execution_options(synchronize_session=False)
    )
    return voided.scalar_one_or_none() is not None


def stats(session: Session, worker_id: UUID) -> Stats:
    """The numbers behind the worker's tier."""
    mine = (Outcome.worker_id == worker_id, Outcome.voided_at.is_(None))
    newest = (
        select(Outcome.stars >= GOOD_STARS)
        .where(*mine)
        .order_by(Outcome.scored_at.desc(), Outcome.submission_id.desc())
        .limit(settings().tier_history)
    )
    recent = tuple(reversed(session.scalars(newest).all()))
    scored = len(recent)
    if scored == settings().tier_history:
        scored = session.execute(select(func.count()).select_from(Outcome).where(*mine)).scalar_one()
    return Stats(scored=scored, recent=recent)


def reconsider(session: Session, worker_id: UUID, now: datetime) -> TierChange | None:
    """
    Bring the worker's tier in line with the numbers. None when it stays.

    A banned worker's tier stands still: a lifted ban must find it as it was.

    :raises NoSuchWorker: there is none
    """
    worker = _locked(session, worker_id)
    if worker.state == "banned":
        return None
    numbers = stats(session, worker_id)
    earned = tiers.earned(numbers)
    if tiers.at_least(earned, worker.tier):
        worker.below_since = None
        return None if earned == worker.tier else _change(session, worker, earned, numbers, "gate_reached", now)
    if worker.below_since is None:
        worker.below_since = now
    if now < worker.below_since + _grace():
        return None
    worker.below_since = None
    return _change(session, worker, earned, numbers, "below_gate", now)


def whose_grace_is_over(session: Session, now: datetime, limit: int = 500) -> Sequence[UUID]:
    """Workers who have been below their gate for the whole grace, longest first."""
    return session.scalars(
        select(Worker.id)
        .where(Worker.below_since <= now - _grace(), Worker.state == "active")
        .order_by(Worker.below_since)
        .limit(limit)
    ).all()


def ban(session: Session, *, worker_id: UUID, reason: str, now: datetime) -> bool:
    """
    Take the worker's access away, with a reason they can read. False when they were banned already: that reason stands.

    :raises NoSuchWorker: there is none
    """
    worker = _locked(session, worker_id)
    if worker.state == "banned":
        return False
    worker.state, worker.banned_at, worker.ban_reason = "banned", now, reason
    events.banned(session, worker_id)
    return True


def lift_ban(session: Session, *, worker_id: UUID, now: datetime) -> bool:
    """
    Give the worker's access back, with the tier they had. False when they were not banned.

    A grace that was running starts again: nobody can recover while locked out.

    :raises NoSuchWorker: there is none
    """
    worker = _locked(session, worker_id)
    if worker.state != "banned":
        return False
    worker.state, worker.banned_at, worker.ban_reason, worker.below_since = "active", None, None, None
    events.ban_lifted(session, worker_id)
    reconsider(session, worker_id, now)
    return True


def describe(session: Session, worker_id: UUID, now: datetime) -> Standing:
    """
    Everything a worker may ask about their standing.

    :raises NoSuchWorker: there is none
    """
    worker = workers.get(session, worker_id)
    numbers = stats(session, worker_id)
    return Standing(
        worker_id=worker.id,
        state=worker.state,
        ban_reason=worker.ban_reason,
        tier=worker.tier,
        tier_since=worker.tier_since,
        scored=numbers.scored,
        counted=len(numbers.recent),
        approval_rate=numbers.approval_rate,
        next_tiers=tiers.lifts(numbers, worker.tier),
        demotion_to=tiers.earned(numbers) if worker.below_since else None,
        demotion_at=worker.below_since + _grace() if worker.below_since else None,
        newcomer=windows.is_newcomer(worker.assignments_count),
        cap=caps.cap(worker.tier),
        used_today=caps.used(session, worker_id, now),
        resets_at=caps.resets_at(now),
        opens_after_seconds=windows.opens_after(worker.tier),
        changes=changes(session, worker_id),
    )


def changes(session: Session, worker_id: UUID, limit: int = 20) -> Sequence[TierChange]:
    """The worker's latest tier changes, newest first."""
    return session.scalars(
        select(TierChange).where(TierChange.worker_id == worker_id).order_by(TierChange.id.desc()).limit(limit)
    ).all()


def _locked(session: Session, worker_id: UUID) -> Worker:
    # Two verdicts on one worker's work reconsider one after the other; the second counts what the first committed.
    # NO KEY UPDATE lets new outcomes, which refer to this row, be written meanwhile.
    worker = session.scalars(
        select(Worker)
        .where(Worker.id == worker_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if worker is None:
        raise workers.NoSuchWorker("No worker has this id.")
    return worker


def _change(session: Session, worker: Worker, to: Tier, numbers: Stats, reason: str, now: datetime) -> TierChange:
    change = TierChange(
        id=ids.new(),
        worker_id=worker.id,
        from_tier=worker.tier,
        to_tier=to,
        approval_rate=numbers.approval_rate,
        scored=numbers.scored,
        reason=reason,
        at=now,
    )
    worker.tier, worker.tier_since = to, now
    session.add(change)
    events.tier_changed(session, change)
    return change


def _grace() -> timedelta:
    return timedelta(days=settings().demotion_days)

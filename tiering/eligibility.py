"""
Eligibility: whether this worker may see and take this job now, and if not, why, in words for the worker.

Values in, reasons out. Place and audience are decided where they are known (`jobs`) and come here as answers.
"""

from dataclasses import asdict, dataclass
from datetime import datetime

from infra.errors import Forbidden
from infra.settings import settings
from tiering import caps, windows
from tiering.tiers import Tier, at_least, rank


class NotEligible(Forbidden):
    """This job is not open to you."""


@dataclass(frozen=True)
class WorkerFacts:
    """What eligibility knows of a worker. `used_today`: submissions made this UTC day; `open_claims` will be some too."""

    tier: Tier
    banned: bool
    used_today: int
    open_claims: int = 0


@dataclass(frozen=True)
class JobFacts:
    """
    What eligibility knows of a job, as it concerns one worker.

    :param minimum_tier: what the job asks for itself (a geographic exclusive asks for Diamond)
    :param own_organization: the worker is a member of the organization that ordered it
    :param in_place: None when the job is not bound to a place; False also when the worker's position is not known
    :param in_audience: None when the job is for everybody
    """

    published_at: datetime
    price_cents: int
    minimum_tier: Tier = "new"
    own_organization: bool = False
    in_place: bool | None = None
    in_audience: bool | None = None


@dataclass(frozen=True)
class Reason:
    """Why not: a stable code for programs, words for the worker."""

    code: str
    words: str


def required_tier(price_cents: int, minimum_tier: Tier = "new") -> Tier:
    """The lowest tier that may take a job: what it asks for itself, and Gold for high-value work."""
    by_price: Tier = "gold" if price_cents >= settings().high_value_cents else "new"
    return max(minimum_tier, by_price, key=rank)


def check(worker: WorkerFacts, job: JobFacts, now: datetime) -> list[Reason]:
    """Every reason against, those that last longest first. Empty when the worker may."""
    needed = required_tier(job.price_cents, job.minimum_tier)
    opens = windows.opens_at(worker.tier, job.published_at)
    limit = caps.cap(worker.tier)
    against = [
        (worker.banned, "account-banned", "Your account is banned. You can read the reason there and appeal."),
        (job.own_organization, "own-organization", "You are a member of the organization that ordered this job."),
        (
            not at_least(worker.tier, needed),
            "tier-too-low",
            f"This job is for workers from {needed.title()} up. Your standing shows what lifts you.",
        ),
        (job.in_audience is False, "outside-audience", "This job is for another audience."),
        (job.in_place is False, "outside-place", "This job must be done in its place, and you are not there."),
        (now < opens, "window-not-open", f"This job opens for your tier at {opens:%H:%M:%S} UTC."),
        (
            worker.used_today + worker.open_claims >= limit,
            "daily-cap-reached",
            f"You have made or claimed all {limit} submissions of today. You can go on at 00:00 UTC.",
        ),
    ]
    return [Reason(code, words) for applies, code, words in against if applies]


def require(worker: WorkerFacts, job: JobFacts, now: datetime) -> None:
    """
    :raises NotEligible: carries every reason
    """
    reasons = check(worker, job, now)
    if reasons:
        raise NotEligible(reasons[0].words, reasons=[asdict(reason) for reason in reasons])

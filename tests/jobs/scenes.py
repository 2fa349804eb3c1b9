"""People, jobs and work in the state a test wants, brought there the way they get there."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from time import sleep
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from infra import db, ids
from infra.errors import Refusal
from jobs import assignments, jobs, organizations, submissions, tasks
from jobs.jobs import Draft
from jobs.models import Assignment, Job, Organization, Submission, Task
from jobs.positions import Position
from jobs.submissions import Decision
from payouts import escrow, reconcile, wallets
from payouts.models import Account, Entry
from tiering import workers
from tiering.models import Worker
from tiering.tiers import Tier

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
AUSTIN = Position(30.2672, -97.7431, accuracy_m=10.0)
GOOD = Decision(by="gates", reason={"code": "good"}, stars=5)
BAD = Decision(by="gates", reason={"code": "blurred"}, stars=2)
BROKEN = Decision(by="gates", reason={"code": "undecodable"})
BLOCKED_BY_ME = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"


def buyer(session: Session, cents: int = 1_000_000, members: tuple[str, ...] = ()) -> Organization:
    """An organization with so much in its wallet."""
    organization = organizations.found(session, name="Acme", members=members, now=NOW)
    if cents:
        cause = f"top_up:{organization.id}"
        wallets.top_up(session, organization_id=organization.id, cents=cents, cause=cause, now=NOW)
    return organization


def worker(session: Session, tier: Tier = "gold", *, assignments: int = 10, email: str | None = None) -> Worker:
    """A worker of this tier who has had so many assignments: fewer than three make a newcomer."""
    someone = workers.sign_up(session, email=email or f"{ids.new()}@example.org", now=NOW)
    someone.tier, someone.assignments_count = tier, assignments
    session.flush()
    return someone


def draft(**changes: Any) -> Draft:
    """Ten photos at 50 cents, anywhere."""
    mailboxes: dict[str, Any] = {
        "title": "Mailboxes",
        "description": "Photos of residential mailboxes",
        "accepted_formats": ["image/jpeg", "image/png"],
        "files_needed": 10,
        "price_per_file_cents": 50,
    }
    return Draft(**mailboxes | changes)


def published(session: Session, organization_id: UUID | None = None, *, now: datetime = NOW, **changes: Any) -> Job:
    """A job that is open, or scheduled if `starts_at` lies ahead."""
    organization_id = organization_id or buyer(session).id
    job = jobs.create(session, organization_id=organization_id, draft=draft(**changes), now=now)
    return jobs.publish(session, job.id, now=now)


def claimed(
    session: Session,
    job: Job,
    by: Worker | None = None,
    *,
    now: datetime = NOW,
    position: Position = AUSTIN,
    platform: str | None = "ios",
) -> Assignment:
    """A slot of the job, by a Gold worker unless told otherwise."""
    worker_id = (by or worker(session)).id
    return assignments.claim(session, job_id=job.id, worker_id=worker_id, platform=platform, position=position, now=now)


def handed_in(session: Session, assignment: Assignment, *, now: datetime = NOW, trust: str = "C") -> Submission:
    """One file for the assignment, without the file."""
    return submissions.submit(
        session,
        client_id=str(ids.new()),
        assignment_id=assignment.id,
        worker_id=assignment.worker_id,
        files=1,
        trust=trust,
        position=AUSTIN,
        now=now,
    )


def submission(session: Session, job: Job | None = None, by: Worker | None = None) -> Submission:
    """Claimed and handed in."""
    return handed_in(session, claimed(session, job or published(session), by))


def task_of(session: Session, job_id: UUID) -> Task:
    """The job's task as it stands in the database."""
    statement = select(Task).where(Task.job_id == job_id).execution_options(populate_existing=True)
    return session.scalars(statement).one()


def free_slots(task: Task) -> set[int]:
    """The numbers of the slots nobody holds."""
    return {slot for part in task.free for slot in range(part.lower, part.upper)}


def take_slots(session: Session, all_jobs: list[Job]) -> None:
    """Every second job gets short of slots: all but one are taken, and of every fourth that one too."""
    for place, job in enumerate(all_jobs):
        target = task_of(session, job.id).target
        for _ in range({1: target - 1, 3: target}.get(place % 4, 0)):
            tasks.take(session, job, newcomer=True, now=NOW)


def has_slot_for(session: Session, job: Job, worker: Worker, now: datetime) -> bool:
    """The newcomer rule from the product: a tenth of what they may take is held until half an hour after publication."""
    task = task_of(session, job.id)
    assert job.published_at
    dear = job.price_per_file_cents >= 1_000 or job.audience.get("diamond_only")
    quota = max(1, task.target // 10) if task.target >= 10 and not dear else 0
    held = max(0, quota - task.newcomer_taken) if now < job.published_at + timedelta(minutes=30) else 0
    return job.state == "open" and task.target - task.taken > (0 if worker.assignments_count < 3 else held)


def assert_sound(session: Session, job_id: UUID) -> None:
    """What holds of a job and its money after every step, whatever happened before."""
    job, task = jobs.get(session, job_id), task_of(session, job_id)
    rows = session.execute(select(Assignment.slot, Assignment.state).where(Assignment.job_id == job_id)).all()
    held = [slot for slot, state in rows if state in ("claimed", "submitted", "approved")]
    count = {state: sum(1 for _, one in rows if one == state) for state in ("claimed", "submitted", "approved")}
    assert (task.assigned, task.pending, task.approved) == (count["claimed"], count["submitted"], count["approved"])
    assert 0 <= task.taken <= task.target
    assert len(held) == len(set(held)), "a slot is held twice"
    assert free_slots(task) | set(held) == set(range(1, task.target + 1))
    assert not free_slots(task) & set(held)
    if job.state in ("open", "filled"):
        assert (job.state == "filled") == (task.taken == task.target)
    assert task.claimable == (job.state in ("open", "filled"))
    assert escrow.balance(session, job_id) == jobs.expected_escrow(session).get(job_id, 0)


def assert_books_right(session: Session) -> None:
    """Reconciliation finds nothing, and what was paid in is in wallets, escrows, earnings and fees."""
    assert reconcile.check(session, expected_escrow=jobs.expected_escrow(session)) == []
    books = reconcile.books(session)
    assert sum(books.values()) == 0


def booked(session: Session, kind: str, owner_id: UUID | None = None) -> int:
    """Cents on one account, added up from its entries."""
    total = select(func.coalesce(func.sum(Entry.amount_cents), 0)).join(Account, Account.id == Entry.account_id)
    return int(session.scalar(total.where(Account.kind == kind, Account.owner_id.is_not_distinct_from(owner_id))) or 0)


def later(**by: float) -> datetime:
    """So long after `NOW`."""
    return NOW + timedelta(**by)


def overtaken(
    first: Callable[[Session], object],
    second: Callable[[Session], object],
    meanwhile: Callable[[Session], object] | None = None,
) -> Exception | None:
    """
    `second` runs into what `first` has locked, and goes on when that commits: the order in which stale reads hurt. Gives the
    refusal of the second, if it was refused.

    :param meanwhile: done by the first while the second waits for it
    """

    def run() -> Exception | None:
        try:
            with db.transaction() as session:
                second(session)
        except Refusal as refused:
            return refused
        return None

    with ThreadPoolExecutor(1) as pool:
        with db.transaction() as session:
            first(session)
            session.flush()
            behind = pool.submit(run)
            while not behind.done() and not session.scalar(text(BLOCKED_BY_ME)):
                sleep(0.01)
            if meanwhile and not behind.done():
                meanwhile(session)
        return behind.result()

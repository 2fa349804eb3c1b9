"""Organizations: the buyers. Their keys live with the API's sign-in, their wallet with the ledger."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import case, func, select, update
from sqlalchemy.orm import Session

from infra import ids
from infra.errors import NotFound
from jobs.models import Job, Member, Organization, Submission


class NoSuchOrganization(NotFound):
    """There is no such organization."""


def found(session: Session, *, name: str, members: Sequence[str] = (), now: datetime) -> Organization:
    """Register a buyer, with the e-mail addresses of its people."""
    organization = Organization(id=ids.new(), name=name, created_at=now)
    session.add(organization)
    session.flush()
    session.add_all(Member(organization_id=organization.id, email=email.lower()) for email in members)
    session.flush()
    return organization


def get(session: Session, organization_id: UUID) -> Organization:
    """
    :raises NoSuchOrganization: unknown id
    """
    organization = session.get(Organization, organization_id)
    if organization is None:
        raise NoSuchOrganization
    return organization


def memberships(session: Session, email: str) -> list[UUID]:
    """The buyers this address belongs to; their jobs stay invisible to its worker."""
    return list(session.scalars(select(Member.organization_id).where(Member.email == email.lower())))


def refresh_scorecards(session: Session, *, since: datetime) -> int:
    """
    Recompute what workers see of each buyer from the submissions decided since `since`: the share approved, and the
    median seconds from hand-in to decision. Dry runs do not count. Who had nothing decided since then has an empty card.
    Returns how many have one.
    """
    seconds = func.extract("epoch", Submission.decided_at - Submission.submitted_at)
    facts = (
        select(
            Submission.organization_id,
            func.count().label("decided"),
            func.avg(case((Submission.state == "approved", 1.0), else_=0.0)).label("rate"),
            func.percentile_cont(0.5).within_group(seconds).label("median"),
        )
        .join(Job, Job.id == Submission.job_id)
        .where(Submission.decided_at >= since, ~Job.test)
        .group_by(Submission.organization_id)
        .subquery()
    )
    written = session.execute(
        update(Organization)
        .where(Organization.id == facts.c.organization_id)
        .values(decided=facts.c.decided, approval_rate=facts.c.rate, median_decision_seconds=facts.c.median)
        .returning(Organization.id)
        .execution_options(synchronize_session=False)
    )
    session.execute(
        update(Organization)
        .where(Organization.decided > 0, Organization.id.not_in(select(facts.c.organization_id)))
        .values(decided=0, approval_rate=None, median_decision_seconds=None)
        .execution_options(synchronize_session=False)
    )
    return len(written.all())

"""What staff decide: submissions machines must not decide alone, and bans."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, StringConstraints
from sqlalchemy.orm import Session

from api import paging
from api.auth.callers import Staff, StaffCaller
from api.edge import get, post
from api.paging import Cursor, Limit
from api.schemas import JobId, Model, Page, ReviewId, StaffId, Timestamp, WorkerId
from infra import blobs, ids
from infra.errors import Conflict
from ingest import media, uploads
from ingest.models import Media
from quality import reviews, verdicts
from quality.models import Review

LOOK_SECONDS = 900

Kind = Literal["submission", "ban"]


class NotBanned(Conflict):
    """This worker is not banned."""


class ReviewFile(Model):
    id: str
    url: str
    inspected: Annotated[bool, Field(description="whether anything is known of it; else it cannot be approved yet")]
    neighbours: list[dict[str, Any]]


class ReviewView(Model):
    object: Literal["review"] = "review"
    id: ReviewId
    kind: Kind
    state: Literal["open", "decided"]
    subject_id: str
    worker_id: WorkerId
    job_id: JobId | None
    reasons: list[Any]
    held_cents: Annotated[int, Field(description="what the worker waits for")]
    escalations: int
    opened_at: Timestamp
    due_at: Timestamp | None
    decision: str | None
    code: str | None
    note: str | None
    decided_by: StaffId | None
    decided_at: Timestamp | None
    files: list[ReviewFile]


class ReviewDecision(Model):
    """approve or reject a submission, uphold or lift a ban."""

    decision: Literal["approve", "reject", "uphold", "lift"]
    code: Annotated[str, StringConstraints(max_length=40), Field(description="why, when rejecting")] | None = None
    stars: Annotated[int, Field(ge=1, le=5)] | None = None
    note: Annotated[str, StringConstraints(min_length=3, max_length=2_000), Field(description="for the record")]


class BanLift(Model):
    note: Annotated[str, StringConstraints(min_length=3, max_length=2_000)]


class BanView(Model):
    object: Literal["ban"] = "ban"
    worker_id: WorkerId
    banned: bool


@get("/v1/staff/reviews", who=Staff(), summary="List reviews, newest first")
def index(
    session: Session,
    kind: Kind | None = None,
    state: Literal["open", "decided"] = "open",
    cursor: Cursor | None = None,
    limit: Limit = 20,
) -> Page[ReviewView]:
    """What waits for a human, or what was decided."""
    found = paging.page(session, reviews.queue(kind=kind, state=state), Review.id, cursor, limit)
    return found.shown(lambda review: show(session, review))


@get("/v1/staff/reviews/{review_id:str}", who=Staff(), summary="Read a review")
def read(session: Session, review_id: ReviewId) -> ReviewView:
    """With the files, and the earlier files they resemble."""
    return show(session, reviews.get(session, review_id))


@post("/v1/staff/reviews/{review_id:str}/decision", who=Staff(), status=200, summary="Decide a review")
def decide(
    session: Session, caller: StaffCaller, now: datetime, review_id: ReviewId, data: ReviewDecision
) -> ReviewView:
    """Money, slot and standing move at once, and the worker reads why."""
    review = verdicts.decide_review(
        session,
        review_id,
        decision=data.decision,
        code=data.code,
        stars=data.stars,
        note=data.note,
        by=caller.staff_id,
        by_shown=ids.show("stf", caller.staff_id),
        now=now,
    )
    return show(session, review)


@post("/v1/staff/workers/{worker_id:str}/lift-ban", who=Staff(), status=200, summary="Lift a ban")
def lift_ban(session: Session, caller: StaffCaller, now: datetime, worker_id: WorkerId, data: BanLift) -> BanView:
    """Access comes back with the tier as it was; the strikes behind the ban stop counting."""
    if not verdicts.lift_ban(session, worker_id, by=caller.staff_id, note=data.note, now=now):
        raise NotBanned("There is no ban to lift.")
    return BanView(worker_id=worker_id, banned=False)


def show(session: Session, review: Review) -> ReviewView:
    """A review as staff see it."""
    prefix = "sub" if review.kind == "submission" else "wkr"
    same = {name: getattr(review, name) for name in ReviewView.model_fields if name in Review.__mapper__.columns}
    return ReviewView(
        **same | {"subject_id": ids.show(prefix, review.subject_id)},
        files=_files(session, review.subject_id) if review.kind == "submission" else [],
    )


def _files(session: Session, submission_id: UUID) -> list[ReviewFile]:
    """What was sent, inspected or not. A file has the id of its upload."""
    inspected = {one.id: one for one in media.of_submission(session, submission_id)}
    sent = {upload.id: upload.key for upload in uploads.of_submission(session, submission_id)}
    sent |= {one.id: one.key for one in inspected.values()}
    return [_file(id, key, inspected.get(id)) for id, key in sorted(sent.items())]


def _file(id: UUID, key: str, inspected: Media | None) -> ReviewFile:
    return ReviewFile(
        id=ids.show("med", id),
        url=blobs.presign_get(key, seconds=LOOK_SECONDS),
        inspected=inspected is not None,
        neighbours=[
            {
                "id": ids.show("med", likeness.media_id),
                "distance": likeness.distance,
                "correlation": likeness.correlation,
                "mirrored": likeness.mirrored,
            }
            for likeness in (media.likenesses(inspected) if inspected else [])
        ],
    )

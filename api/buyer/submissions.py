"""What buyers see of the work handed in: the verdict and why, a coarse region, and the file once it is theirs."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field
from sqlalchemy.orm import Session

from api import paging
from api.auth.callers import Buyer, BuyerCaller
from api.buyer import jobs
from api.edge import get
from api.paging import Cursor, Limit
from api.schemas import JobId, MediaId, Model, Page, SubmissionId, Timestamp
from infra import blobs, ids
from ingest import deliverables, media
from ingest.models import Media
from jobs import submissions
from jobs.jobs import NoSuchJob
from jobs.models import Submission

DOWNLOAD_SECONDS = 7 * 24 * 3_600

State = Literal["pending", "in_review", "approved", "rejected"]


class FileView(Model):
    object: Literal["media"] = "media"
    id: MediaId
    sha256: Annotated[str | None, Field(description="of the file at `url`: the photo without the camera's metadata")]
    original_sha256: Annotated[str, Field(description="of the file as the phone declared and signed it")]
    media_type: str | None
    width: int | None
    height: int | None
    url: Annotated[str | None, Field(description="signed for seven days; only once the submission is approved")]


class SubmissionView(Model):
    object: Literal["submission"] = "submission"
    id: SubmissionId
    job_id: JobId
    state: State
    stars: int | None
    reason: Annotated[dict[str, Any] | None, Field(description="gate, version, code, measured value, limit, feedback")]
    cost_cents: int
    region: str | None
    submitted_at: Timestamp
    decided_at: Timestamp | None
    files: list[FileView]


@get("/v1/jobs/{job_id:str}/submissions", who=Buyer("jobs:read"), summary="List the submissions of a job")
def index(
    session: Session,
    caller: BuyerCaller,
    job_id: JobId,
    state: State | None = None,
    cursor: Cursor | None = None,
    limit: Limit = 20,
) -> Page[SubmissionView]:
    """Newest first; all of them, or those in one state."""
    job = jobs.own(session, caller, job_id)
    found = paging.page(session, submissions.of_job(job.id, state=state), Submission.id, cursor, limit)
    return found.shown(lambda submission: show(session, submission))


@get("/v1/submissions/{submission_id:str}", who=Buyer("jobs:read"), summary="Read a submission", waits=True)
def read(session: Session, caller: BuyerCaller, submission_id: SubmissionId) -> SubmissionView:
    """With `Prefer: wait=N` the answer comes when it is decided, or after N seconds."""
    submission = submissions.get(session, submission_id)
    try:
        jobs.own(session, caller, submission.job_id)
    except NoSuchJob:  # what is somebody else's is not known to exist
        raise submissions.NoSuchSubmission from None
    return show(session, submission)


def show(session: Session, submission: Submission) -> SubmissionView:
    """A submission as its buyer sees it. Nothing of the worker but the work."""
    approved = submission.state == "approved"
    return SubmissionView(
        id=submission.id,
        job_id=submission.job_id,
        state=submission.state,
        stars=submission.stars if submission.decided_at else None,
        reason=submission.reason,
        cost_cents=submission.buyer_cents if approved else 0,
        region=submission.region,
        submitted_at=submission.submitted_at,
        decided_at=submission.decided_at,
        files=[_file(one, approved) for one in media.of_submission(session, submission.id)],
    )


def _file(one: Media, approved: bool) -> FileView:
    facts = one.facts or {}
    return FileView(
        id=one.id,
        sha256=one.copy_sha256.hex() if one.copy_sha256 else None,
        original_sha256=one.sha256.hex(),
        media_type=deliverables.media_type(facts["format"]) if facts else None,
        width=facts.get("width"),
        height=facts.get("height"),
        url=_address(one.copy_key, one.id) if approved and one.copy_key else None,
    )


def _address(copy_key: str, media_id: UUID) -> str:
    """Of the copy, never of the original: that says where and with which camera it was taken."""
    return blobs.presign_get(copy_key, seconds=DOWNLOAD_SECONDS, filename=ids.show("med", media_id))

"""Workers' claims, and the uploads that belong to them."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints
from sqlalchemy.orm import Session

from api import paging
from api.auth.callers import Worker, WorkerCaller
from api.edge import get, post
from api.paging import Cursor, Limit
from api.schemas import AssignmentId, JobId, Model, Page, TaskId, Timestamp, UploadId
from api.worker.feed import Accuracy, FixAge, Latitude, Longitude
from infra import ids
from ingest import devices, uploads
from ingest.uploads import Declaration
from jobs import assignments, jobs, submissions
from jobs.models import Assignment
from jobs.positions import Position

State = Literal["claimed", "submitted", "approved", "rejected", "expired", "handed_back"]


class Fix(Model):
    """Where the phone is, as its system says."""

    latitude: Latitude
    longitude: Longitude
    accuracy_m: Accuracy
    fix_age_s: FixAge = 0.0
    mocked: bool = False

    def position(self) -> Position:
        """The same, as the work takes it."""
        return Position(self.latitude, self.longitude, self.accuracy_m, self.fix_age_s, self.mocked)


class Claim(Model):
    position: Fix


class AssignmentView(Model):
    object: Literal["assignment"] = "assignment"
    id: AssignmentId
    job_id: JobId
    task_id: TaskId
    state: State
    slot: int
    attempts: int
    claimed_at: Timestamp
    seconds_left: Annotated[int, Field(description="until the claim runs out; 0 once it is no longer yours to fill")]


class FileDeclaration(Model):
    """One file you are about to send. What arrives must be exactly this."""

    size: Annotated[int, Field(ge=1, le=2**40, description="bytes")]
    media_type: Annotated[str, StringConstraints(max_length=100)]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    captured_at: Timestamp | None = None


class UploadView(Model):
    object: Literal["upload"] = "upload"
    id: UploadId
    method: str
    url: str
    headers: Annotated[dict[str, str], Field(description="send exactly these: they are part of the signature")]


class ChallengeView(Model):
    object: Literal["challenge"] = "challenge"
    id: str
    nonce: Annotated[str, Field(description="32 bytes in hex, to be signed into the assertion within five minutes")]


@post("/v1/worker/jobs/{job_id:str}/claims", who=Worker(), summary="Claim a slot")
def claim(session: Session, caller: WorkerCaller, now: datetime, job_id: JobId, data: Claim) -> AssignmentView:
    """One slot is yours until its time limit. 409 when others were faster, 403 with reasons when the job is not for you."""
    assignment = assignments.claim(
        session,
        job_id=job_id,
        worker_id=caller.worker_id,
        platform=caller.platform,
        position=data.position.position(),
        now=now,
    )
    return show(assignment, now)


@get("/v1/worker/assignments", who=Worker(), summary="List your assignments, newest first")
def index(
    session: Session,
    caller: WorkerCaller,
    now: datetime,
    state: State | None = None,
    cursor: Cursor | None = None,
    limit: Limit = 20,
) -> Page[AssignmentView]:
    """With `state=claimed`, what an app that was installed anew still has to do."""
    found = paging.page(session, assignments.by_worker(caller.worker_id, state=state), Assignment.id, cursor, limit)
    return found.shown(lambda assignment: show(assignment, now))


@get("/v1/worker/assignments/{assignment_id:str}", who=Worker(), summary="Read an assignment")
def read(session: Session, caller: WorkerCaller, now: datetime, assignment_id: AssignmentId) -> AssignmentView:
    """With the seconds you have left."""
    return show(assignments.of_worker(session, assignment_id, caller.worker_id), now)


@post("/v1/worker/assignments/{assignment_id:str}/hand-back", who=Worker(), status=200, summary="Hand a slot back")
def hand_back(session: Session, caller: WorkerCaller, now: datetime, assignment_id: AssignmentId) -> AssignmentView:
    """Somebody else can take it."""
    return show(assignments.hand_back(session, assignment_id, worker_id=caller.worker_id, now=now), now)


@post("/v1/worker/assignments/{assignment_id:str}/uploads", who=Worker(), summary="Begin an upload")
def begin_upload(
    session: Session, caller: WorkerCaller, now: datetime, assignment_id: AssignmentId, data: FileDeclaration
) -> UploadView:
    """Gives an address in storage that takes exactly this file; PUT the bytes there."""
    assignment = assignments.of_worker(session, assignment_id, caller.worker_id)
    assignments.require_claimed(assignment)
    submissions.require_time_left(assignment, now)
    declared = Declaration(data.size, data.media_type, bytes.fromhex(data.sha256), data.captured_at)
    upload, signed = uploads.begin(
        session,
        worker_id=caller.worker_id,
        assignment_id=assignment.id,
        claim_ends=assignment.due_at or now,
        declared=declared,
        accepted=jobs.get(session, assignment.job_id).accepted_formats,
        now=now,
    )
    return UploadView(id=upload.id, method=signed.method, url=signed.url, headers=dict(signed.headers))


@post("/v1/worker/assignments/{assignment_id:str}/challenges", who=Worker(), summary="Get a challenge to sign")
def challenge(session: Session, caller: WorkerCaller, now: datetime, assignment_id: AssignmentId) -> ChallengeView:
    """Ask for it after the files are in storage: it is good for five minutes and one try."""
    assignment = assignments.of_worker(session, assignment_id, caller.worker_id)
    made = devices.challenge(session, worker_id=caller.worker_id, assignment_id=assignment.id, now=now)
    return ChallengeView(id=ids.show("chl", made.id), nonce=made.nonce.hex())


def show(assignment: Assignment, now: datetime) -> AssignmentView:
    """An assignment as its worker sees it."""
    return AssignmentView(
        id=assignment.id,
        job_id=assignment.job_id,
        task_id=assignment.task_id,
        state=assignment.state,
        slot=assignment.slot,
        attempts=assignment.attempts,
        claimed_at=assignment.claimed_at,
        seconds_left=assignments.seconds_left(assignment, now),
    )

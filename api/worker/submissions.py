"""Handing in, and what became of it."""

import base64
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints
from sqlalchemy.orm import Session

from api import paging
from api.auth.callers import Worker, WorkerCaller
from api.edge import get, post
from api.paging import Cursor, Limit
from api.schemas import AssignmentId, DeviceKeyId, JobId, Model, Page, SubmissionId, Timestamp, UploadId
from api.worker.assignments import Fix
from infra import db, ids
from infra.errors import Conflict, Forbidden, Invalid, Refusal
from ingest import devices, uploads
from ingest.models import Upload
from jobs import assignments, jobs, submissions
from jobs.models import Assignment, Submission
from quality import findings

SIGNED, UNSIGNED = "C", "D"  # trust tiers: a key that no vendor vouches for, and no evidence


class WrongFileCount(Invalid):
    """This job takes another number of files in one submission."""


class ClientIdUsed(Conflict):
    """This client_id belongs to a hand-in for another assignment."""


class SignatureRequired(Forbidden):
    """This job takes only submissions that the phone has signed."""


class BadSignature(Invalid):
    """The signature is not base64."""


class DeviceAssertion(Model):
    """The phone's signature over this submission; `docs/api.md` says over which bytes."""

    key_id: DeviceKeyId
    challenge_id: Annotated[str, StringConstraints(max_length=40)]
    counter: Annotated[int, Field(ge=1, le=2**32 - 1, description="higher than ever before with this key")]
    signature: Annotated[str, StringConstraints(max_length=200), Field(description="ECDSA-SHA-256 in DER, base64")]

    def read(self) -> devices.Assertion:
        """
        :raises BadSignature: not base64
        """
        try:
            signature = base64.b64decode(self.signature, validate=True)
        except ValueError:  # also for letters outside ASCII
            raise BadSignature("Send the DER signature in base64.", field="assertion.signature") from None
        return devices.Assertion(self.key_id, ids.read("chl", self.challenge_id), self.counter, signature)


class HandIn(Model):
    client_id: Annotated[
        str,
        StringConstraints(pattern=r"^[\x21-\x7e]{8,100}$"),
        Field(description="made by the app; sent twice, it counts once"),
    ]
    assignment_id: AssignmentId
    upload_ids: Annotated[list[UploadId], Field(min_length=1, max_length=5)]
    position: Fix
    assertion: DeviceAssertion | None = None


class FindingView(Model):
    """What one gate said: passed, rejected, sent to a person, or only noted."""

    gate: str
    version: str
    outcome: Literal["pass", "reject", "review", "signal"]
    code: str
    measured: Any
    limit: Any
    feedback: str


class WorkerSubmissionView(Model):
    object: Literal["submission"] = "submission"
    id: SubmissionId
    job_id: JobId
    assignment_id: AssignmentId
    state: Literal["pending", "in_review", "approved", "rejected"]
    attempt: int
    stars: int | None
    reason: Annotated[dict[str, Any] | None, Field(description="gate, version, code, measured value, limit, feedback")]
    retry: Annotated[bool, Field(description="you may hand in once more for the same assignment")]
    pay_cents: int
    submitted_at: Timestamp
    decided_at: Timestamp | None
    findings: list[FindingView]
    scores: list[dict[str, Any]]


@post("/v1/worker/submissions", who=Worker(), summary="Hand in")
def hand_in(caller: WorkerCaller, now: datetime, data: HandIn) -> WorkerSubmissionView:
    """
    Bind the uploaded files to your assignment and start the checks; 5 to 15 seconds is normal. Sending the same
    `client_id` again answers with the same submission.
    """
    try:
        return _known(caller, data) or _hand_in(caller, data, now)
    except Conflict:
        known = _known(caller, data)  # another request with this client_id may have been faster
        if known is None:
            raise
        return known


def _known(caller: WorkerCaller, data: HandIn) -> WorkerSubmissionView | None:
    with db.transaction() as session:
        earlier = submissions.by_client_id(session, worker_id=caller.worker_id, client_id=data.client_id)
        return _same(session, earlier, data) if earlier else None


def _same(session: Session, earlier: Submission, data: HandIn) -> WorkerSubmissionView:
    """
    :raises ClientIdUsed: it was another hand-in, whose answer would hide that this one was not taken
    """
    if earlier.assignment_id != data.assignment_id:
        raise ClientIdUsed("Make a new client_id for every assignment and every try.", field="client_id")
    return show(session, earlier)


def _hand_in(caller: WorkerCaller, data: HandIn, now: datetime) -> WorkerSubmissionView:
    with db.transaction() as session:
        assignment = _require_admissible(session, caller, data, now)
        files = uploads.chosen(session, data.upload_ids, worker_id=caller.worker_id, assignment_id=assignment.id)
    uploads.require_arrived(files)
    assertion = data.assertion.read() if data.assertion else None
    with db.transaction() as session:
        # Requests with one client_id queue up here; all but the first find what it handed in.
        earlier = submissions.by_client_id(session, worker_id=caller.worker_id, client_id=data.client_id, wait=True)
        if earlier is not None:
            return _same(session, earlier, data)
        nonce = _burn(session, caller, data, assertion, now)
        try:
            with session.begin_nested():
                return show(session, _accept(session, caller, data, assignment, files, assertion, nonce, now))
        except Refusal as refusal:
            refused = refusal  # a challenge is burnt by any try: that is committed, so the refusal comes after
    raise refused


def _require_admissible(session: Session, caller: WorkerCaller, data: HandIn, now: datetime) -> Assignment:
    assignment = assignments.of_worker(session, data.assignment_id, caller.worker_id)
    assignments.require_claimed(assignment)
    submissions.require_time_left(assignment, now)
    job = jobs.get(session, assignment.job_id)
    if len(set(data.upload_ids)) != job.files_per_submission:
        raise WrongFileCount(
            f"It takes {job.files_per_submission} different files; you named {len(set(data.upload_ids))}.",
            field="upload_ids",
            limit=job.files_per_submission,
        )
    if data.assertion is None and job.tech_constraints.get("attestation") == "required":
        raise SignatureRequired("Sign in again so that the app enrols a device key, then sign and hand in.")
    return assignment


def _burn(
    session: Session, caller: WorkerCaller, data: HandIn, assertion: devices.Assertion | None, now: datetime
) -> bytes | None:
    if assertion is None:
        return None
    return devices.burn(
        session, assertion.challenge_id, worker_id=caller.worker_id, assignment_id=data.assignment_id, now=now
    )


def _accept(
    session: Session,
    caller: WorkerCaller,
    data: HandIn,
    assignment: Assignment,
    files: list[Upload],
    assertion: devices.Assertion | None,
    nonce: bytes | None,
    now: datetime,
) -> Submission:
    if assertion is not None:
        devices.verify_assertion(
            session,
            assertion,
            nonce=nonce,
            worker_id=caller.worker_id,
            assignment_id=assignment.id,
            task_id=assignment.task_id,
            uploads=files,
        )
    submission = submissions.submit(
        session,
        client_id=data.client_id,
        assignment_id=assignment.id,
        worker_id=caller.worker_id,
        files=len(files),
        trust=UNSIGNED if assertion is None else SIGNED,
        position=data.position.position(),
        now=now,
    )
    uploads.submit(session, files, submission_id=submission.id)
    return submission


@get("/v1/worker/submissions", who=Worker(banned_allowed=True), summary="List your submissions")
def index(
    session: Session, caller: WorkerCaller, cursor: Cursor | None = None, limit: Limit = 20
) -> Page[WorkerSubmissionView]:
    """Newest first, each with the reasons for its verdict."""
    found = paging.page(session, submissions.by_worker(caller.worker_id), Submission.id, cursor, limit)
    return found.shown(lambda submission: show(session, submission))


@get(
    "/v1/worker/submissions/{submission_id:str}",
    who=Worker(banned_allowed=True),
    summary="Read a submission",
    waits=True,
)
def read(session: Session, caller: WorkerCaller, submission_id: SubmissionId) -> WorkerSubmissionView:
    """With `Prefer: wait=N` the answer comes when it is decided, or after N seconds."""
    return show(session, submissions.of_worker(session, submission_id, caller.worker_id))


def show(session: Session, submission: Submission) -> WorkerSubmissionView:
    """A submission as its worker sees it: always with the reasons."""
    said = findings.of_submission(session, submission.id)
    return WorkerSubmissionView(
        id=submission.id,
        job_id=submission.job_id,
        assignment_id=submission.assignment_id,
        state=submission.state,
        attempt=submission.attempt,
        stars=submission.stars if submission.decided_at else None,
        reason=submission.reason,
        retry=submissions.may_retry(session, submission),
        pay_cents=submission.worker_cents if submission.state == "approved" else 0,
        submitted_at=submission.submitted_at,
        decided_at=submission.decided_at,
        findings=[
            FindingView(**{name: getattr(one, name) for name in FindingView.model_fields})
            for one in said
            if not one.shadow
        ],
        scores=findings.scores_of(session, submission.id),
    )

"""Uploads: files on their way into storage. The bytes go from the phone to storage; only declarations pass here."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from infra import blobs, ids, states
from infra.blobs import SignedRequest, Stored
from infra.errors import Conflict, Exhausted, Invalid, NotFound
from infra.settings import settings
from ingest import formats
from ingest.models import UPLOAD, Upload

TYPES = sorted(name for names in formats.MEDIA_TYPES.values() for name in names)
# A file waits as long as its claim can be handed in, and a day more: a rejection may give the worker another try.
SLACK = timedelta(days=1)
# So that storage cannot be filled for nothing: files a worker may begin for one claim, and files and bytes that a worker may
# have begun and neither handed in nor lost to the sweep, over all claims.
UPLOADS_PER_ASSIGNMENT = 20
OPEN_UPLOADS = 40
OPEN_BYTES = 1024**3


class BadUpload(Invalid):
    """This file cannot be taken."""


class TooManyUploads(Exhausted):
    """You have begun as many uploads as you may."""


class NoSuchUpload(NotFound):
    """There is no such upload of yours for this assignment."""


class UploadRanOut(Conflict):
    """This upload was given up."""


class NotArrived(Conflict):
    """This file has not arrived in storage as declared."""


@dataclass(frozen=True)
class Declaration:
    """What a phone says of a file before it sends it."""

    size: int
    media_type: str
    sha256: bytes
    captured_at: datetime | None = None


def begin(
    session: Session,
    *,
    worker_id: UUID,
    assignment_id: UUID,
    claim_ends: datetime,
    declared: Declaration,
    accepted: Sequence[str],
    now: datetime,
) -> tuple[Upload, SignedRequest]:
    """
    Take a declaration and sign an address for exactly that file.

    :param claim_ends: when the claim runs out; the file is kept beyond it
    :param accepted: MIME types the job takes
    :raises BadUpload: type not accepted, empty or larger than the limit
    :raises TooManyUploads: `UPLOADS_PER_ASSIGNMENT`, `OPEN_UPLOADS` or `OPEN_BYTES`
    """
    _require_acceptable(declared, accepted)
    _require_room(session, worker_id, assignment_id, declared.size)
    id = ids.new()
    life = timedelta(minutes=settings().upload_minutes)
    upload = Upload(
        id=id,
        state="begun",
        due_at=max(now + life, claim_ends) + SLACK,  # the address and the claim die first, the sweep follows
        worker_id=worker_id,
        assignment_id=assignment_id,
        submission_id=None,
        key=f"originals/{ids.show('upl', id)}",
        size=declared.size,
        media_type=declared.media_type,
        sha256=declared.sha256,
        captured_at=declared.captured_at,
        begun_at=now,
    )
    session.add(upload)
    session.flush()
    return upload, address(upload)


def address(upload: Upload) -> SignedRequest:
    """The signed request that stores exactly the declared file."""
    return blobs.presign_put(
        upload.key,
        size=upload.size,
        media_type=upload.media_type,
        sha256=upload.sha256,
        seconds=settings().upload_minutes * 60,
    )


def chosen(session: Session, upload_ids: Sequence[UUID], *, worker_id: UUID, assignment_id: UUID) -> list[Upload]:
    """
    The uploads a worker names in a submission, in that order.

    :raises NoSuchUpload: one is unknown, somebody else's, or for another assignment
    :raises UploadRanOut: one was swept away and must be begun again
    """
    found = {
        upload.id: upload
        for upload in session.scalars(
            select(Upload).where(
                Upload.id.in_(upload_ids), Upload.worker_id == worker_id, Upload.assignment_id == assignment_id
            )
        )
    }
    for id in upload_ids:
        if id not in found:
            raise NoSuchUpload(f"{ids.show('upl', id)} is not an upload of yours for this assignment.")
        if found[id].state == "expired":
            shown = ids.show("upl", id)
            raise UploadRanOut(f"{shown} waited too long and is gone. Begin the upload again.", upload=shown)
    return [found[id] for id in upload_ids]


def require_arrived(uploads: Sequence[Upload]) -> None:
    """
    Ask storage whether each file is there with the declared size and type. Network: call outside any transaction.

    :raises NotArrived: names the file and what storage holds
    """
    for upload in uploads:
        stored = blobs.stat(upload.key)
        problem = _difference(upload, stored)
        if problem:
            raise NotArrived(f"{ids.show('upl', upload.id)}: {problem}", upload=ids.show("upl", upload.id))


def _difference(upload: Upload, stored: Stored | None) -> str | None:
    if stored is None:
        return "nothing has arrived yet. PUT the file to the address you were given, then submit again."
    if stored.size != upload.size:
        return f"{stored.size} bytes arrived, {upload.size} were declared."
    if stored.media_type != upload.media_type:
        return f"it arrived as {stored.media_type}, {upload.media_type} was declared."
    if stored.sha256 is not None and stored.sha256 != upload.sha256:
        return "the SHA-256 that storage computed is not the declared one."
    return None


def submit(session: Session, uploads: Sequence[Upload], *, submission_id: UUID) -> None:
    """
    Bind files to a submission; from now on no sweep touches them.

    :raises IllegalMove: one has expired or belongs to another submission
    """
    for upload in uploads:
        states.move(session, Upload, upload.id, along=UPLOAD, to="submitted", submission_id=submission_id)


def of_submission(session: Session, submission_id: UUID) -> list[Upload]:
    """The files of a submission, oldest first."""
    return list(session.scalars(select(Upload).where(Upload.submission_id == submission_id).order_by(Upload.id)))


def release(session: Session, assignment_id: UUID, *, now: datetime) -> None:
    """The claim is gone: what was begun for it and not handed in waits no longer than its address lives."""
    session.execute(
        update(Upload)
        .where(Upload.assignment_id == assignment_id, Upload.state == "begun")
        .values(due_at=func.least(Upload.due_at, now + timedelta(minutes=settings().upload_minutes)))
        .execution_options(synchronize_session=False)
    )


def expire(session: Session, *, now: datetime) -> list[Upload]:
    """Give up uploads that were begun and never submitted. Their bytes may be deleted after the commit."""
    overdue = session.scalars(states.overdue(Upload, UPLOAD, now)).all()
    moved = (states.try_move(session, Upload, id, along=UPLOAD, to="expired") for id in overdue)
    return [upload for upload in moved if upload]


def _require_room(session: Session, worker_id: UUID, assignment_id: UUID, size: int) -> None:
    """The uploads of one worker begin one after the other, so that what is counted here is exact."""
    session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:worker, 2))"), {"worker": str(worker_id)})
    mine = select(func.count(), func.coalesce(func.sum(Upload.size), 0)).where(Upload.worker_id == worker_id)
    begun, _ = session.execute(mine.where(Upload.assignment_id == assignment_id)).one()
    if begun >= UPLOADS_PER_ASSIGNMENT:
        raise TooManyUploads(
            f"{begun} uploads were begun for this assignment; {UPLOADS_PER_ASSIGNMENT} is the limit.",
            limit=UPLOADS_PER_ASSIGNMENT,
        )
    waiting, bytes_waiting = session.execute(mine.where(Upload.state == "begun")).one()
    if waiting >= OPEN_UPLOADS:
        raise TooManyUploads(
            f"{waiting} files of yours were begun and not handed in; {OPEN_UPLOADS} is the limit. Hand in what you have.",
            limit=OPEN_UPLOADS,
        )
    if bytes_waiting + size > OPEN_BYTES:
        raise TooManyUploads(
            f"Files of {bytes_waiting} bytes were begun and not handed in; {OPEN_BYTES} with this one is the limit. "
            "Hand in what you have.",
            limit=OPEN_BYTES,
        )


def _require_acceptable(declared: Declaration, accepted: Sequence[str]) -> None:
    if declared.media_type not in TYPES:
        raise BadUpload(
            f"{declared.media_type} cannot be taken. These can: {', '.join(TYPES)}.",
            field="media_type",
        )
    if declared.media_type not in accepted:
        raise BadUpload(f"This job takes {', '.join(accepted)}, not {declared.media_type}.", field="media_type")
    if declared.captured_at is not None and declared.captured_at.timestamp() < 0:
        raise BadUpload("captured_at lies before 1970. Leave it out if the phone does not know.", field="captured_at")
    if not 0 < declared.size <= settings().image_bytes:
        raise BadUpload(
            f"size is {declared.size} bytes; an image has 1 to {settings().image_bytes}.",
            field="size",
            limit=settings().image_bytes,
        )

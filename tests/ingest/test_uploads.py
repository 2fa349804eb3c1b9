"""Uploads: what may be declared, what storage takes, and what is swept away; on the real storage."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from infra import blobs, clock, db, ids
from infra.blobs import SignedRequest
from infra.outbox import Event
from infra.states import IllegalMove
from ingest import background, uploads
from ingest.models import Upload
from ingest.uploads import (
    OPEN_BYTES,
    OPEN_UPLOADS,
    SLACK,
    UPLOADS_PER_ASSIGNMENT,
    BadUpload,
    Declaration,
    NoSuchUpload,
    NotArrived,
    TooManyUploads,
    UploadRanOut,
)

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
ANA, BEN, CLAIM = ids.new(), ids.new(), ids.new()
PHOTO = b"not really a photo, but these very bytes"
ACCEPTED = ["image/jpeg", "image/png"]
MEGABYTES_50 = 50 * 1024 * 1024


def declared(data: bytes = PHOTO, **changes: Any) -> Declaration:
    values: dict[str, Any] = {"size": len(data), "media_type": "image/jpeg", "sha256": sha256(data).digest()}
    return Declaration(**values | changes)


def begin(
    session: Session,
    declaration: Declaration | None = None,
    *,
    by: UUID = ANA,
    assignment: UUID = CLAIM,
    now: datetime = NOW,
    minutes: float = 30,
) -> tuple[Upload, SignedRequest]:
    return uploads.begin(
        session,
        worker_id=by,
        assignment_id=assignment,
        claim_ends=now + timedelta(minutes=minutes),
        declared=declaration or declared(),
        accepted=ACCEPTED,
        now=now,
    )


def put(signed: SignedRequest, data: bytes = PHOTO, **headers: str) -> int:
    """What storage answers to a phone."""
    return httpx.request(signed.method, signed.url, content=data, headers={**signed.headers, **headers}).status_code


@pytest.fixture
def begun(database: str) -> Callable[..., tuple[Upload, SignedRequest]]:
    """An upload begun for good: `begun(declared(b"..."))`."""

    def act(*args: Any, **more: Any) -> tuple[Upload, SignedRequest]:
        with db.transaction() as session:
            return begin(session, *args, **more)

    return act


# -- declaring ---------------------------------------------------------------------------------------------------------


def test_a_declaration_is_kept_and_signed(session: Session) -> None:
    taken_at = NOW - timedelta(minutes=1)
    upload, signed = begin(session, declared(captured_at=taken_at))
    assert (upload.state, upload.size, upload.sha256) == ("begun", len(PHOTO), sha256(PHOTO).digest())
    assert (upload.worker_id, upload.assignment_id, upload.submission_id) == (ANA, CLAIM, None)
    assert (upload.captured_at, upload.begun_at) == (taken_at, NOW)
    assert upload.key == f"originals/{ids.show('upl', upload.id)}"
    assert signed.method == "PUT"
    assert "X-Amz-Expires=3600" in signed.url


@pytest.mark.parametrize(("minutes", "hours"), [(30, 1), (24 * 60, 24)])
def test_a_file_waits_a_day_longer_than_its_address_and_its_claim(
    session: Session, minutes: float, hours: float
) -> None:
    assert begin(session, minutes=minutes)[0].due_at == NOW + timedelta(hours=hours) + SLACK


@pytest.mark.parametrize("size", [1, MEGABYTES_50])
def test_the_limits_themselves_are_fine(session: Session, size: int) -> None:
    assert begin(session, declared(size=size))[0].size == size


@pytest.mark.parametrize("size", [0, -1, MEGABYTES_50 + 1])
def test_a_size_beyond_the_limits_is_refused(session: Session, size: int) -> None:
    with pytest.raises(BadUpload) as refused:
        begin(session, declared(size=size))
    assert refused.value.members == {"field": "size", "limit": MEGABYTES_50}


@pytest.mark.parametrize(
    ("media_type", "words"),
    [("video/mp4", "These can"), ("image/gif", "These can"), ("", "These can"), ("image/webp", "This job takes")],
)
def test_a_type_nobody_or_this_job_does_not_take_is_refused(session: Session, media_type: str, words: str) -> None:
    with pytest.raises(BadUpload, match=words) as refused:
        begin(session, declared(media_type=media_type))
    assert refused.value.members["field"] == "media_type"


def test_a_capture_time_that_no_device_could_sign_is_refused(session: Session) -> None:
    """The signed statement counts milliseconds since 1970; a phone whose clock is further off leaves it out."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert begin(session, declared(captured_at=epoch))[0].captured_at == epoch
    with pytest.raises(BadUpload) as refused:
        begin(session, declared(captured_at=epoch - timedelta(milliseconds=1)))
    assert refused.value.members["field"] == "captured_at"


def test_one_claim_begins_so_many_uploads_and_no_more(session: Session) -> None:
    for _ in range(UPLOADS_PER_ASSIGNMENT):
        begin(session)
    with pytest.raises(TooManyUploads) as refused:
        begin(session)
    assert refused.value.members["limit"] == UPLOADS_PER_ASSIGNMENT == 20
    begin(session, assignment=ids.new())
    begin(session, by=BEN)


def test_many_uploads_begun_at_once_are_counted_one_after_the_other(begun: Any) -> None:
    def one(_: int) -> bool:
        try:
            begun()
        except TooManyUploads:
            return False
        return True

    with ThreadPoolExecutor(6) as phones:
        taken = list(phones.map(one, range(36)))
    assert sum(taken) == UPLOADS_PER_ASSIGNMENT


def test_a_worker_cannot_begin_more_and_more_with_one_claim_after_the_other(session: Session) -> None:
    first, *_ = [begin(session, assignment=ids.new())[0] for _ in range(OPEN_UPLOADS)]
    with pytest.raises(TooManyUploads) as refused:
        begin(session, assignment=ids.new())
    assert refused.value.members["limit"] == OPEN_UPLOADS == 40
    begin(session, by=BEN, assignment=ids.new())
    uploads.submit(session, [first], submission_id=ids.new())
    begin(session, assignment=ids.new())


def test_a_worker_cannot_begin_more_bytes_than_one_may_leave_about(session: Session) -> None:
    for _ in range(20):
        begin(session, declared(size=MEGABYTES_50), assignment=ids.new())
    rest = OPEN_BYTES - 20 * MEGABYTES_50
    with pytest.raises(TooManyUploads) as refused:
        begin(session, declared(size=rest + 1))
    assert refused.value.members["limit"] == OPEN_BYTES == 1024**3
    begin(session, declared(size=rest))


def test_a_file_of_a_claim_that_is_gone_waits_as_long_as_its_address(session: Session) -> None:
    lost, other = begin(session)[0], begin(session, assignment=ids.new())[0]
    handed_in = begin(session)[0]
    uploads.submit(session, [handed_in], submission_id=ids.new())
    later = NOW + timedelta(minutes=5)
    uploads.release(session, CLAIM, now=later)
    session.expire_all()
    assert (lost.due_at, other.due_at) == (later + timedelta(hours=1), NOW + timedelta(hours=1) + SLACK)
    uploads.release(session, CLAIM, now=later + timedelta(minutes=5))
    session.expire_all()
    assert lost.due_at == later + timedelta(hours=1)
    assert uploads.expire(session, now=later + timedelta(hours=1)) == [lost]


# -- sending -----------------------------------------------------------------------------------------------------------


def test_exactly_the_declared_file_arrives(begun: Any) -> None:
    upload, signed = begun()
    with pytest.raises(NotArrived, match="nothing has arrived") as refused:
        uploads.require_arrived([upload])
    assert refused.value.members["upload"] == ids.show("upl", upload.id)
    assert put(signed) == 200
    uploads.require_arrived([upload])
    assert blobs.get(upload.key) == PHOTO


@pytest.mark.parametrize(
    ("data", "headers"),
    [
        (PHOTO + b"!", {"Content-Length": str(len(PHOTO) + 1)}),
        (PHOTO, {"Content-Type": "image/png"}),
        (PHOTO[::-1], {}),
        (PHOTO[::-1], {"x-amz-checksum-sha256": "A" * 43 + "="}),
    ],
)
def test_storage_refuses_anything_else(begun: Any, data: bytes, headers: dict[str, str]) -> None:
    upload, signed = begun()
    assert put(signed, data, **headers) >= 400
    assert blobs.stat(upload.key) is None


def test_an_address_is_good_for_one_key(begun: Any) -> None:
    upload, signed = begun()
    other, _ = begun()
    stolen = SignedRequest(
        signed.method, signed.url.replace(upload.key.split("/")[1], other.key.split("/")[1]), signed.headers
    )
    assert put(stolen) == 403


def test_another_size_in_storage_is_noticed(begun: Any) -> None:
    """Whoever can write to storage some other way: what arrived is compared in any case."""
    upload, _ = begun()
    blobs.put(upload.key, PHOTO + b"!", "image/jpeg")
    with pytest.raises(NotArrived, match=f"{len(PHOTO) + 1} bytes arrived, {len(PHOTO)} were declared"):
        uploads.require_arrived([upload])


# -- choosing and binding ----------------------------------------------------------------------------------------------


def test_a_worker_names_their_own_uploads_in_their_order(session: Session) -> None:
    first, second = begin(session)[0], begin(session)[0]
    named = uploads.chosen(session, [second.id, first.id], worker_id=ANA, assignment_id=CLAIM)
    assert named == [second, first]


@pytest.mark.parametrize("whose", ["another worker's", "another claim's", "nobody's"])
def test_others_uploads_cannot_be_named(session: Session, whose: str) -> None:
    mine = begin(session)[0]
    other = {
        "another worker's": lambda: begin(session, by=BEN)[0].id,
        "another claim's": lambda: begin(session, assignment=ids.new())[0].id,
        "nobody's": ids.new,
    }[whose]()
    with pytest.raises(NoSuchUpload, match=ids.show("upl", other)):
        uploads.chosen(session, [mine.id, other], worker_id=ANA, assignment_id=CLAIM)


def test_a_file_is_bound_to_one_submission(session: Session) -> None:
    first, second = begin(session)[0], begin(session)[0]
    submission_id = ids.new()
    uploads.submit(session, [second, first], submission_id=submission_id)
    assert uploads.of_submission(session, submission_id) == [first, second]
    assert (first.state, first.due_at, first.submission_id) == ("submitted", None, submission_id)
    with pytest.raises(IllegalMove):
        uploads.submit(session, [first], submission_id=ids.new())
    assert first.submission_id == submission_id


# -- sweeping ----------------------------------------------------------------------------------------------------------


def test_only_what_was_never_submitted_expires_when_it_is_due(session: Session) -> None:
    due, submitted = begin(session)[0], begin(session)[0]
    expired = due.due_at
    assert expired
    later = begin(session, now=NOW + timedelta(seconds=1))[0]
    uploads.submit(session, [submitted], submission_id=ids.new())
    assert uploads.expire(session, now=expired - timedelta(microseconds=1)) == []
    assert uploads.expire(session, now=expired) == [due]
    assert (due.state, later.state, submitted.state) == ("expired", "begun", "submitted")
    assert uploads.expire(session, now=NOW + timedelta(days=300)) == [later]
    assert submitted.state == "submitted"
    with pytest.raises(IllegalMove):
        uploads.submit(session, [due], submission_id=ids.new())
    with pytest.raises(UploadRanOut, match="Begin the upload again"):
        uploads.chosen(session, [later.id, due.id], worker_id=ANA, assignment_id=CLAIM)


def test_the_sweep_deletes_by_event_what_was_given_up(begun: Any) -> None:
    now = clock.now()
    (lost, address), (kept, other) = begun(now=now), begun(declared(b"kept"), now=now)
    assert (put(address), put(other, b"kept")) == (200, 200)
    with db.transaction() as session:
        uploads.submit(session, [session.merge(kept)], submission_id=ids.new())
    background.sweep_uploads()
    assert told() == []
    clock.shift(timedelta(hours=1, seconds=1) + SLACK)
    background.sweep_uploads()
    background.sweep_uploads()
    (event,) = told()
    assert event.data == {"key": lost.key}
    assert blobs.stat(lost.key) is not None  # the bytes go after the commit, by a function that may run twice
    background.delete_bytes(event.id)
    background.delete_bytes(event.id)
    assert blobs.stat(lost.key) is None
    assert blobs.get(kept.key) == b"kept"


def test_handing_in_and_the_sweep_at_once_end_one_way(begun: Any) -> None:
    upload, _ = begun(now=clock.now())
    with db.transaction() as session:
        uploads.submit(session, [session.merge(upload)], submission_id=ids.new())
        clock.shift(timedelta(hours=3) + SLACK)
        with ThreadPoolExecutor(1) as other:  # passes over the row that is being submitted
            other.submit(background.sweep_uploads).result(timeout=10)
    background.sweep_uploads()
    assert told() == []
    with db.transaction() as session:
        assert session.get_one(Upload, upload.id).state == "submitted"


def told() -> list[Event]:
    with db.transaction() as session:
        return list(session.scalars(select(Event).where(Event.type == "upload.expired")))

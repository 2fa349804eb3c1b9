"""What `ingest` does in the background. Each function may run twice and may be killed between any two lines."""

import tempfile
from pathlib import Path
from uuid import UUID

from infra import blobs, clock, db, ids, outbox, telemetry
from infra.settings import settings
from ingest import devices, geometry, hashes, media, probe, uploads
from ingest.breakage import Broken
from ingest.media import Likeness, Owner
from ingest.models import Media, Upload
from ingest.neighbours import BrokenIndex, Index

_log = telemetry.log(__name__)


def inspect(event_id: UUID) -> None:
    """
    One pass over each file of a submission: facts, hashes, look-alikes; then say so (`media.inspected`).

    Three steps, each of which finds what the one before has left when it runs again: inspect and record, compare, tell.
    """
    with db.transaction() as session:
        event = outbox.event(session, event_id)
        owner = Owner(
            submission_id=ids.read("sub", event.data["submission"]),
            assignment_id=ids.read("asg", event.data["assignment"]),
            job_id=ids.read("job", event.data["job"]),
            organization_id=event.organization_id or _missing(event_id),
            worker_id=ids.read("wkr", event.data["worker"]),
        )
        files = uploads.of_submission(session, owner.submission_id)
        done = media.known(session, [upload.id for upload in files])
    for upload in files:
        if upload.id not in done:
            _inspect(upload, owner)
    _compare(owner.submission_id)
    with db.transaction() as session:
        outbox.record(
            session,
            "media.inspected",
            subject=event.subject,
            organization_id=owner.organization_id,
            data={"submission": event.subject},
        )


def _missing(event_id: UUID) -> UUID:
    raise RuntimeError(f"event {event_id} names no organization")


def _inspect(upload: Upload, owner: Owner) -> None:
    declared = probe.Declared(size=upload.size, sha256=upload.sha256.hex(), media_type=upload.media_type)
    limits = probe.Limits(max_bytes=settings().image_bytes, max_pixels=settings().image_pixels)
    with tempfile.TemporaryDirectory(prefix="footwork-") as folder:
        path = Path(folder) / "original"
        blobs.download(upload.key, path)
        found = probe.inspect(path, declared=declared, limits=limits)
    if isinstance(found, Broken):
        with db.transaction() as session:
            media.record_broken(session, upload, owner, found, now=clock.now())
        return
    picture = hashes.trimmed(found.image)
    fingerprint = hashes.fingerprint(picture)
    grey_key = f"grey/{ids.show('med', upload.id)}"
    blobs.put(grey_key, hashes.grey_copy(picture), "image/jpeg")
    index = _open_index()
    with db.transaction() as session:
        recorded = media.record(
            session, upload, owner, found.facts, fingerprint, grey_key=grey_key, index=index, now=clock.now()
        )
    if recorded.seq - index.watermark >= media.EXTEND_FROM:
        with db.transaction() as session:
            media.extend_index(session, index)


def _compare(submission_id: UUID) -> None:
    with db.transaction() as session:
        waiting = media.unverified(session, submission_id)
    for mine, nominees in waiting:
        likenesses = [
            _likeness(mine, nominee, nomination["distance"], nomination["variant"]) for nominee, nomination in nominees
        ]
        with db.transaction() as session:
            media.keep_neighbours(session, mine.id, likenesses)


def _likeness(mine: Media, other: Media, distance: int, variant: int) -> Likeness:
    overlap = geometry.compare(_grey(mine), _grey(other), variant=variant)
    return Likeness(
        media_id=other.id,
        submission_id=other.submission_id,
        assignment_id=other.assignment_id,
        worker_id=other.worker_id,
        distance=distance,
        correlation=round(overlap.correlation, 3),
        inliers=overlap.inliers,
        mirrored=overlap.mirrored,
    )


def _grey(one: Media) -> hashes.Grey:
    if one.grey_key is None:
        raise RuntimeError(f"media {one.id} was nominated and has no grey copy")
    return hashes.load_grey(blobs.get(one.grey_key))


def _open_index() -> Index:
    """This machine's index, written anew if its file is damaged."""
    try:
        return Index.open(media.index_path())
    except BrokenIndex:
        _log.warning("neighbour index damaged, rebuilding")
        with db.transaction() as session:
            media.rebuild_index(session)
        return Index.open(media.index_path())


def sweep_uploads() -> None:
    """Give up uploads nobody submitted (their bytes go by event, so that none is forgotten), and stale challenges."""
    now = clock.now()
    with db.transaction() as session:
        for upload in uploads.expire(session, now=now):
            outbox.record(session, "upload.expired", subject=ids.show("upl", upload.id), data={"key": upload.key})
        devices.forget_challenges(session, before=now)


def delete_bytes(event_id: UUID) -> None:
    """Remove from storage what an upload left there."""
    with db.transaction() as session:
        key = outbox.event(session, event_id).data["key"]
    blobs.delete(key)

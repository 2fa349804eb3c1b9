"""What `ingest` does in the background. Each function may run twice and may be killed between any two lines."""

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from infra import blobs, clock, db, ids, outbox, telemetry
from infra.outbox import Event
from infra.settings import settings
from ingest import deliverables, devices, geometry, hashes, media, probe, uploads
from ingest.breakage import Broken, Code
from ingest.geometry import Picture
from ingest.media import Likeness, Owner
from ingest.models import Media, Upload
from ingest.neighbours import BrokenIndex, Index, extend, rebuild
from ingest.probe import Facts

# Rows younger than the index file before they are written into it: looking through them costs 0.05 ms per thousand, writing
# them costs the whole file (2 s at a million), so a large file waits for one in a hundred.
YOUNG = 5_000

DEADLY = Broken(
    Code.TIMED_OUT,
    "This file could not be read within the time and memory that one file may take. Take a new photo and send that.",
)

_log = telemetry.log(__name__)


def inspect(event_id: UUID) -> None:
    """
    One pass over each file of a submission: facts, hashes, look-alikes; then say so (`media.inspected`).

    Three steps, each of which finds what the one before has left when it runs again: inspect and record, compare, tell.
    """
    with db.transaction() as session:
        owner = _owner(outbox.event(session, event_id))
        files = uploads.of_submission(session, owner.submission_id)
        done = media.known(session, [upload.id for upload in files])
    for upload in files:
        if upload.id not in done:
            _inspect(upload, owner)
    _compare(owner.submission_id)
    with db.transaction() as session:
        _tell(session, owner)


def give_up(event_id: UUID) -> None:
    """
    A submission's files killed their work horses, or took longer than one may run, as often as is tried: what is not
    inspected by now is broken, and that is said. If only something was away, nothing is known and a human waits for it.
    """
    with db.transaction() as session:
        event = outbox.event(session, event_id)
        if not event.data["killed"]:
            return
        owner = _owner(event)
        files = uploads.of_submission(session, owner.submission_id)
        media.break_off(session, owner.submission_id, DEADLY)
        for upload in files:
            media.record_broken(session, upload, owner, DEADLY, now=clock.now())
        _tell(session, owner)


def _owner(event: Event) -> Owner:
    return Owner(
        submission_id=ids.read("sub", event.data["submission"]),
        assignment_id=ids.read("asg", event.data["assignment"]),
        job_id=ids.read("job", event.data["job"]),
        organization_id=event.organization_id or _missing(event.id),
        worker_id=ids.read("wkr", event.data["worker"]),
        test=event.data["test"],
    )


def _tell(session: Session, owner: Owner) -> None:
    shown = ids.show("sub", owner.submission_id)
    outbox.record(
        session,
        "media.inspected",
        subject=shown,
        organization_id=owner.organization_id,
        data={"submission": shown},
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
        copy = b"" if isinstance(found, Broken) else _copy(path, found.facts)
    if isinstance(found, Broken):
        with db.transaction() as session:
            media.record_broken(session, upload, owner, found, now=clock.now())
        return
    picture = hashes.trimmed(found.image)
    fingerprint = hashes.fingerprint(picture)
    grey_key = f"grey/{ids.show('med', upload.id)}"
    blobs.put(grey_key, hashes.grey_copy(picture), "image/jpeg")
    copy_key = f"deliverables/{ids.show('med', upload.id)}"
    blobs.put(copy_key, copy, deliverables.media_type(found.facts.format))
    index = _open_index()
    with db.transaction() as session:
        nominated = media.nominate(session, index, fingerprint, job_id=owner.job_id)
    with db.transaction() as session:
        recorded = media.record(
            session,
            upload,
            owner,
            found.facts,
            fingerprint,
            grey_key=grey_key,
            copy_key=copy_key,
            copy_sha256=hashlib.sha256(copy).digest(),
            watermark=index.watermark,
            nominated=nominated,
            now=clock.now(),
        )
    if recorded.seq - index.watermark >= max(YOUNG, len(index) // 100):
        _write_index(extend, index.watermark)


def _copy(path: Path, facts: Facts) -> bytes:
    return deliverables.make(facts.format, path.read_bytes(), facts.orientation)


def _compare(submission_id: UUID) -> None:
    with db.transaction() as session:
        waiting = media.unverified(session, submission_id)
    for mine, nominees in waiting:
        picture = _picture(mine) if nominees else None
        likenesses = [_likeness(picture, *nominee) for nominee in nominees] if picture else []
        with db.transaction() as session:
            media.keep_neighbours(session, mine.id, likenesses)


def _likeness(picture: Picture, other: Media, nomination: dict[str, Any]) -> Likeness:
    overlap = geometry.compare(picture, _picture(other), variant=nomination["variant"])
    return Likeness(
        media_id=other.id,
        submission_id=other.submission_id,
        assignment_id=other.assignment_id,
        worker_id=other.worker_id,
        distance=nomination["distance"],
        correlation=round(overlap.correlation, 3),
        inliers=overlap.inliers,
        mirrored=overlap.mirrored,
    )


def _picture(one: Media) -> Picture:
    if one.grey_key is None:
        raise RuntimeError(f"media {one.id} was nominated and has no grey copy")
    return Picture(hashes.load_grey(blobs.get(one.grey_key)))


def _open_index() -> Index:
    """
    This machine's index, written anew if its file is damaged, or lost while there is much to know: nobody may read the whole
    archive under the lock that everybody waits for.
    """
    try:
        index = Index.open(media.index_path())
    except BrokenIndex:
        _log.warning("neighbour index damaged, writing it anew")
        _write_index(rebuild, 0)
        return Index.open(media.index_path())
    while index.watermark == 0 and _many():
        _log.warning("no neighbour index here, writing it from the table")
        if not _write_index(rebuild, 0):
            time.sleep(1)  # another process is at it; the call's time limit ends the wait
        index = Index.open(media.index_path())
    return index


def _many() -> bool:
    with db.transaction() as session:
        return media.more_than(session, YOUNG)


def _write_index(write: Callable[[Path, Iterable[tuple[int, bytes]], int], bool], watermark: int) -> bool:
    """Write the hashes above the watermark into this machine's file; False when another process is at it."""
    with db.transaction() as session:
        rows = media.younger_than(session, watermark)
    pairs = ((int(seq), hash.tobytes()) for seq, hash in zip(rows.ids, rows.hashes, strict=True))
    return write(media.index_path(), pairs, int(rows.ids.max(initial=watermark)))


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

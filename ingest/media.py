"""
Media: files that arrived, what was measured of them, and which earlier files they repeat.

Facts are written under one lock, held until the commit, so `seq` is the order in which files became visible: of two alike
files inspected at the same moment exactly one finds the other.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, or_, select, text, update
from sqlalchemy.orm import Session

from infra.settings import settings
from ingest.breakage import Broken
from ingest.hashes import Fingerprint
from ingest.models import Media, Upload
from ingest.neighbours import Index, Nomination, Rows, gather, merge, nominate_among
from ingest.probe import Facts

_LOCK = 0x4D656469  # "Medi"


@dataclass(frozen=True)
class Owner:
    """Whose work a file is part of; `test` if it is a dry run."""

    submission_id: UUID
    assignment_id: UUID
    job_id: UUID
    organization_id: UUID
    worker_id: UUID
    test: bool = False


@dataclass(frozen=True)
class Likeness:
    """An earlier file and how alike it is: bits of 256 apart, correlation of the overlap 0..1."""

    media_id: UUID
    submission_id: UUID
    assignment_id: UUID
    worker_id: UUID
    distance: int
    correlation: float
    inliers: int
    mirrored: bool


def index_path() -> Path:
    """Where this machine keeps its index file."""
    folder = settings().data_folder / "neighbours"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / "pdq.index"


def known(session: Session, upload_ids: Sequence[UUID]) -> set[UUID]:
    """Which of these uploads are already inspected."""
    return set(session.scalars(select(Media.id).where(Media.id.in_(upload_ids))))


def record_broken(session: Session, upload: Upload, owner: Owner, broken: Broken, *, now: datetime) -> Media:
    """Keep what is broken about a file. Inspected twice at once, the first keeps."""
    if earlier := _kept(session, upload):
        return earlier
    media = _media(upload, owner, now)
    media.broken = broken.as_json()
    media.neighbours = []
    session.add(media)
    session.flush()
    return media


def break_off(session: Session, submission_id: UUID, broken: Broken) -> None:
    """Files that were recorded and could never be compared with others are kept as broken, not as unlike all others."""
    session.execute(
        update(Media)
        .where(Media.submission_id == submission_id, Media.neighbours.is_(None))
        .values(facts=None, broken=broken.as_json(), pdq=None, neighbours=[], counts=False)
        .execution_options(synchronize_session=False)
    )


def record(
    session: Session,
    upload: Upload,
    owner: Owner,
    facts: Facts,
    fingerprint: Fingerprint,
    *,
    grey_key: str,
    copy_key: str | None = None,
    copy_sha256: bytes | None = None,
    watermark: int,
    nominated: Sequence[Nomination],
    now: datetime,
) -> Media:
    """
    Keep a file's facts and hash, and nominate the earlier files it may repeat. Compare them next (`unverified`).
    Inspected twice at once, the first keeps.

    :param copy_key: where the buyer's copy is (`deliverables`), and its hash
    :param nominated: what the index says, asked before this takes the lock
    :param watermark: how far that index goes; what is younger is looked through here
    """
    if earlier := _kept(session, upload):
        return earlier
    media = _media(upload, owner, now)
    media.facts = facts.as_json()
    media.phash = fingerprint.phash
    media.grey_key = grey_key
    media.copy_key, media.copy_sha256 = copy_key, copy_sha256
    media.pdq_quality = fingerprint.pdq_quality
    if fingerprint.telling:
        media.pdq = fingerprint.pdq
        most, radius = settings().near_nominations, settings().near_nominate_distance
        rows = younger_than(session, watermark, to=owner.job_id)
        younger = nominate_among(rows, fingerprint.variants, most, radius)
        media.nominated = [asdict(one) for one in merge(nominated, younger, most)]
    session.add(media)
    session.flush()
    return media


def _kept(session: Session, upload: Upload) -> Media | None:
    """Take the lock under which facts are written, and look whether another process has kept this file's."""
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    return session.get(Media, upload.id)


def _media(upload: Upload, owner: Owner, now: datetime) -> Media:
    """A file has the id of its upload."""
    return Media(
        id=upload.id,
        **asdict(owner),
        key=upload.key,
        sha256=upload.sha256,
        nominated=[],
        neighbours=None,
        counts=True,
        inspected_at=now,
    )


def nominate(session: Session, index: Index, fingerprint: Fingerprint, *, job_id: UUID) -> list[Nomination]:
    """
    The files nearest to this one, of those that the index knows and that count for the job; takes a while with millions.

    What does not count stands in the index all the same, and may not crowd out what does: ask for more until enough count.
    """
    most, radius = settings().near_nominations, settings().near_nominate_distance
    wanted = most if fingerprint.telling else 0
    counting: list[Nomination] = []
    while wanted:
        found = index.nominate(fingerprint.variants, wanted, radius)
        seqs = [one.id for one in found]
        count = set(session.scalars(select(Media.seq).where(Media.seq.in_(seqs), _counts(job_id))))
        counting = [one for one in found if one.id in count]
        enough = len(counting) >= most or len(found) < wanted
        wanted = 0 if enough else wanted * 8
    return counting[:most]


def younger_than(session: Session, seq: int, *, to: UUID | None = None) -> Rows:
    """
    The hashes that came after the index file was written.

    :param to: only those that count for this job
    """
    hashed = select(Media.seq, Media.pdq).where(Media.seq > seq, Media.pdq.is_not(None))
    statement = hashed.where(_counts(to)) if to else hashed
    rows = session.execute(statement.execution_options(yield_per=10_000))
    return gather((row.seq, row.pdq) for row in rows if row.pdq is not None)


def more_than(session: Session, count: int) -> bool:
    """Whether there are more hashes than so many."""
    return bool(session.scalars(select(Media.id).where(Media.pdq.is_not(None)).offset(count).limit(1)).first())


def _counts(job_id: UUID) -> ColumnElement[bool]:
    """Whether a file is one that files of this job are measured by."""
    return Media.counts & (~Media.test | (Media.job_id == job_id))


def stop_counting(session: Session, submission_id: UUID) -> None:
    """The submission was rejected: it was never paid, so repeating it takes nothing from anybody."""
    session.execute(
        update(Media)
        .where(Media.submission_id == submission_id)
        .values(counts=False)
        .execution_options(synchronize_session=False)
    )


def unverified(session: Session, submission_id: UUID) -> list[tuple[Media, list[tuple[Media, dict[str, Any]]]]]:
    """The files of a submission whose nominations have not been compared yet, each with its nominees."""
    waiting = session.scalars(
        select(Media).where(Media.submission_id == submission_id, Media.neighbours.is_(None)).order_by(Media.seq)
    ).all()
    seqs = {one["id"] for media in waiting for one in media.nominated}
    nominees = {row.seq: row for row in session.scalars(select(Media).where(Media.seq.in_(seqs)))}
    return [
        (media, [(nominees[one["id"]], one) for one in media.nominated if one["id"] in nominees]) for media in waiting
    ]


def keep_neighbours(session: Session, media_id: UUID, likenesses: Sequence[Likeness]) -> None:
    """Keep what geometry said of the nominees."""
    session.execute(
        update(Media)
        .where(Media.id == media_id)
        .values(neighbours=[_as_json(one) for one in likenesses])
        .execution_options(synchronize_session=False)
    )


def of_submission(session: Session, submission_id: UUID) -> list[Media]:
    """The inspected files of a submission, in the order they were sent."""
    return list(session.scalars(select(Media).where(Media.submission_id == submission_id).order_by(Media.id)))


def likenesses(media: Media) -> list[Likeness]:
    """The earlier files this one was compared with."""
    return [
        Likeness(
            **one | {name: UUID(one[name]) for name in ("media_id", "submission_id", "assignment_id", "worker_id")}
        )
        for one in media.neighbours or []
    ]


def earlier_copy(session: Session, media: Media) -> UUID | None:
    """
    An earlier file that counts, with the same bytes by the same worker on the same job (in the same submission too). Another
    try on the same assignment may send a good file again.
    """
    return session.scalars(
        select(Media.id)
        .where(
            Media.sha256 == media.sha256,
            Media.worker_id == media.worker_id,
            Media.job_id == media.job_id,
            Media.seq < media.seq,
            Media.broken.is_(None),
            Media.counts,
            or_(Media.assignment_id != media.assignment_id, Media.submission_id == media.submission_id),
        )
        .order_by(Media.seq)
        .limit(1)
    ).one_or_none()


def _as_json(one: Likeness) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, UUID) else value for name, value in asdict(one).items()}

"""Files that arrived: of two alike ones exactly one finds the other; and the index file may be old, damaged or gone."""

import io
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from threading import Barrier
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from infra import blobs, db, ids, outbox
from infra.outbox import Event
from ingest import background, hashes, media, uploads
from ingest.breakage import Broken, Code
from ingest.hashes import Fingerprint
from ingest.media import Likeness, Owner
from ingest.models import Media, Upload
from ingest.neighbours import Index, extend, rebuild
from ingest.uploads import Declaration
from tests.ingest import photographs
from tests.quality.facts import PHOTO

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
ANA = ids.new()


@pytest.fixture(autouse=True)
def no_index() -> None:
    """Every test starts on a machine that has no index file yet."""
    media.index_path().unlink(missing_ok=True)


def owner(worker_id: UUID | None = None, job_id: UUID | None = None, *, test: bool = False) -> Owner:
    return Owner(ids.new(), ids.new(), job_id or ids.new(), ids.new(), worker_id or ids.new(), test)


def upload(session: Session, whose: Owner, data: bytes = b"x") -> Upload:
    """Begun, and handed in under the owner's submission."""
    one, _ = uploads.begin(
        session,
        worker_id=whose.worker_id,
        assignment_id=whose.assignment_id,
        claim_ends=NOW,
        declared=Declaration(len(data), "image/jpeg", sha256(data).digest()),
        accepted=["image/jpeg"],
        now=NOW,
    )
    uploads.submit(session, [one], submission_id=whose.submission_id)
    return one


def fingerprint(seed: int, flipped: int = 0, quality: int = 100) -> Fingerprint:
    """A hash made up from the seed, with so many bits changed; its mirrored and turned variants are others."""
    bits = np.random.default_rng(seed).integers(0, 2, (8, 256), dtype=np.uint8)
    bits[0, :flipped] ^= 1
    variants = tuple(np.packbits(row).tobytes() for row in bits)
    return Fingerprint(pdq=variants[0], pdq_quality=quality, phash=seed, variants=variants)


def record(
    session: Session,
    print_: Fingerprint,
    whose: Owner | None = None,
    data: bytes = b"x",
    *,
    of: Upload | None = None,
    index: Index | None = None,
) -> Media:
    """What `background.inspect` writes of one file."""
    whose, index = whose or owner(), index or Index.open(media.index_path())
    one = of or upload(session, whose, data)
    return media.record(
        session,
        one,
        whose,
        PHOTO,
        print_,
        grey_key=f"grey/{one.id}",
        watermark=index.watermark,
        nominated=media.nominate(session, index, print_, job_id=whose.job_id),
        now=NOW,
    )


def nominated(one: Media) -> list[tuple[int, int]]:
    return [(found["id"], found["distance"]) for found in one.nominated]


# -- recording ---------------------------------------------------------------------------------------------------------


def test_a_later_file_finds_the_earlier_ones_by_distance(session: Session) -> None:
    first, other, near = (record(session, print_) for print_ in (fingerprint(1), fingerprint(2), fingerprint(1, 20)))
    assert first.seq < other.seq < near.seq
    assert (nominated(first), nominated(other), nominated(near)) == ([], [], [(first.seq, 20)])
    assert nominated(record(session, fingerprint(1))) == [(first.seq, 0), (near.seq, 20)]


@pytest.mark.parametrize(("bits", "found"), [(88, True), (89, False)])
def test_only_so_far_away(session: Session, bits: int, found: bool) -> None:
    record(session, fingerprint(1))
    assert bool(nominated(record(session, fingerprint(1, bits)))) is found


def test_a_mirrored_copy_is_found_by_its_variant(session: Session) -> None:
    first = record(session, fingerprint(1))
    mirrored = fingerprint(2)
    mirrored = Fingerprint(mirrored.pdq, 100, 2, (*mirrored.variants[:5], fingerprint(1).pdq, *mirrored.variants[6:]))
    found = record(session, mirrored)
    assert [(one["id"], one["distance"], one["variant"]) for one in found.nominated] == [(first.seq, 0, 5)]


def test_a_flat_picture_says_nothing_and_is_not_stored(session: Session) -> None:
    flat = record(session, fingerprint(1, quality=hashes.MIN_PDQ_QUALITY - 1))
    assert (flat.pdq, flat.pdq_quality, flat.nominated) == (None, hashes.MIN_PDQ_QUALITY - 1, [])
    assert nominated(record(session, fingerprint(1))) == []
    assert nominated(record(session, fingerprint(1, quality=hashes.MIN_PDQ_QUALITY - 1))) == []


def test_a_broken_file_is_kept_with_what_is_broken(session: Session) -> None:
    whose = owner()
    one = upload(session, whose)
    broken = Broken(Code.TRUNCATED, "Cut short.", 1, 2)
    kept = media.record_broken(session, one, whose, broken, now=NOW)
    assert (kept.facts, kept.broken, kept.pdq, kept.neighbours) == (None, broken.as_json(), None, [])
    assert media.known(session, [one.id, ids.new()]) == {one.id}
    assert media.unverified(session, whose.submission_id) == []  # nothing to compare


def test_of_two_alike_files_at_the_same_moment_exactly_one_finds_the_other(database: str) -> None:
    for seed in range(6):
        start = Barrier(2)

        def race(_: int, seed: int = seed, start: Barrier = start) -> tuple[int, list[int]]:
            index = Index.open(media.index_path())
            with db.transaction() as session:
                whose = owner()
                one = upload(session, whose)
            start.wait()
            with db.transaction() as session:
                kept = record(session, fingerprint(seed), whose, of=one, index=index)
                return kept.seq, [found["id"] for found in kept.nominated]

        with ThreadPoolExecutor(2) as pool:
            (first, firsts), (second, seconds) = sorted(pool.map(race, range(2)))
        assert (firsts, seconds) == ([], [first])
        assert first < second


def test_the_order_of_numbers_is_the_order_of_commits(database: str) -> None:
    """Or a reader of "all up to here" would miss what commits later under a smaller number."""
    racers, seen = 8, list[tuple[int, int]]()

    def race(number: int) -> None:
        with db.transaction() as session:
            kept = record(session, fingerprint(number))
            below = select(func.count()).where(Media.seq < kept.seq)
            seen.append((kept.seq, session.scalar(below) or 0))

    with ThreadPoolExecutor(racers) as pool:
        list(pool.map(race, range(racers)))
    assert [count for _, count in sorted(seen)] == list(range(racers))


# -- copies ------------------------------------------------------------------------------------------------------------


def test_a_copy_is_the_same_bytes_by_the_same_worker_on_the_same_job(session: Session) -> None:
    job = ids.new()
    first = record(session, fingerprint(1), owner(ANA, job), b"same")
    again = record(session, fingerprint(2), owner(ANA, job), b"same")
    third = record(session, fingerprint(3), owner(ANA, job), b"same")
    assert media.earlier_copy(session, first) is None
    assert media.earlier_copy(session, again) == media.earlier_copy(session, third) == first.id
    for whose, data in ((owner(ANA, job), b"other"), (owner(None, job), b"same"), (owner(ANA), b"same")):
        assert media.earlier_copy(session, record(session, fingerprint(4), whose, data)) is None


def test_a_broken_file_is_nobodys_original(session: Session) -> None:
    job = ids.new()
    whose = owner(ANA, job)
    media.record_broken(session, upload(session, whose, b"same"), whose, Broken(Code.TRUNCATED, "Cut."), now=NOW)
    assert media.earlier_copy(session, record(session, fingerprint(1), owner(ANA, job), b"same")) is None


def test_another_try_may_send_a_file_again_but_not_twice_at_once(session: Session) -> None:
    first = record(session, fingerprint(1), owner(ANA), b"same")
    again = Owner(ids.new(), first.assignment_id, first.job_id, first.organization_id, ANA)
    second = record(session, fingerprint(2), again, b"same")
    assert media.earlier_copy(session, second) is None
    assert media.earlier_copy(session, record(session, fingerprint(3), again, b"same")) == second.id


# -- what counts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("indexed", [True, False])
def test_what_was_rejected_crowds_out_nothing(database: str, indexed: bool) -> None:
    with db.transaction() as session:
        original = record(session, fingerprint(1))
        for _ in range(25):
            copy = record(session, fingerprint(1, 10))
            media.stop_counting(session, copy.submission_id)
    if indexed:
        background._write_index(extend, 0)
        assert len(Index.open(media.index_path())) == 26
    with db.transaction() as session:
        assert nominated(record(session, fingerprint(1, 10))) == [(original.seq, 10)]


def test_a_rejected_file_is_nobodys_original(session: Session) -> None:
    job = ids.new()
    first = record(session, fingerprint(1), owner(ANA, job), b"same")
    media.stop_counting(session, first.submission_id)
    session.expire_all()
    assert media.earlier_copy(session, record(session, fingerprint(1), owner(ANA, job), b"same")) is None


@pytest.mark.parametrize("indexed", [True, False])
def test_a_dry_run_is_compared_only_within_its_job(database: str, indexed: bool) -> None:
    job = ids.new()
    with db.transaction() as session:
        first = record(session, fingerprint(1), owner(job_id=job, test=True)).seq
    if indexed:
        background._write_index(extend, 0)
    with db.transaction() as session:
        assert nominated(record(session, fingerprint(1), owner(job_id=job, test=True))) == [(first, 0)]
        real = record(session, fingerprint(1))
        assert nominated(real) == []
        assert nominated(record(session, fingerprint(1), owner(test=True))) == [(real.seq, 0)], "the same gates"


# -- comparing ---------------------------------------------------------------------------------------------------------


def test_what_geometry_said_is_kept_and_read_back(session: Session) -> None:
    first, whose = record(session, fingerprint(1)), owner()
    second = record(session, fingerprint(1, 3), whose)
    ((mine, nominees),) = media.unverified(session, whose.submission_id)
    assert mine is second
    assert [(nominee.id, found["distance"]) for nominee, found in nominees] == [(first.id, 3)]
    seen = Likeness(first.id, first.submission_id, first.assignment_id, first.worker_id, 3, 0.87, 120, mirrored=True)
    media.keep_neighbours(session, second.id, [seen])
    session.expire_all()
    assert media.likenesses(second) == [seen]
    assert media.unverified(session, whose.submission_id) == []


def test_files_are_listed_in_the_order_they_were_sent(session: Session) -> None:
    whose = owner()
    first, second = upload(session, whose), upload(session, whose)
    for one, seed in ((second, 1), (first, 2)):  # inspected the other way round
        record(session, fingerprint(seed), whose, of=one)
    assert [one.id for one in media.of_submission(session, whose.submission_id)] == [first.id, second.id]


# -- the index file ----------------------------------------------------------------------------------------------------


def test_extending_the_file_changes_no_answer(database: str) -> None:
    with db.transaction() as session:
        stored = [record(session, fingerprint(seed)).seq for seed in range(5)]
    background._write_index(extend, 0)
    index = Index.open(media.index_path())
    assert (len(index), index.watermark) == (5, stored[-1])
    with db.transaction() as session:
        young = record(session, fingerprint(2, 4))  # looks in the file for the old and in the table for the young
        assert nominated(young) == [(stored[2], 4)]
    with db.transaction() as session:
        assert nominated(record(session, fingerprint(2, 5))) == [(young.seq, 1), (stored[2], 5)]
    background._write_index(extend, index.watermark)
    index = Index.open(media.index_path())
    assert len(index) == 7
    with db.transaction() as session:
        assert [distance for _, distance in nominated(record(session, fingerprint(2)))] == [0, 4, 5]


def test_what_commits_between_the_look_and_the_lock_is_not_missed(database: str) -> None:
    """The index is asked before the lock; a file that came in since then is younger than it."""
    with db.transaction() as session:
        record(session, fingerprint(1))
    background._write_index(extend, 0)
    index = Index.open(media.index_path())
    with db.transaction() as session:
        meanwhile = record(session, fingerprint(2)).seq
    background._write_index(extend, index.watermark)  # even if the file knows it by now: ours is the old one
    with db.transaction() as session:
        assert nominated(record(session, fingerprint(2), index=index)) == [(meanwhile, 0)]


def test_two_horses_at_one_file_keep_it_once(database: str) -> None:
    whose, start = owner(), Barrier(2)
    with db.transaction() as session:
        one = upload(session, whose)

    def race(seed: int) -> int:
        start.wait()
        with db.transaction() as session:
            return record(session, fingerprint(seed), whose, of=one).seq

    with ThreadPoolExecutor(2) as pool:
        assert len(set(pool.map(race, range(2)))) == 1


def damaged(how: str) -> None:
    path = media.index_path()
    whole = path.read_bytes()
    path.write_bytes({"cut short": whole[:-1], "overwritten": bytes(len(whole)), "empty": b""}[how])


# -- the whole pass, on real files in real storage -----------------------------------------------------------------------


def jpeg(name: str, quality: int = 90, **transposed: Any) -> bytes:
    picture = photographs.everyday()[name].convert("RGB")
    if transposed:
        picture = picture.transpose(transposed["by"])
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def received(data: bytes, whose: Owner | None = None) -> tuple[UUID, Owner]:
    """A file in storage and the event that calls `inspect`."""
    whose = whose or owner()
    with db.transaction() as session:
        one = upload(session, whose, data)
        shown = ids.show("sub", whose.submission_id)
        event = Event(
            id=ids.new(),
            type="submission.received",
            subject=shown,
            organization_id=whose.organization_id,
            data={
                "submission": shown,
                "assignment": ids.show("asg", whose.assignment_id),
                "job": ids.show("job", whose.job_id),
                "worker": ids.show("wkr", whose.worker_id),
                "test": whose.test,
            },
            created_at=NOW,
        )
        session.add(event)
    blobs.put(one.key, data, "image/jpeg")
    return event.id, whose


def inspected(data: bytes) -> Media:
    event_id, whose = received(data)
    background.inspect(event_id)
    with db.transaction() as session:
        (one,) = media.of_submission(session, whose.submission_id)
        return one


def test_a_photo_is_measured_once_however_often_it_runs(database: str) -> None:
    data = jpeg("astronaut")
    event_id, whose = received(data)
    background.inspect(event_id)
    background.inspect(event_id)
    with db.transaction() as session:
        (one,) = media.of_submission(session, whose.submission_id)
        told = session.scalars(select(Event.type).where(Event.type == "media.inspected")).all()
    assert one.facts is not None
    assert (one.facts["sha256"], one.facts["width"], one.facts["height"]) == (sha256(data).hexdigest(), 512, 512)
    assert one.neighbours == []
    assert one.grey_key is not None
    assert hashes.load_grey(blobs.get(one.grey_key)).shape == (hashes.GREY_SIDE, hashes.GREY_SIDE)
    assert told == ["media.inspected"] * 2  # hearing it twice does no harm


@pytest.mark.parametrize("change", [{"quality": 40}, {"by": Image.Transpose.FLIP_LEFT_RIGHT}])
def test_a_copy_of_an_earlier_photo_is_likened_to_it(database: str, change: dict[str, Any]) -> None:
    first, _ = inspected(jpeg("chelsea")), inspected(jpeg("coffee"))
    copy = inspected(jpeg("chelsea", **change))
    (alike,) = [one for one in media.likenesses(copy) if one.correlation >= 0.5]
    assert (alike.media_id, alike.submission_id, alike.worker_id) == (first.id, first.submission_id, first.worker_id)
    assert alike.distance <= 31
    assert alike.mirrored == ("by" in change)
    assert media.likenesses(first) == []


def test_something_that_is_no_photo_is_recorded_as_broken(database: str) -> None:
    one = inspected(b"GIF89a and nothing of the kind")
    assert one.facts is None
    assert one.broken is not None
    assert one.broken["code"] in ("type_mismatch", "unknown_type")


def test_killed_between_measuring_and_comparing_it_goes_on_there(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = inspected(jpeg("chelsea"))
    event_id, whose = received(jpeg("chelsea", quality=50))
    with monkeypatch.context() as broken:
        broken.setattr(background, "_likeness", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            background.inspect(event_id)
    background.inspect(event_id)
    with db.transaction() as session:
        (one,) = media.of_submission(session, whose.submission_id)
    assert [alike.media_id for alike in media.likenesses(one)] == [first.id]


def test_the_file_is_extended_when_enough_is_young(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "YOUNG", 2)
    first = inspected(jpeg("chelsea"))
    with db.transaction() as session:
        seq = session.scalars(select(Media.seq)).one()
    already = len(Index.open(media.index_path()))
    inspected(jpeg("coffee"))
    inspected(jpeg("rocket"))
    index = Index.open(media.index_path())
    assert len(index) > already
    assert index.watermark > seq
    copy = inspected(jpeg("chelsea", quality=60))
    assert first.id in [alike.media_id for alike in media.likenesses(copy) if alike.correlation >= 0.5]


@pytest.mark.parametrize("how", ["cut short", "overwritten", "empty"])
def test_a_damaged_file_is_written_anew_and_nothing_is_missed(database: str, how: str) -> None:
    first = inspected(jpeg("chelsea"))
    background._write_index(rebuild, 0)
    damaged(how)
    copy = inspected(jpeg("chelsea", quality=60))
    assert [alike.media_id for alike in media.likenesses(copy)] == [first.id]
    assert len(Index.open(media.index_path())) == 1


@pytest.mark.parametrize("others", [0, 2])
def test_a_lost_file_is_written_anew_before_the_lock(
    database: str, monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    """On a new machine with a large archive. Another process may be at it already."""
    monkeypatch.setattr(background, "YOUNG", 2)
    with db.transaction() as session:
        last = [record(session, fingerprint(seed)).seq for seed in range(3)][-1]
    busy = iter(range(others))
    real = background.rebuild
    monkeypatch.setattr(background, "rebuild", lambda *args: real(*args) if next(busy, None) is None else False)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    index = background._open_index()
    assert (len(index), index.watermark) == (3, last)


def test_the_few_files_of_a_new_house_need_no_index(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "YOUNG", 3)
    with db.transaction() as session:
        for seed in range(3):
            record(session, fingerprint(seed))
    assert background._open_index().watermark == 0


# -- files that kill ---------------------------------------------------------------------------------------------------


def given_up(event_id: UUID, *, killed: bool) -> UUID:
    """What the outbox records when it has tried often enough."""
    with db.transaction() as session:
        of = session.get_one(Event, event_id)
        event = outbox.record(
            session,
            "given_up.ingest.background.inspect",
            subject=of.subject,
            organization_id=of.organization_id,
            data={**of.data, "killed": killed},
        )
        return event.id


def what_became_of(whose: Owner) -> tuple[list[Media], int]:
    with db.transaction() as session:
        told = select(func.count()).where(Event.type == "media.inspected")
        return media.of_submission(session, whose.submission_id), session.scalar(told) or 0


def test_a_file_that_kills_its_horse_is_broken_and_said_to_be(database: str) -> None:
    event_id, whose = received(jpeg("chelsea"))
    for _ in range(2):
        background.give_up(given_up(event_id, killed=True))
    (one,), told = what_became_of(whose)
    assert one.broken is not None
    assert (one.facts, one.broken["code"], one.neighbours, told) == (None, "timed_out", [], 2)
    assert one.broken["detail"].endswith("Take a new photo and send that.")


def test_a_file_that_could_not_be_compared_is_not_taken_for_a_new_one(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inspected(jpeg("chelsea"))
    event_id, whose = received(jpeg("chelsea", quality=50))
    monkeypatch.setattr(background, "_likeness", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        background.inspect(event_id)
    background.give_up(given_up(event_id, killed=True))
    (one,), _ = what_became_of(whose)
    assert one.broken is not None
    assert (one.facts, one.broken["code"], one.pdq, one.counts) == (None, "timed_out", None, False)


def test_storage_that_was_away_is_nobodys_broken_file(database: str) -> None:
    event_id, whose = received(jpeg("chelsea"))
    background.give_up(given_up(event_id, killed=False))
    assert what_became_of(whose) == ([], 0)


def test_the_folder_of_the_index_is_this_machines_own(tmp_path: Path, configure: Any) -> None:
    configure(data_folder=str(tmp_path / "new"))
    assert media.index_path() == tmp_path / "new" / "neighbours" / "pdq.index"
    assert media.index_path().parent.is_dir()

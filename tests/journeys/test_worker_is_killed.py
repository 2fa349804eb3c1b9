"""Whoever dies in the middle of a verdict: it is carried out whole, once, or not at all and then again."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest
from sqlalchemy import select

from api.demo.phone import Json, Phone
from infra import clock, db, ids, migrations, queue
from infra.embedded import start
from infra.outbox import Call
from infra.settings import settings
from jobs.models import Submission
from payouts.models import Transfer
from tests.journeys import photos
from tests.journeys.house import RECORD, House, until


def plain(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://")


@contextmanager
def verdict_held_up(job: Json) -> Iterator[Callable[[], bool]]:
    """
    Hold the row every verdict on this job has to count itself in: the verdict stops half-way, with the submission moved
    and the worker not paid. Gives whether one waits there.
    """
    with (
        closing(psycopg.connect(plain(settings().database_url))) as holder,
        closing(psycopg.connect(plain(settings().database_url), autocommit=True)) as watcher,
    ):
        holder.execute("SELECT 1 FROM tasks WHERE job_id = %s FOR UPDATE", [ids.read("job", job["id"])])

        def waits() -> bool:
            found = watcher.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            ).fetchone()
            return bool(found and found[0])

        yield waits


def paid_once(house: House, ana: Phone, submission: Json, *, scored: int = 1) -> None:
    assert ana.call("GET", f"/v1/worker/submissions/{submission['id']}")["state"] == "approved"
    assert ana.call("GET", "/v1/worker/earnings")["available_cents"] == 40
    with db.transaction() as session:
        pays = select(Transfer).where(Transfer.submission_id == ids.read("sub", submission["id"]))
        assert len(session.scalars(pays).all()) == 1
    assert len(house.events("submission.approved")) == 1
    assert ana.call("GET", "/v1/worker/standing")["scored"] == scored


def untouched(submission: Json) -> bool:
    with db.transaction() as session:
        return session.get_one(Submission, ids.read("sub", submission["id"])).state == "pending"


@pytest.mark.parametrize("victim", ["horse", "worker and horse"])
def test_worker_killed_in_mid_verdict(house: House, configure: Callable[..., None], victim: str) -> None:
    configure(call_seconds=5, grace_seconds=1)
    job = house.buyer().post_job(price_per_file_cents=50)
    ana = house.worker("gold")
    worker = house.start("work")
    assignment = ana.claim(job["id"])
    upload = ana.upload(assignment["id"], photos.photo("coffee"))
    worker.send_signal(signal.SIGSTOP)  # until the lock is taken, which the hand-in itself needs
    submission = ana.hand_in(assignment, [upload])
    with verdict_held_up(job) as waits:
        worker.send_signal(signal.SIGCONT)
        until(waits)
        horses = psutil.Process(worker.pid).children()
        assert len(horses) == 1
        for process in [*horses, *([psutil.Process(worker.pid)] if victim == "worker and horse" else [])]:
            os.kill(process.pid, signal.SIGKILL)
        if victim == "horse":
            until(lambda: not psutil.Process(worker.pid).children())
        else:
            worker.wait(10)
            worker = house.start("work")
        assert untouched(submission), "half a verdict is none"
    house.pass_time(10)  # the horse's time is over, as the clock sees it
    until(lambda: swept() and not untouched(submission))
    until(lambda: house.waiting() == [])
    paid_once(house, ana, submission, scored=RECORD["gold"] + 1)
    assert worker.poll() is None


def swept() -> bool:
    """What the clock does every second."""
    queue.sweep()
    return True


def test_verdict_whose_worker_died_after_the_commit_is_not_repeated(house: House) -> None:
    """It was carried out, and nobody heard: the second time finds it done."""
    job = house.open_job(house.buyer(), price_per_file_cents=50)
    ana = house.worker()
    submission = ana.send(job["id"], photos.photo("coffee"))
    house.work()
    with db.transaction() as session:
        for call in session.scalars(select(Call)):
            call.state, call.due_at = "waiting", clock.now()
    house.work()
    paid_once(house, ana, submission)


def test_database_restarted_in_the_middle(
    house: House, database: str, configure: Callable[..., None], tmp_path: Path
) -> None:
    """PostgreSQL is killed while a verdict runs, and comes up again: the API and the work go on by themselves."""
    tmp_path.chmod(0o755)
    with start(tmp_path / "postgres", only=["postgres"]) as supervisor:
        configure(database_url=supervisor.services.postgres_url)
        migrations.upgrade(settings().database_url)
        job = house.open_job(house.buyer(), price_per_file_cents=50)
        ana = house.worker()
        submission = ana.send(job["id"], photos.photo("coffee"))
        supervisor.kill_part("postgres")
        supervisor.start_part("postgres")
        assert ana.call("GET", f"/v1/worker/submissions/{submission['id']}")["state"] == "pending"
        house.work()
        paid_once(house, ana, submission)
        assert house.inconsistencies() == []
        configure(database_url=database)

"""The bell and those who answer it: real Redis, real worker processes, horses that die."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer
from sqlalchemy import select

from infra import clock, db, outbox, queue, telemetry
from infra.embedded import Supervisor
from infra.outbox import Call
from infra.settings import settings

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
LISTENERS = {
    "test.happened": ["listeners.hear"],
    "test.failed": ["listeners.fail"],
    "test.unwritten": ["listeners.not_there"],
    "test.hostile": ["listeners.eat_memory_once", "listeners.crash_once", "listeners.hear"],
    "test.endless": ["listeners.hang", "listeners.hear"],
    "test.delivered": ["api.webhooks.background.deliver"],
}


@pytest.fixture(autouse=True)
def wired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setattr(outbox, "_listeners", {})
    monkeypatch.setattr(outbox, "_ring", outbox._ring)
    outbox.wire(LISTENERS, queue.ring)


def happen(type: str) -> UUID:
    with db.transaction() as session:
        return outbox.record(session, type, subject="x_y").id


def calls() -> dict[str, Call]:
    with db.transaction() as session:
        return {call.function.removeprefix("listeners."): call for call in session.scalars(select(Call))}


def heard() -> dict[str, int]:
    with Redis.from_url(settings().redis_url) as client:
        return {key.decode().partition(":")[0]: int(value) for key, value in client.hgetall("test:heard").items()}


def horse_that_hangs() -> int | None:
    with Redis.from_url(settings().redis_url) as client:
        pid = client.get("test:horse")
    return int(pid) if pid else None


def waiting(lane: str) -> list[str]:
    rung = Queue(lane, connection=queue.connection(), serializer=JSONSerializer)
    return [job.args[0] for job in rung.jobs]


def work() -> str:
    """Let a worker process answer everything that was rung. Gives its log."""
    done = subprocess.run(
        [sys.executable, "-c", "from infra import queue; queue.work(1, burst=True)"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(HERE)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def sweep(later: timedelta = timedelta()) -> int:
    with db.transaction() as session:
        return outbox.sweep(session, now=clock.now() + later)


# -- the bell ----------------------------------------------------------------------------------------------------------------


def test_deliveries_have_a_lane_of_their_own(database: str) -> None:
    happen("test.happened")
    happen("test.delivered")
    assert waiting("work") == [str(calls()["hear"].id)]
    assert waiting("deliveries") == [str(calls()["api.webhooks.background.deliver"].id)]


def test_without_redis_the_change_stands_and_the_sweep_rings_later(database: str, lone_redis: Supervisor) -> None:
    unrung = telemetry.UNRUNG._value.get()
    lone_redis.kill_part("redis")
    for _ in range(5):
        happen("test.happened")
    assert telemetry.UNRUNG._value.get() - unrung == 5
    lone_redis.start_part("redis", wipe=True)
    time.sleep(queue.SILENCE)
    assert sweep(timedelta(minutes=1)) == 5
    assert len(waiting("work")) == 5
    work()
    assert {call.state for call in calls().values()} == {"done"}
    with db.transaction() as session:
        assert outbox.backlog(session) == {"waiting": 0, "failed": 0}


def test_a_redis_that_hangs_is_waited_for_once_and_not_by_every_request(
    database: str, configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "_silent_until", 0.0)
    monkeypatch.setattr(queue, "SILENCE", 60.0)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        configure(redis_url=f"redis://127.0.0.1:{mute.getsockname()[1]}/0")
        queue.connection.cache_clear()
        started = time.monotonic()
        for _ in range(20):
            happen("test.happened")
        taken = time.monotonic() - started
    queue.connection.cache_clear()
    assert taken < 5, "twenty time-outs of half a second are ten"


# -- answering ---------------------------------------------------------------------------------------------------------------


def test_a_call_is_answered_once_however_often_the_bell_rings(database: str) -> None:
    happen("test.happened")
    call = calls()["hear"]
    queue.answer(str(call.id))
    queue.answer(str(call.id))
    assert heard() == {"hear": 1}
    assert (calls()["hear"].state, calls()["hear"].attempts) == ("done", 1)


@pytest.mark.parametrize(
    ("type", "function", "error"),
    [
        ("test.failed", "fail", "LookupError: there is no such street"),
        ("test.unwritten", "not_there", "AttributeError: module 'listeners' has no attribute 'not_there'"),
    ],
)
def test_an_exception_postpones_the_call(database: str, type: str, function: str, error: str) -> None:
    happen(type)
    queue.answer(str(calls()[function].id))
    call = calls()[function]
    assert (call.state, call.attempts, call.error) == ("waiting", 1, error)
    assert call.due_at is not None
    assert timedelta(seconds=1) < call.due_at - clock.now() <= timedelta(seconds=2)


def test_a_call_that_nobody_knows_is_passed_over(database: str) -> None:
    queue.answer(str(UUID(int=0)))


# -- work horses -------------------------------------------------------------------------------------------------------------


def test_a_hostile_file_kills_only_its_horse_and_is_tried_again(database: str, configure: Callable[..., None]) -> None:
    configure(call_memory_mb=512)
    happen("test.hostile")
    work()
    first = calls()
    assert heard() == {"eat_memory": 1, "crash": 1, "hear": 1}, "the worker outlived both and went on"
    assert (first["hear"].state, first["eat_memory_once"].state, first["crash_once"].state) == (
        "done",
        "waiting",
        "waiting",
    )
    assert (first["eat_memory_once"].error or "").startswith("MemoryError")
    assert first["crash_once"].error == "work horse died with status 6"  # SIGABRT

    time.sleep(2)  # the rest after the first failure, which no bell cuts short
    assert sweep(timedelta(seconds=3)) == 2
    work()
    assert heard() == {"eat_memory": 2, "crash": 2, "hear": 1}
    assert {name: (call.state, call.attempts, call.error) for name, call in calls().items()} == {
        "hear": ("done", 1, None),
        "eat_memory_once": ("done", 2, None),
        "crash_once": ("done", 2, None),
    }


def test_what_takes_too_long_is_stopped(database: str, configure: Callable[..., None]) -> None:
    configure(call_seconds=5)
    happen("test.endless")
    started = time.monotonic()
    work()
    assert time.monotonic() - started < 30
    call = calls()["hang"]
    assert (call.state, call.attempts) == ("waiting", 1)
    assert (call.error or "").startswith("JobTimeoutException")
    assert calls()["hear"].state == "done"


def test_a_worker_killed_with_its_horse_loses_nothing(database: str) -> None:
    happen("test.endless")
    worker = subprocess.Popen(
        [sys.executable, "-c", "from infra import queue; queue.work(1)"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(HERE)},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    last = time.monotonic() + 20
    while (horse := horse_that_hangs()) is None and time.monotonic() < last:
        time.sleep(0.05)
    worker.kill()  # first, or it would still tell of its horse's death
    worker.wait()
    assert horse is not None
    os.kill(horse, signal.SIGKILL)

    call = calls()["hang"]
    assert (call.state, call.attempts, call.error) == ("waiting", 1, None)
    sweep(timedelta(seconds=settings().call_seconds - 30))
    assert calls()["hang"].rings == 1, "it could still be running"
    sweep(timedelta(seconds=settings().call_seconds + settings().grace_seconds))
    assert calls()["hang"].rings == 2

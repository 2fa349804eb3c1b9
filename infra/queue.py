"""
The bell and those who answer it: RQ on Redis.

Redis holds nothing but call ids. A work horse is a forked process with hard limits on memory and time, so a hostile file can
crash only itself. The truth about what is done stands in `event_calls` (`infra/outbox.py`).
"""

import contextlib
import importlib
import multiprocessing
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, cast
from uuid import UUID

from redis import Redis, RedisError
from rq import Queue, Worker
from rq.exceptions import StopRequested
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.timeouts import JobTimeoutException
from rq.worker_pool import WorkerPool

from infra import clock, db, outbox, telemetry
from infra.embedded.child import die_with
from infra.settings import settings

# Deliveries wait for strangers' servers, so they have a lane of their own. Verdicts never wait behind them where some workers
# answer the lane `work` alone, as `footwork up` and the compose file have it.
LANES = ("work", "deliveries")
DELIVERIES = "api.webhooks."
SILENCE = 2.0  # seconds during which a Redis that is away is not asked again, so that requests do not pay its time-out

_log = telemetry.log(__name__)
_silent_until = 0.0


@lru_cache(maxsize=4)
def connection(url: str | None = None) -> Redis:
    """Redis for requests: gives up quickly, because everything it does for a request can be done without."""
    return Redis.from_url(
        url or settings().redis_url, socket_connect_timeout=0.3, socket_timeout=0.5, health_check_interval=30
    )


def lane(function: str) -> str:
    """Which queue a background function waits in."""
    return "deliveries" if function.startswith(DELIVERIES) else "work"


def ring(calls: Sequence[tuple[UUID, str]]) -> None:
    """Tell the workers of calls that wait. Never raises: what is not heard now, the sweep rings again."""
    global _silent_until
    if time.monotonic() < _silent_until:
        telemetry.UNRUNG.inc(len(calls))
        return
    try:
        for name in LANES:
            wanted = [str(id) for id, function in calls if lane(function) == name]
            if wanted:
                queue = Queue(name, connection=connection(), serializer=JSONSerializer)
                queue.enqueue_many([_enqueued(call_id) for call_id in wanted])
    except RedisError as error:
        _silent_until = time.monotonic() + SILENCE
        telemetry.UNRUNG.inc(len(calls))
        _log.warning("bell not rung, the sweep will", calls=len(calls), error=type(error).__name__)


def sweep() -> None:
    """
    Ring for every call whose bell was not heard. Not while Redis is away: each ring puts off the next one, and nobody shall
    wait longer for rings that could not be heard.
    """
    global _silent_until
    try:
        connection().ping()
    except RedisError:
        return
    _silent_until = 0.0
    with db.transaction() as session:
        outbox.sweep(session, now=clock.now())


def forget_done() -> None:
    """Delete the traces of work done long ago."""
    with db.transaction() as session:
        outbox.forget_done(session, now=clock.now())


def _enqueued(call_id: str) -> Any:
    return Queue.prepare_data(
        "infra.queue.answer", (call_id,), timeout=settings().call_seconds, result_ttl=0, failure_ttl=3_600, ttl=3_600
    )


def answer(call_id: str) -> None:
    """
    What a work horse runs: the background function of one call, counted before and ticked off after.

    An exception postpones the call; it is logged here, once, and not raised again, since RQ keeps no truth of ours.
    """
    id = UUID(call_id)
    with db.transaction() as session:
        begun = outbox.begin(session, id, now=clock.now())
    if begun is None:
        return
    name, event_id = begun
    telemetry.bind(f"call-{call_id}")
    try:
        function_named(name)(event_id)
    except Exception as error:  # noqa: BLE001 - the edge of all background work: whatever it was is kept and retried
        _log.exception("background function failed", function=name, event_id=str(event_id))
        with db.transaction() as session:
            died = isinstance(error, JobTimeoutException | MemoryError)  # not for want of anything: it will do so again
            outbox.postpone(session, id, error=f"{type(error).__name__}: {error}", died=died, now=clock.now())
    else:
        with db.transaction() as session:
            outbox.finish(session, id)
    finally:
        telemetry.bind(None)


def function_named(name: str) -> Callable[..., Any]:
    """The function behind a dotted name such as `quality.background.assess`."""
    module, _, attribute = name.rpartition(".")
    return cast(Callable[..., Any], getattr(importlib.import_module(module), attribute))


class LimitedWorker(Worker):
    """An RQ worker whose horses cannot take more memory or processor time than the settings allow."""

    max_connection_wait_time = 5.0  # between two looks for a Redis that is away; RQ's own is a minute
    told_to_stop = False

    def work(self, *args: Any, **options: Any) -> bool:
        pool = multiprocessing.parent_process()
        if pool is not None and pool.pid is not None and sys.platform == "linux":
            die_with(pool.pid, signal.SIGTERM)  # a killed pool must not leave workers that nobody counts
        return bool(super().work(*args, **options))

    def handle_warm_shutdown_request(self) -> None:
        """RQ calls it on SIGTERM and SIGINT, to log them."""
        self.told_to_stop = True

    def main_work_horse(self, job: Job, queue: Queue) -> None:
        memory = settings().call_memory_mb * 1024 * 1024
        seconds = settings().call_seconds
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        super().main_work_horse(job, queue)

    def handle_work_horse_killed(self, job: Job, retpid: int, ret_val: int, rusage: Any) -> None:
        """The horse died without a word (killed, out of memory): its call is postponed like after an exception."""
        _log.error("work horse died", call=job.args[0], status=ret_val)
        with db.transaction() as session:
            error = f"work horse died with status {ret_val}"
            outbox.postpone(session, UUID(job.args[0]), error=error, died=True, now=clock.now())
        db.engine().dispose()  # the next horse is a fork of this process and must not inherit a connection


def work(processes: int, *, lanes: Sequence[str] = LANES, burst: bool = False) -> None:
    """Answer the bell until told to stop, with Redis or without."""
    link = Redis.from_url(settings().redis_url, socket_connect_timeout=5, health_check_interval=15)
    if processes == 1:
        with contextlib.suppress(StopRequested):
            _work_alone(link, lanes, burst)
    else:  # the pool replaces workers that gave up
        WorkerPool(
            lanes, connection=link, num_workers=processes, worker_class=LimitedWorker, serializer=JSONSerializer
        ).start(burst=burst, logging_level="WARNING")


def _work_alone(link: Redis, lanes: Sequence[str], burst: bool) -> None:
    """RQ's worker quits when Redis goes away while a horse runs; then another one takes its place."""
    while True:
        worker: LimitedWorker | None = None
        try:
            worker = LimitedWorker(
                lanes, connection=link, serializer=JSONSerializer, maintenance_interval=60, worker_ttl=60
            )
            worker.work(burst=burst, logging_level="WARNING")
        except RedisError as error:
            if burst:
                raise
            _log.warning("redis is away, looking again", error=type(error).__name__)
        if burst or (worker is not None and worker.told_to_stop):
            return
        time.sleep(1)

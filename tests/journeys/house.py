"""
The whole house under test, and the people who call it.

The API is a real server that answers over HTTP. Background work is done when a journey says so (`work`), in this process and in
the order in which it came up, so that a journey is the same every time; those about processes start real ones (`start`).
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pyotp
from sqlalchemy import select

from api import checks
from api.auth import keys, sessions
from api.auth import staff as people
from api.demo.buyer import BuyerScript
from api.demo.phone import Json, Phone, answer_of
from api.wiring import ON_CLOCK
from infra import clock, db, ids, mail, queue
from infra.outbox import Call, Event
from jobs import organizations
from jobs.lifecycle import HOLDING
from jobs.models import Assignment, Job, Task
from payouts import reconcile
from tiering import standing, workers

ROOT = Path(__file__).parents[2]
AUSTIN = (30.2672, -97.7431)
EVERYONE = 300  # seconds after publication

# What makes a tier: scored submissions, all good.
RECORD = {"new": 0, "bronze": 10, "silver": 50, "gold": 150, "diamond": 500}


@dataclass
class Staff:
    """Somebody of trust and safety, signed in."""

    http: httpx.Client
    token: str = field(repr=False)

    def call(self, method: str, path: str, body: Json | None = None) -> Json:
        return answer_of(self.http.request(method, path, json=body, headers={"Authorization": f"Bearer {self.token}"}))

    def reviews(self, **query: str) -> list[Json]:
        """What waits for a human, newest first."""
        found: list[Json] = self.call("GET", f"/v1/staff/reviews?{httpx.QueryParams(query)}")["data"]
        return found

    def decide(self, review_id: str, decision: str, **more: Any) -> Json:
        body = {"decision": decision, "note": "Looked at it.", **more}
        return self.call("POST", f"/v1/staff/reviews/{review_id}/decision", body)


@dataclass
class House:
    """Its address, and everybody in it."""

    http: httpx.Client
    logs: Path
    phones: list[Phone] = field(default_factory=list)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _stale: timedelta = timedelta()

    # -- people --------------------------------------------------------------------------------------------------------------

    def buyer(self, name: str = "Acme Maps", *, cents: int = 100_000, members: tuple[str, ...] = ()) -> BuyerScript:
        """An organization with a key and money in its wallet."""
        with db.transaction() as session:
            organization = organizations.found(session, name=name, members=members, now=clock.now())
            _, secret = keys.issue(session, organization.id, "first", keys.SCOPES, "live", clock.now())
        script = BuyerScript(self.http, secret)
        if cents:
            script.top_up(cents)
        return script

    def worker(
        self,
        tier: str = "new",
        *,
        email: str | None = None,
        at: tuple[float, float] = AUSTIN,
        **phone: Any,
    ) -> Phone:
        """Somebody with the app, signed in by mailed code; `tier` comes from a record of good work."""
        made = Phone(self.http, email or f"worker-{len(self.phones)}@example.org", *at, **phone)
        made.sign_in(self.code)
        self.phones.append(made)
        give_record(made, tier)
        return made

    def crowd(self, number: int) -> list[Phone]:
        """Many workers at once, signed in without mail and without a device key."""
        made = [Phone(self.http, f"crowd-{count}@example.org", *AUSTIN, signs=False) for count in range(number)]
        with db.transaction() as session:
            for phone in made:
                worker = workers.sign_up(session, email=phone.email, now=clock.now())
                _, tokens = sessions.open(
                    session,
                    worker_id=worker.id,
                    install_id=phone.install_id,
                    platform=phone.platform,
                    model=None,
                    device_key_id=None,
                    now=clock.now(),
                )
                phone.worker_id = ids.show("wkr", worker.id)
                phone.access_token, phone.refresh_token = tokens.access, tokens.refresh
        self.phones += made
        return made

    def staff(self, role: str = "admin") -> Staff:
        """Somebody of trust and safety, signed in with password and code."""
        email, password, secret = f"{role}@footwork.example", "correct horse battery", pyotp.random_base32()
        with db.transaction() as session:
            people.add(session, email, password, role, now=clock.now(), secret=secret)
        body = {"email": email, "password": password, "totp": pyotp.TOTP(secret).at(clock.now())}
        return Staff(self.http, answer_of(self.http.post("/v1/staff/auth/sessions", json=body))["token"])

    def code(self, email: str) -> str:
        """The newest code mailed to an address."""
        self.work()
        for path in sorted(mail.folder().glob("*.eml"), reverse=True):
            message = message_from_bytes(path.read_bytes(), policy=policy.default)
            if message["To"] == email.lower():
                found = re.search(r"\b\d{6}\b", message.get_content())
                assert found is not None
                return found.group()
        raise AssertionError(f"no mail for {email}")

    # -- time and background work ----------------------------------------------------------------------------------------------

    def pass_time(self, by: timedelta | float) -> None:
        """Let so much time (seconds, if a number) go by; apps renew their tokens meanwhile, as they do."""
        by = by if isinstance(by, timedelta) else timedelta(seconds=by)
        clock.shift(clock._shift + by)
        self._stale += by
        if self._stale >= timedelta(minutes=10):
            self._stale = timedelta()
            for phone in self.phones:
                body = {"refresh_token": phone.refresh_token, "install_id": phone.install_id}
                tokens = phone.call("POST", "/v1/worker/auth/refresh", body)
                phone.access_token, phone.refresh_token = tokens["access_token"], tokens["refresh_token"]

    def work(self) -> None:
        """Do all background work that waits, and what comes of it, until nothing does. None of it may fail."""
        while waiting := self.waiting():
            for call_id in waiting:
                queue.answer(str(call_id))
            with db.transaction() as session:
                failed = session.execute(select(Call.function, Call.error).where(Call.error.is_not(None))).all()
            assert not failed, failed

    def waiting(self) -> list[UUID]:
        """Calls that nobody has answered yet, oldest first."""
        with db.transaction() as session:
            return list(session.scalars(select(Call.id).where(Call.state == "waiting").order_by(Call.id)))

    def ring_clock(self) -> None:
        """One round of everything the clock rings, and the work that comes of it."""
        for function in ON_CLOCK:
            function()
        self.work()

    def verdict(self, phone: Phone, submission: Json) -> Json:
        """The submission once the background work is done."""
        self.work()
        return phone.call("GET", f"/v1/worker/submissions/{submission['id']}")

    def open_job(self, buyer: BuyerScript, **changes: Any) -> Json:
        """A published job which workers of every tier see by now."""
        job = buyer.post_job(**changes)
        self.pass_time(EVERYONE)
        return job

    # -- real processes ----------------------------------------------------------------------------------------------------------

    def start(self, role: str) -> "subprocess.Popen[bytes]":
        """A process of its own in a role of the program, `work` or `clock`. It ends with the journey."""
        with (self.logs / f"{role}-{len(self.processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "api", role], cwd=ROOT, env=dict(os.environ), stdout=log, stderr=log
            )
        self.processes.append(process)
        return process

    def stop_processes(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    # -- the truth ---------------------------------------------------------------------------------------------------------------

    def events(self, type: str) -> list[Event]:
        """What was recorded, oldest first."""
        with db.transaction() as session:
            return list(session.scalars(select(Event).where(Event.type == type).order_by(Event.id)))

    def inconsistencies(self) -> list[str]:
        """Everything that must always hold and does not."""
        return [str(violation) for violation in checks.violations()] + list(_books()) + list(_slots())


def make_experienced(phones: Iterable[Phone]) -> None:
    """A past of three assignments each: no newcomers any more."""
    with db.transaction() as session:
        for phone in phones:
            workers.count_assignment(session, ids.read("wkr", phone.worker_id), 3)


def give_record(phone: Phone, tier: str) -> None:
    """A past of good work: so many submissions of 5 stars as the tier needs."""
    worker_id = ids.read("wkr", phone.worker_id)
    with db.transaction() as session:
        for _ in range(RECORD[tier]):
            standing.record_outcome(session, worker_id=worker_id, submission_id=ids.new(), stars=5, now=clock.now())
        standing.reconsider(session, worker_id, clock.now())
        assert workers.get(session, worker_id).tier == tier


def until(true: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait for what other processes do."""
    last = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < last, f"still not so after {seconds} s"
        time.sleep(0.05)


@contextmanager
def moment(by: timedelta | float) -> Iterator[datetime]:
    """Look from another moment, and come back."""
    before = clock._shift
    clock.shift(before + (by if isinstance(by, timedelta) else timedelta(seconds=by)))
    try:
        yield clock.now()
    finally:
        clock.shift(before)


def _books() -> Iterator[str]:
    with db.transaction() as session:
        total = sum(reconcile.books(session).values())
    if total:
        yield f"all accounts sum to {total}"


def _slots() -> Iterator[str]:
    """What a task counts is what its assignments are, free is exactly what nobody holds, and the job's state follows."""
    state = {"assigned": "claimed", "pending": "submitted", "approved": "approved"}
    with db.transaction() as session:
        for task, job_state in session.execute(select(Task, Job.state).join(Job, Job.id == Task.job_id)):
            if job_state in ("open", "filled") and (task.taken == task.target) != (job_state == "filled"):
                yield f"job {task.job_id} is {job_state} with {task.taken} of {task.target} slots taken"
            held = session.execute(
                select(Assignment.state, Assignment.slot).where(
                    Assignment.task_id == task.id, Assignment.state.in_(sorted(HOLDING))
                )
            ).all()
            for name, of in state.items():
                counted = sum(row.state == of for row in held)
                if counted != getattr(task, name):
                    yield f"task {task.id}: {name} is {getattr(task, name)}, {counted} assignments are {of}"
            free = {slot for part in task.free for slot in range(part.lower, part.upper)}
            if free != set(range(1, task.target + 1)) - {row.slot for row in held}:
                yield f"task {task.id}: free {sorted(free)}, held {sorted(row.slot for row in held)}"

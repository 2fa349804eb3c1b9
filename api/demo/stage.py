"""The stage: a house of its own with fresh data, the people of the story in it, and what has happened there so far."""

import contextlib
import os
import random
import re
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from email import message_from_bytes, policy
from pathlib import Path

import httpx
from rich.console import Console

from api import development
from api.demo import history, receiver
from api.demo.buyer import BuyerScript
from api.demo.claims import Claims
from api.demo.desk import Desk
from api.demo.lookout import Lookout
from api.demo.phone import Json, Phone
from api.demo.photos import AUSTIN, Shot
from api.demo.progress import Progress
from api.demo.receiver import Receiver
from infra import db
from infra.settings import PREFIX
from payouts.ledger import Posting

SILVER, EVERYONE = 4, 8  # seconds after publication; the windows of the demo
ELSEWHERE = (29.4241, -98.4936)  # San Antonio, 118 km away
MAIL_SECONDS = 30.0
PORTS = range(22_000, 32_000)  # above those of the built-in services, below those that connections borrow


class StoryBroke(Exception):
    """The story could not go on; the message says where."""


@dataclass(frozen=True)
class Deed:
    """One submission: who handed in what, and the submission as the worker reads it in the end."""

    who: str
    what: str
    submission: Json


@dataclass
class Stage:
    """Who is on it, and what has happened."""

    house: development.House
    progress: Progress
    claims: Claims
    shots: list[Shot]
    receiver: Receiver
    buyer: BuyerScript
    desk: Desk
    phones: dict[str, Phone]
    elsewhere: Phone
    webhook_secret: str = ""
    job: Json = field(default_factory=dict)
    lookouts: dict[str, Lookout] = field(default_factory=dict)
    standings: dict[str, Json] = field(default_factory=dict)
    deeds: list[Deed] = field(default_factory=list)
    cashouts: list[tuple[str, Json]] = field(default_factory=list)
    journal: list[Posting] = field(default_factory=list)
    books: dict[str, int] = field(default_factory=dict)

    @property
    def job_id(self) -> str:
        return str(self.job["id"])

    def wallet(self) -> int:
        """Cents the buyer has free."""
        return int(self.buyer.call("GET", "/v1/wallet")["available_cents"])

    def earned(self, who: str) -> int:
        """Cents a worker can cash out."""
        return int(self.phones[who].call("GET", "/v1/worker/earnings")["available_cents"])

    def slots(self) -> Json:
        """The job's slots as its buyer reads them."""
        return dict(self.buyer.call("GET", f"/v1/jobs/{self.job_id}")["progress"])

    def since_publication(self, moment: datetime | None) -> float | None:
        """Seconds."""
        published = self.job.get("published_at")
        if moment is None or published is None:
            return None
        return (moment - datetime.fromisoformat(published)).total_seconds()


@contextmanager
def built(data: Path, shots: list[Shot], claims: Claims, progress: Progress, out: Console) -> Iterator[Stage]:
    """Start everything on fresh data and have everybody sign in. All of it ends with the block."""
    data = data.resolve()
    data.mkdir(parents=True, exist_ok=True)
    progress.act("starting the services, the API, the workers and the clock")
    with (
        _own_settings(data),
        development.running(
            data,
            port=_free_port(),
            report=out,
            quiet=True,
            fresh=True,
            WINDOW_SILVER_SECONDS=str(SILVER),
            WINDOW_EVERYONE_SECONDS=str(EVERYONE),
        ) as house,
        httpx.Client(base_url=house.url, timeout=30) as http,
        receiver.listening() as buyers_server,
    ):
        progress.note(f"the API answers on {house.url}")
        progress.act("six workers, a buyer and a reviewer sign in")
        secrets = history.plant_people()
        stage = Stage(
            house=house,
            progress=progress,
            claims=claims,
            shots=shots,
            receiver=buyers_server,
            buyer=BuyerScript(http, secrets.api_key),
            desk=Desk(http, history.REVIEWER, history.REVIEWER_PASSWORD, secrets.otpauth),
            # The bronze worker's app is an old one that does not sign.
            phones={
                tier: Phone(http, f"{tier}@example.org", *AUSTIN, signs=tier != "bronze") for tier in history.PASTS
            },
            elsewhere=Phone(http, "elsewhere@example.org", *ELSEWHERE, platform="ios"),
        )
        _sign_in(stage, data / "mail")
        try:
            yield stage
        finally:
            for lookout in stage.lookouts.values():
                lookout.stop()
            db.engine().dispose()


def await_true(stage: Stage, what: str, happens: Callable[[], bool], seconds: float) -> None:
    """
    Look until it has happened.

    :raises StoryBroke: it does not, in so many seconds
    """
    until = time.monotonic() + seconds
    while not happens():
        stage.house.require_alive()
        if time.monotonic() > until:
            raise StoryBroke(f"{what} did not happen within {seconds:.0f} s")
        time.sleep(0.05)


def _sign_in(stage: Stage, mail: Path) -> None:
    everybody = [*stage.phones.values(), stage.elsewhere]
    with ThreadPoolExecutor(len(everybody)) as pool:
        list(pool.map(lambda phone: phone.sign_in(lambda address: _code(mail, address)), everybody))
    stage.desk.sign_in()
    for tier, phone in stage.phones.items():
        history.plant_past(phone.worker_id, history.PASTS[tier])
    history.plant_past(stage.elsewhere.worker_id, history.PASTS["diamond"])
    signing = sum(phone.device_key_id is not None for phone in everybody)
    stage.progress.note(
        f"{len(everybody)} phones signed in with mailed codes, {signing} of them enrolled a signing key"
    )


def _code(mail: Path, address: str) -> str:
    """The six digits mailed to an address, as its owner reads them."""
    until = time.monotonic() + MAIL_SECONDS
    while time.monotonic() < until:
        for path in sorted(mail.glob("*.eml"), reverse=True):
            message = message_from_bytes(path.read_bytes(), policy=policy.default)
            found = re.search(r"\b\d{6}\b", message.get_content()) if message["To"] == address else None
            if found:
                return found.group()
        time.sleep(0.05)
    raise StoryBroke(f"no code was mailed to {address} within {MAIL_SECONDS:.0f} s")


@contextmanager
def _own_settings(data: Path) -> Iterator[None]:
    """No FOOTWORK_ variable of the caller and no `.env` of the checkout: the demo brings all of its settings."""
    outside = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(PREFIX)}
    try:
        with contextlib.chdir(data):
            yield
    finally:
        for name in [name for name in os.environ if name.startswith(PREFIX)]:
            del os.environ[name]
        os.environ.update(outside)


def _free_port() -> int:
    for port in random.SystemRandom().sample(PORTS, 50):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise StoryBroke("no free port was found")

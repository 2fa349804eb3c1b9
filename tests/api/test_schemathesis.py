"""
Whatever is sent about work that exists (jobs in every state, claims, files, verdicts, reviews): no answer is a 5xx, and each is
one the document promises. `test_openapi.py` does the same for every operation in an almost empty house.
"""

from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256
from typing import Any
from zlib import crc32

import hypothesis
import pyotp
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from sqlalchemy import select

from api import app, openapi
from api.auth import staff
from infra import blobs, clock, db, ids
from ingest import uploads
from ingest.uploads import Declaration
from jobs import assignments, jobs
from payouts import wallets
from quality import strikes, verdicts
from quality.models import Review
from tests.jobs import scenes
from tests.jobs.scenes import BAD, GOOD
from tiering import workers

DOCUMENT = openapi.document(openapi.endpoints_of(app.build()))
NAMED = r"/\{(job|assignment|submission|review|worker)_id\}|/worker/submissions$"
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT).include(path_regex=NAMED)
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
PHOTO = b"a photo of a mailbox"
AUSTIN = {"latitude": 30.2672, "longitude": -97.7431, "accuracy_m": 10.0}
Ids = dict[str, list[str]]


@pytest.fixture
def walter(sign_in: Callable[..., Any]) -> Any:
    return sign_in("walter@example.org")


@pytest.fixture
def acme(make_buyer: Callable[..., Any]) -> Any:
    return make_buyer()


@pytest.fixture
def eva(client: Any) -> dict[str, str]:
    """A staff member's header."""
    with db.transaction() as session:
        address = staff.add(session, "eva@example.org", "correct horse battery", "admin", now=clock.now())
    totp = pyotp.parse_uri(address)
    assert isinstance(totp, pyotp.TOTP)
    body = {"email": "eva@example.org", "password": "correct horse battery", "totp": totp.now()}
    answer = client.post("/v1/staff/auth/sessions", json=body)
    assert answer.status_code == 201, answer.text
    return {"Authorization": f"Bearer {answer.json()['token']}"}


@pytest.fixture
def work(database: str, configure: Callable[..., None], acme: Any, walter: Any) -> Ids:
    """Something in every state to name, of this buyer and worker and of others."""
    configure(requests_per_minute=1_000_000, anonymous_requests_per_minute=1_000_000, open_claims=50, strikes_to_ban=2)
    now = clock.now()
    with db.transaction() as session:
        wallets.top_up(session, organization_id=acme.id, cents=500_000, cause="top_up:here", now=now)
        mine = workers.get(session, walter.id)
        mine.tier, mine.assignments_count = "gold", 10
        session.flush()
        job = scenes.published(session, acme.id, now=now, files_needed=40, price_per_file_cents=5_000)
        claims = [scenes.claimed(session, job, mine, now=now) for _ in range(8)]
        files = [_upload(session, one, now) for one in claims]
        pending, doubtful, good, bad = (scenes.handed_in(session, one, now=now) for one in claims[:4])
        verdicts.ask_human(session, doubtful.id, reason={"code": "looks_alike"}, now=now)
        verdicts.approve(session, good.id, GOOD, now=now)
        verdicts.reject(session, bad.id, BAD, scored=True, retry=True, now=now)
        assignments.hand_back(session, claims[4].id, worker_id=walter.id, now=now)
        assignments.ring(session, claims[5].id, now=now + timedelta(days=1))
        banned = scenes.worker(session)
        for _ in range(2):
            strikes.give(session, worker_id=banned.id, submission_id=ids.new(), code="fraud", now=now)
        paused = scenes.published(session, acme.id, now=now)
        jobs.pause(session, paused.id)
        scheduled = scenes.published(session, acme.id, now=now, starts_at=now + timedelta(hours=1))
        draft = jobs.create(session, organization_id=acme.id, draft=scenes.draft(), now=now)
        foreign = scenes.handed_in(
            session, scenes.claimed(session, scenes.published(session, now=now), now=now), now=now
        )
        reviews = session.scalars(select(Review.id)).all()
    for file in files:
        blobs.put(file.key, PHOTO, "image/jpeg")
    submissions = [pending, doubtful, good, bad, foreign]
    return {
        "job_id": [ids.show("job", one) for one in (job.id, paused.id, scheduled.id, draft.id, foreign.job_id)],
        "assignment_id": [ids.show("asg", one.id) for one in claims] + [ids.show("asg", foreign.assignment_id)],
        "submission_id": [ids.show("sub", one.id) for one in submissions],
        "review_id": [ids.show("rev", id) for id in reviews],
        "worker_id": [ids.show("wkr", one) for one in (banned.id, walter.id)],
        "upload_ids": [ids.show("upl", one.id) for one in files],
    }


def _upload(session: Any, claim: Any, now: Any) -> Any:
    declared = Declaration(len(PHOTO), "image/jpeg", sha256(PHOTO).digest())
    upload, _ = uploads.begin(
        session,
        worker_id=claim.worker_id,
        assignment_id=claim.id,
        claim_ends=claim.due_at,
        declared=declared,
        accepted=["image/jpeg"],
        now=now,
    )
    return upload


@SCHEMA.parametrize()
@hypothesis.settings(
    max_examples=10,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)
def test_whatever_is_sent_about_work_is_answered_as_documented(
    case: Any, client: Any, work: Ids, acme: Any, walter: Any, request: pytest.FixtureRequest
) -> None:
    _name_what_exists(case, work)
    arguments = case.as_transport_kwargs(base_url="http://testserver")
    sent = {
        name: value for name, value in arguments["headers"].items() if name.lower() not in ("authorization", "prefer")
    }
    (scheme,) = case.operation.definition.raw["security"][0]
    who = {"api_key": acme.headers, "worker_token": walter.headers}.get(scheme) or request.getfixturevalue("eva")
    headers = {name: value.encode("latin-1") for name, value in (sent | who).items()}
    answer = client.request(
        arguments["method"],
        arguments["url"],
        params=arguments.get("params"),
        headers=headers,
        json=arguments.get("json"),
        content=arguments.get("data"),
    )
    case.validate_response(answer, checks=CHECKS)


def _name_what_exists(case: Any, work: Ids) -> None:
    """In most cases; what schemathesis made up decides which, so that a run can be repeated."""
    for name, made_up in (case.path_parameters or {}).items():
        if name in work:
            case.path_parameters[name] = _one_of(work[name], made_up, case.body)
    if not isinstance(case.body, dict):
        return
    if "assignment_id" in case.body:
        case.body["assignment_id"] = _one_of(work["assignment_id"], case.body["assignment_id"])
        belongs = dict(zip(work["assignment_id"], work["upload_ids"], strict=False)).get(case.body["assignment_id"])
        if belongs and crc32(repr(case.body).encode()) % 3:
            case.body["upload_ids"] = [belongs]
    if "position" in case.body and crc32(repr(case.body).encode()) % 4:
        case.body["position"] = AUSTIN


def _one_of(existing: list[str], *made_up: Any) -> str:
    number = crc32(repr(made_up).encode())
    return existing[number // 4 % len(existing)] if number % 4 else str(made_up[0])

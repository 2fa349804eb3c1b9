"""What machines ask of a process, and what one line of the log says of a request."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from api import checks, health
from api.auth.callers import Anyone, Buyer
from api.declared import BadRoute
from api.edge import get
from infra import clock, db, ids
from infra.settings import settings
from payouts import escrow, wallets

pytestmark = pytest.mark.usefixtures("database")
NOWHERE = "postgresql+psycopg://nobody@127.0.0.1:1/nowhere"


@pytest.fixture(autouse=True)
def _looks_anew() -> None:
    health._looked.cache_clear()


def test_alive_while_every_thread_waits(serve: Any) -> None:
    go_on = threading.Event()

    @get("/hang", who=Anyone(), summary="Hang")
    def hang() -> int:
        go_on.wait(20)
        return 1

    waiting = settings().threads
    with serve(hang, health.live) as client, ThreadPoolExecutor(waiting) as others:
        hanging = [others.submit(client.get, "/hang") for _ in range(waiting)]
        try:
            time.sleep(0.5)
            started = time.monotonic()
            assert client.get("/health/live").json() == {"status": "live"}
            assert time.monotonic() - started < 2
            assert not any(one.done() for one in hanging)
        finally:
            go_on.set()
        assert [one.result(20).status_code for one in hanging] == [200] * waiting


def test_only_what_waits_for_nothing_runs_at_once() -> None:
    for who in (Anyone(), Buyer()):
        with pytest.raises(BadRoute, match="at once"):

            @get("/x", who=who, summary="x", at_once=True)
            def x() -> int:
                return 1


def test_many_who_ask_whether_it_is_ready_cost_one_look(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    monkeypatch.setattr(health, "_storage", lambda: looks.append(1))
    monkeypatch.setattr(health, "FRESH_SECONDS", 1_000_000.0)
    for _ in range(5):
        assert client.get("/health/ready").status_code == 200
    assert len(looks) == 1


def test_ready_when_everything_is_there(client: Any) -> None:
    answer = client.get("/health/ready")
    fine = {"database": "ok", "migrations": "ok", "redis": "ok", "storage": "ok"}
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "checks": fine})


def test_alive_but_unready_without_the_database(client: Any, configure: Any) -> None:
    configure(database_url=NOWHERE)
    assert client.get("/health/live").status_code == 200
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.json()["status"], answer.json()["checks"]["database"]) == (
        503,
        "unready",
        "away",
    )


def test_a_request_without_the_database_may_be_tried_again(client: Any, buyer: Any, configure: Any) -> None:
    configure(database_url=NOWHERE)
    answer = client.get("/v1/keys", headers=buyer.headers)
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/unavailable")
    assert answer.headers["retry-after"] == "2"


@pytest.mark.parametrize(
    ("part", "setting", "value"),
    [("redis", "redis_url", "redis://127.0.0.1:1/0"), ("storage", "s3_endpoint", "http://127.0.0.1:1")],
)
def test_degraded_but_ready_without(client: Any, configure: Any, part: str, setting: str, value: str) -> None:
    from infra import queue

    configure(**{setting: value})
    queue.connection.cache_clear()
    answer = client.get("/health/ready")
    queue.connection.cache_clear()
    assert (answer.status_code, answer.json()["status"], answer.json()["checks"][part]) == (200, "degraded", "away")


def test_unready_with_a_schema_of_another_version(client: Any) -> None:
    with db.transaction() as session:
        head = session.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
        session.execute(text("UPDATE alembic_version SET version_num = '0001_infra'"))
    try:
        answer = client.get("/health/ready")
    finally:
        with db.transaction() as session:
            session.execute(text("UPDATE alembic_version SET version_num = :head"), {"head": head})
    assert answer.status_code == 503
    assert "footwork migrate" in answer.json()["checks"]["migrations"]


def test_metrics_count_requests_by_route_and_waiting_calls(client: Any, buyer: Any) -> None:
    client.get("/v1/webhook-endpoints/whe_unknown", headers=buyer.headers)
    text = client.get("/metrics").text
    line = 'footwork_request_seconds_count{method="GET",route="/v1/webhook-endpoints/{endpoint_id}",status="422"}'
    assert line in text
    assert "whe_unknown" not in text
    assert 'footwork_calls{state="waiting"}' in text


def test_the_log_line_has_no_query_and_no_path(client: Any, buyer: Any) -> None:
    with capture_logs() as lines:
        answer = client.get("/v1/keys?cursor=WzFd&latitude=30.2672", headers=buyer.headers)
    (line,) = [line for line in lines if line["event"] == "request"]
    assert (line["method"], line["route"], line["status"]) == ("GET", "/v1/keys", answer.status_code)
    assert line["ms"] > 0
    assert "30.2672" not in str(lines)
    assert buyer.tokens["secret"] not in str(lines)


def test_every_answer_carries_the_security_headers(client: Any) -> None:
    for path in ("/health/live", "/v1/nothing", "/v1/keys"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("default-src 'none'")
    assert (
        "access-control-allow-origin" not in client.get("/health/live", headers={"Origin": "https://a.example"}).headers
    )


def test_a_browser_app_may_call_only_where_its_origin_is_named(configure: Any, serve: Any, database: str) -> None:
    from api import health

    configure(cors_origins=["https://app.example"])
    with serve(health.live) as client:
        ours = client.get("/health/live", headers={"Origin": "https://app.example"})
        theirs = client.get("/health/live", headers={"Origin": "https://evil.example"})
    assert ours.headers["access-control-allow-origin"] == "https://app.example"
    assert "RateLimit-Remaining".lower() in ours.headers["access-control-expose-headers"].lower()
    assert theirs.headers.get("access-control-allow-origin") != "https://evil.example"


def test_the_figures_tell_what_the_last_check_of_the_books_found(client: Any, database: str) -> None:
    assert checks.run() == []
    with db.transaction() as session:  # escrow that no job needs
        organization = ids.new()
        wallets.top_up(session, organization_id=organization, cents=100, cause="t", now=clock.now())
        escrow.reserve(session, organization_id=organization, job_id=ids.new(), cents=100, cause="r", now=clock.now())
    assert "footwork_book_violations 0.0" in client.get("/metrics").text
    (violation,) = checks.run()
    assert "escrow" in violation.rule
    assert "footwork_book_violations 1.0" in client.get("/metrics").text

"""Webhooks against a real receiver and the real database; the bell is answered in this process."""

import base64
import ipaddress
import json
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from litestar import Litestar
from litestar.testing import TestClient
from sqlalchemy import func, select, text
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from api import problems
from api.auth import keys
from api.webhooks import background, deliveries, endpoints, routes, signing
from api.webhooks.models import Delivery, Endpoint
from infra import clock, db, egress, ids, outbox, queue
from infra.outbox import Event
from tests.jobs import scenes

pytestmark = pytest.mark.usefixtures("database")

ORGANIZATION = UUID(int=1)
STRANGER = UUID(int=2)
LISTENERS = {
    "submission.approved": ["api.webhooks.background.fan_out"],
    "job.published": ["api.webhooks.background.fan_out"],
    "delivery.due": ["api.webhooks.background.deliver"],
}


class Receiver(ThreadingHTTPServer):
    """A buyer's server: answers with the statuses it was given, then 200; keeps what it got."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.statuses: list[int] = []
        self.got: list[tuple[dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.got]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(autouse=True)
def _loopback_allowed(configure: Callable[..., None]) -> None:
    configure(webhook_private_addresses=True, webhook_timeout_seconds=2)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def bells() -> Iterator[list[tuple[UUID, str]]]:
    """The calls that were rung; `answer_all` answers them as a worker would."""
    rung: list[tuple[UUID, str]] = []
    before = outbox._listeners, outbox._ring
    outbox.wire(LISTENERS, rung.extend)
    yield rung
    outbox.wire(*before)


Bells = list[tuple[UUID, str]]


def answer_all(bells: Bells) -> None:
    while bells:
        call_id, _ = bells.pop(0)
        queue.answer(str(call_id))


def add(url: str, *, organization_id: UUID = ORGANIZATION, event_types: list[str] | None = None) -> tuple[UUID, str]:
    with db.transaction() as session:
        endpoint, secret = endpoints.add(session, organization_id, url=url, event_types=event_types, now=clock.now())
        return endpoint.id, secret


def happen(type: str = "submission.approved", *, organization_id: UUID | None = ORGANIZATION) -> UUID:
    with db.transaction() as session:
        return outbox.record(
            session,
            type,
            subject="sub_7zzz",
            organization_id=organization_id,
            data={"stars": 4, "title": "Briefkästen 📮"},
        ).id


def all_deliveries() -> list[Delivery]:
    with db.transaction() as session:
        return list(session.scalars(select(Delivery).order_by(Delivery.id)))


def the_delivery() -> Delivery:
    (found,) = all_deliveries()
    return found


def endpoint_of(id: UUID) -> Endpoint:
    with db.transaction() as session:
        return session.get_one(Endpoint, id)


def due_events() -> int:
    with db.transaction() as session:
        return session.scalar(select(func.count()).where(Event.type == "delivery.due")) or 0


def pass_time(by: timedelta) -> None:
    clock.shift(clock._shift + by)


def run_clock(bells: Bells) -> None:
    background.retry_due()
    answer_all(bells)


# -- what arrives ----------------------------------------------------------------------------------------------------------


def test_the_official_library_verifies_what_arrives(receiver: Receiver, bells: Bells) -> None:
    _, secret = add(receiver.url)
    event_id = happen()
    answer_all(bells)
    ((headers, body),) = receiver.got
    assert Webhook(secret).verify(body, headers) == {
        "id": ids.show("evt", event_id),
        "object": "event",
        "type": "submission.approved",
        "created_at": receiver.events()[0]["created_at"],
        "data": {"stars": 4, "title": "Briefkästen 📮", "subject": "sub_7zzz"},
    }
    assert headers["webhook-id"] == ids.show("evt", event_id)
    assert headers["content-type"] == "application/json"
    assert datetime.fromisoformat(receiver.events()[0]["created_at"]).tzinfo is not None
    delivery = the_delivery()
    assert (delivery.state, delivery.attempts, delivery.status, delivery.error) == ("delivered", 1, 200, None)


def test_a_tampered_body_or_id_does_not_verify(receiver: Receiver, bells: Bells) -> None:
    _, secret = add(receiver.url)
    happen()
    answer_all(bells)
    ((headers, body),) = receiver.got
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body.replace(b'"stars":4', b'"stars":5'), headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body, headers | {"webhook-id": "evt_other"})
    with pytest.raises(WebhookVerificationError):
        Webhook(signing.new_secret()).verify(body, headers)


def test_the_guides_own_code_verifies_the_short_signature(receiver: Receiver, bells: Bells) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text()
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", guide, re.DOTALL) if "def verify" in block]
    here: dict[str, Any] = {}
    exec(code, here)
    id, old = add(receiver.url)
    with db.transaction() as session:
        new = endpoints.rotate(session, session.get_one(Endpoint, id), now=clock.now())
    happen()
    answer_all(bells)
    ((headers, body),) = receiver.got
    header = headers["footwork-signature"]
    assert here["verify"](old, header, body)
    assert here["verify"](new, header, body)
    assert not here["verify"](new, header, body + b" ")
    assert not here["verify"](signing.new_secret(), header, body)
    later = header.replace(headers["webhook-timestamp"], str(int(headers["webhook-timestamp"]) + 1))
    assert not here["verify"](new, later, body)


def test_secrets_have_the_standards_form_and_rest_sealed(receiver: Receiver) -> None:
    id, secret = add(receiver.url)
    prefix, _, raw = secret.partition("_")
    assert prefix == "whsec"
    assert 24 <= len(base64.b64decode(raw)) <= 64
    with db.transaction() as session:
        row = session.execute(text("SELECT webhook_endpoints::text FROM webhook_endpoints")).scalar_one()
    assert secret not in row
    assert raw not in row
    assert secret.encode().hex() not in row
    assert endpoints.keys(endpoint_of(id), now=clock.now()) == [secret]


def test_both_secrets_sign_for_24_hours_after_a_rotation(receiver: Receiver, bells: Bells) -> None:
    id, old = add(receiver.url)
    with db.transaction() as session:
        new = endpoints.rotate(session, session.get_one(Endpoint, id), now=clock.now())
    happen()
    answer_all(bells)
    headers, body = receiver.got[-1]
    assert Webhook(old).verify(body, headers) == Webhook(new).verify(body, headers)
    assert headers["footwork-signature"].count("v1=") == 2
    pass_time(timedelta(hours=24))
    happen()
    answer_all(bells)
    headers, body = receiver.got[-1]
    assert len(headers["webhook-signature"].split()) == 1
    moment = datetime.fromtimestamp(int(headers["webhook-timestamp"]), tz=UTC)
    # Not `verify`: the library compares with the real clock, and this one is a day ahead.
    assert Webhook(new).sign(headers["webhook-id"], moment, body.decode()) == headers["webhook-signature"]


# -- who hears of what -----------------------------------------------------------------------------------------------------


def test_only_enabled_endpoints_of_the_organization_that_listen_hear_of_it(receiver: Receiver, bells: Bells) -> None:
    everything, _ = add(receiver.url + "/everything")
    verdicts, _ = add(receiver.url + "/verdicts", event_types=["submission.approved", "submission.rejected"])
    add(receiver.url + "/jobs", event_types=["job.published"])
    add(receiver.url + "/strangers", organization_id=STRANGER)
    disabled, _ = add(receiver.url + "/disabled")
    with db.transaction() as session:
        endpoints.disable(session, session.get_one(Endpoint, disabled), endpoints.BY_HAND)
    happen()
    answer_all(bells)
    assert {delivery.endpoint_id for delivery in all_deliveries()} == {everything, verdicts}
    assert len(receiver.got) == 2


def test_an_event_of_no_organization_is_for_nobody(receiver: Receiver, bells: Bells) -> None:
    add(receiver.url)
    happen(organization_id=None)
    answer_all(bells)
    assert all_deliveries() == []


def test_handing_out_twice_delivers_once(receiver: Receiver, bells: Bells) -> None:
    add(receiver.url)
    event_id = happen()
    answer_all(bells)
    background.fan_out(event_id)
    answer_all(bells)
    assert len(receiver.got) == 1
    assert the_delivery().state == "delivered"


def test_a_ping_goes_to_one_endpoint_whatever_it_listens_to(receiver: Receiver, bells: Bells) -> None:
    add(receiver.url)
    id, secret = add(receiver.url, event_types=["job.published"])
    with db.transaction() as session:
        deliveries.ping(session, session.get_one(Endpoint, id), now=clock.now())
    answer_all(bells)
    ((headers, body),) = receiver.got
    assert Webhook(secret).verify(body, headers)["type"] == "ping"


# -- tries -----------------------------------------------------------------------------------------------------------------


def test_tries_follow_the_schedule_with_one_id_and_end_as_failed(receiver: Receiver, bells: Bells) -> None:
    add(receiver.url)
    receiver.statuses = [500, 503, 404, 302, 429, 400, 500]
    happen()
    answer_all(bells)
    minute = timedelta(minutes=1)
    for tries, pause in enumerate(
        [minute, 5 * minute, 30 * minute, 120 * minute, 480 * minute, 1440 * minute], start=1
    ):
        assert len(receiver.got) == tries
        delivery = the_delivery()
        assert delivery.tried_at is not None
        assert delivery.due_at is not None
        assert pause <= delivery.due_at - delivery.tried_at < pause + timedelta(seconds=5)
        pass_time(pause - timedelta(seconds=10))
        run_clock(bells)
        assert len(receiver.got) == tries, "tried before its time"
        pass_time(timedelta(seconds=11))
        run_clock(bells)
    delivery = the_delivery()
    assert (delivery.state, delivery.attempts, delivery.status, delivery.due_at) == ("failed", 7, 500, None)
    assert delivery.error == "The address answered 500."
    pass_time(timedelta(days=3))
    run_clock(bells)
    assert len(receiver.got) == 7
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    assert len({body for _, body in receiver.got}) == 1
    assert len({headers["webhook-timestamp"] for headers, _ in receiver.got}) == 7


def test_a_server_that_comes_back_gets_it_on_the_next_try(receiver: Receiver, bells: Bells) -> None:
    add(receiver.url)
    receiver.statuses = [500, 204]
    happen()
    answer_all(bells)
    assert (the_delivery().state, the_delivery().status) == ("waiting", 500)
    pass_time(timedelta(seconds=61))
    run_clock(bells)
    delivery = the_delivery()
    assert (delivery.state, delivery.attempts, delivery.status, delivery.error) == ("delivered", 2, 204, None)


def test_gone_disables_the_endpoint_and_fails_what_waits(receiver: Receiver, bells: Bells) -> None:
    id, _ = add(receiver.url)
    receiver.statuses = [500, 410]
    happen()
    answer_all(bells)
    happen()
    answer_all(bells)
    assert endpoint_of(id).disabled_reason == deliveries.GONE_REASON
    assert [delivery.state for delivery in all_deliveries()] == ["waiting", "failed"]
    pass_time(timedelta(minutes=2))
    run_clock(bells)
    happen()
    answer_all(bells)
    assert [(delivery.state, delivery.error) for delivery in all_deliveries()] == [
        ("failed", "The endpoint is disabled."),
        ("failed", deliveries.GONE_REASON),
    ]
    assert len(receiver.got) == 2


def test_an_address_that_leads_inside_is_never_called_and_its_buyer_not_told_where(
    receiver: Receiver, bells: Bells, monkeypatch: pytest.MonkeyPatch, configure: Callable[..., None]
) -> None:
    configure(webhook_private_addresses=False)
    monkeypatch.setattr(egress, "resolve", lambda host, seconds: [ipaddress.ip_address("127.0.0.1")])
    add(f"https://inside.example:{receiver.server_port}/")
    happen()
    answer_all(bells)
    assert receiver.got == []
    delivery = the_delivery()
    assert (delivery.state, delivery.attempts, delivery.status) == ("waiting", 1, None)
    assert delivery.error == "inside.example does not lead to a public address."


def test_no_answer_is_a_try(bells: Bells, receiver: Receiver) -> None:
    receiver.shutdown()
    receiver.server_close()
    add(receiver.url)
    happen()
    answer_all(bells)
    delivery = the_delivery()
    assert (delivery.state, delivery.attempts, delivery.status) == ("waiting", 1, None)
    assert delivery.error is not None
    assert "refused" in delivery.error


def test_however_often_it_is_called_for_each_try_is_made_once(receiver: Receiver, bells: Bells) -> None:
    add(receiver.url)
    receiver.statuses = [500, 500]
    happen()
    answer_all(bells)
    pass_time(timedelta(minutes=2))
    background.retry_due()
    background.retry_due()
    assert len(bells) == 1
    pass_time(timedelta(minutes=6))  # the workers are busy for longer than the lease: it is called for again
    background.retry_due()
    assert len(bells) == 2
    answer_all(bells)
    assert len(receiver.got) == 2
    assert the_delivery().attempts == 2
    with db.transaction() as session:
        calls = session.scalars(select(Event.id).where(Event.type == "delivery.due")).all()
    for event_id in calls:
        background.deliver(event_id)
    assert len(receiver.got) == 2


def test_clocks_that_run_at_once_call_for_each_try_once(receiver: Receiver, bells: Bells) -> None:
    add(receiver.url)
    receiver.statuses = [500] * 30
    for _ in range(30):
        happen()
    answer_all(bells)
    before = due_events()
    pass_time(timedelta(minutes=2))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: background.retry_due(), range(8)))
    assert due_events() - before == 30
    answer_all(bells)
    assert len(receiver.got) == 60


def test_a_try_that_died_is_followed_by_the_next(
    receiver: Receiver, bells: Bells, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(receiver.url)
    with monkeypatch.context() as dying:
        dying.setattr(egress, "post", _die)
        happen()
        with pytest.raises(SystemExit):
            answer_all(bells)
    assert (the_delivery().state, the_delivery().attempts) == ("waiting", 1)
    run_clock(bells)
    assert receiver.got == [], "its lease had not ended"
    pass_time(deliveries.LEASE + timedelta(seconds=1))
    run_clock(bells)
    assert (the_delivery().state, the_delivery().attempts) == ("delivered", 2)


def test_a_last_try_that_died_ends_as_failed(bells: Bells, monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> None:
    add(receiver.url)
    happen()
    monkeypatch.setattr(egress, "post", _die)
    for _ in range(deliveries.TRIES):
        with pytest.raises(SystemExit):
            answer_all(bells)
        pass_time(deliveries.LEASE + timedelta(seconds=1))
        background.retry_due()
    assert bells == []
    assert (the_delivery().state, the_delivery().attempts) == ("failed", deliveries.TRIES)


def test_an_answer_that_comes_after_the_next_try_began_is_dropped(receiver: Receiver, bells: Bells) -> None:
    add(receiver.url)
    happen()
    answer_all(bells)
    delivery = the_delivery()
    with db.transaction() as session:
        session.execute(text("UPDATE webhook_deliveries SET state = 'waiting', due_at = now(), attempts = 2"))
    with db.transaction() as session:
        deliveries.answered(session, delivery.id, 1, status=410, now=clock.now())
        deliveries.unanswered(session, delivery.id, 1, error="late", now=clock.now())
    assert (the_delivery().state, the_delivery().status, the_delivery().error) == ("waiting", 200, None)


def _die(*_: object, **__: object) -> None:
    raise SystemExit("killed")


# -- replay ----------------------------------------------------------------------------------------------------------------


def replay(endpoint_id: UUID, event_id: UUID) -> Delivery:
    with db.transaction() as session:
        return deliveries.replay(session, session.get_one(Endpoint, endpoint_id), event_id, now=clock.now())


def test_what_was_delivered_is_sent_again_under_the_same_id(receiver: Receiver, bells: Bells) -> None:
    id, _ = add(receiver.url)
    event_id = happen()
    answer_all(bells)
    again = replay(id, event_id)
    answer_all(bells)
    first, second = all_deliveries()
    assert (again.id, second.replay_of, second.state) == (second.id, first.id, "delivered")
    assert receiver.got[0][0]["webhook-id"] == receiver.got[1][0]["webhook-id"]
    assert receiver.got[0][1] == receiver.got[1][1]


def test_what_waits_is_tried_now(receiver: Receiver, bells: Bells) -> None:
    id, _ = add(receiver.url)
    receiver.statuses = [500]
    event_id = happen()
    answer_all(bells)
    replay(id, event_id)
    answer_all(bells)
    assert (the_delivery().state, the_delivery().attempts) == ("delivered", 2)


def test_an_endpoint_that_came_later_can_have_an_earlier_event(receiver: Receiver, bells: Bells) -> None:
    event_id = happen()
    answer_all(bells)
    id, _ = add(receiver.url)
    replay(id, event_id)
    answer_all(bells)
    assert [event["id"] for event in receiver.events()] == [ids.show("evt", event_id)]


def test_events_of_others_and_internal_ones_are_not_replayed(receiver: Receiver, bells: Bells) -> None:
    id, _ = add(receiver.url)
    theirs = happen(organization_id=STRANGER)
    internal = happen("webhook_endpoint.created")
    for event_id in (theirs, internal, UUID(int=77)):
        with pytest.raises(deliveries.NoSuchEvent):
            replay(id, event_id)


def test_a_disabled_endpoint_takes_no_replay_and_no_ping(receiver: Receiver, bells: Bells) -> None:
    id, _ = add(receiver.url)
    event_id = happen()
    with db.transaction() as session:
        endpoints.disable(session, session.get_one(Endpoint, id), endpoints.BY_HAND)
    with pytest.raises(deliveries.EndpointDisabled):
        replay(id, event_id)
    with db.transaction() as session, pytest.raises(deliveries.EndpointDisabled):
        deliveries.ping(session, session.get_one(Endpoint, id), now=clock.now())


# -- limits ----------------------------------------------------------------------------------------------------------------


def test_racers_do_not_pass_the_limit_of_endpoints_together() -> None:
    def race(number: int) -> bool:
        try:
            add(f"https://hooks.example/{number}")
        except endpoints.TooManyEndpoints:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(race, range(24)))
    assert made.count(True) == endpoints.PER_ORGANIZATION
    add("https://hooks.example/", organization_id=STRANGER)


def test_deleting_an_endpoint_takes_its_deliveries_along(receiver: Receiver, bells: Bells) -> None:
    id, _ = add(receiver.url)
    receiver.statuses = [500]
    happen()
    answer_all(bells)
    with db.transaction() as session:
        endpoints.remove(session, session.get_one(Endpoint, id))
    assert all_deliveries() == []
    pass_time(timedelta(minutes=2))
    run_clock(bells)
    assert len(receiver.got) == 1


# -- over HTTP -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient[Litestar]]:
    app = Litestar(routes.HANDLERS, exception_handlers=problems.HANDLERS, openapi_config=None)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


Client = TestClient[Litestar]


def key_of(
    organization_id: UUID = ORGANIZATION,
    *,
    scopes: tuple[str, ...] = ("webhooks:read", "webhooks:write"),
    mode: keys.Mode = "live",
) -> Any:
    with db.transaction() as session:
        _, secret = keys.issue(session, organization_id, "test", scopes, mode, clock.now())
    return {"authorization": f"Bearer {secret}"}


def create(client: Client, key: Any, **body: Any) -> Any:
    answer = client.post("/v1/webhook-endpoints", json={"url": "https://hooks.example/a", **body}, headers=key)
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_the_secret_is_shown_once(client: Client) -> None:
    key = key_of()
    made = create(client, key, event_types=["job.published", "job.filled", "job.published"])
    assert made["object"] == "webhook_endpoint"
    assert made["secret"].startswith("whsec_")
    assert made["event_types"] == ["job.filled", "job.published"]
    read = client.get(f"/v1/webhook-endpoints/{made['id']}", headers=key).json()
    assert read == {name: value for name, value in made.items() if name != "secret"}
    assert client.get("/v1/webhook-endpoints", headers=key).json() == {
        "object": "list",
        "data": [read],
        "has_more": False,
        "next_cursor": None,
    }


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://[::ffff:127.0.0.1]/",
        "https://user:word@hooks.example/",
        "ftp://hooks.example/",
        "not an address",
        "https://intranet/",
        "",
    ],
)
def test_an_address_that_cannot_be_called_names_the_field(client: Client, url: str) -> None:
    answer = client.post("/v1/webhook-endpoints", json={"url": url}, headers=key_of())
    assert answer.status_code == 422
    assert [fault["field"] for fault in answer.json()["errors"]] == ["url"]


def test_an_unknown_event_type_names_the_field(client: Client) -> None:
    body = {"url": "https://hooks.example/", "event_types": ["job.published", "job.eaten"]}
    answer = client.post("/v1/webhook-endpoints", json=body, headers=key_of())
    assert answer.status_code == 422
    assert [fault["field"] for fault in answer.json()["errors"]] == ["event_types.1"]


def test_the_eleventh_endpoint_is_refused_with_the_limit(client: Client) -> None:
    key = key_of()
    for _ in range(10):
        create(client, key)
    answer = client.post("/v1/webhook-endpoints", json={"url": "https://hooks.example/"}, headers=key)
    assert (answer.status_code, answer.json()["limit"]) == (409, 10)


def test_changes_keep_what_they_do_not_name(client: Client) -> None:
    key = key_of()
    made = create(client, key, event_types=["job.filled"])
    path = f"/v1/webhook-endpoints/{made['id']}"
    disabled = client.patch(path, json={"enabled": False}, headers=key).json()
    assert (disabled["enabled"], disabled["disabled_reason"]) == (False, "Disabled by the organization.")
    assert (disabled["url"], disabled["event_types"]) == (made["url"], ["job.filled"])
    moved = client.patch(
        path, json={"url": "https://hooks.example/b", "event_types": None, "enabled": True}, headers=key
    ).json()
    assert (moved["url"], moved["event_types"], moved["enabled"]) == ("https://hooks.example/b", None, True)
    assert client.patch(path, json={"url": "https://127.0.0.1.:1/\u0001"}, headers=key).status_code == 422
    assert client.delete(path, headers=key).status_code == 204
    assert client.get(path, headers=key).status_code == 404


def test_other_organizations_endpoints_and_deliveries_are_not_there(client: Client, bells: Bells) -> None:
    mine, theirs = key_of(), key_of(STRANGER)
    made = create(client, mine)
    sent = client.post(f"/v1/webhook-endpoints/{made['id']}/test", headers=mine)
    assert sent.status_code == 202
    path = f"/v1/webhook-endpoints/{made['id']}"
    delivery = f"/v1/webhook-deliveries/{sent.json()['id']}"
    assert client.get(delivery, headers=mine).json() == sent.json()
    assert [
        client.get(path, headers=theirs).status_code,
        client.patch(path, json={"enabled": False}, headers=theirs).status_code,
        client.delete(path, headers=theirs).status_code,
        client.post(path + "/rotate-secret", headers=theirs).status_code,
        client.post(path + "/test", headers=theirs).status_code,
        client.post(path + "/replay", json={"event_id": sent.json()["event_id"]}, headers=theirs).status_code,
        client.get(path + "/deliveries", headers=theirs).status_code,
        client.get(delivery, headers=theirs).status_code,
        client.post(delivery + "/replay", headers=theirs).status_code,
    ] == [404] * 9
    assert client.get("/v1/webhook-endpoints", headers=theirs).json()["data"] == []


def test_a_test_key_sees_and_touches_test_endpoints_only(client: Client, bells: Bells) -> None:
    live, test = key_of(), key_of(mode="test")
    made, tried = create(client, live), create(client, test)
    assert (made["mode"], tried["mode"]) == ("live", "test")
    path = f"/v1/webhook-endpoints/{made['id']}"
    sent = client.post(f"{path}/test", headers=live).json()
    delivery = f"/v1/webhook-deliveries/{sent['id']}"
    assert [
        client.get(path, headers=test).status_code,
        client.patch(path, json={"url": "https://evil.example/"}, headers=test).status_code,
        client.delete(path, headers=test).status_code,
        client.post(path + "/rotate-secret", headers=test).status_code,
        client.post(path + "/test", headers=test).status_code,
        client.post(path + "/replay", json={"event_id": sent["event_id"]}, headers=test).status_code,
        client.get(path + "/deliveries", headers=test).status_code,
        client.get(delivery, headers=test).status_code,
        client.post(delivery + "/replay", headers=test).status_code,
    ] == [404] * 9
    listed = {
        mode: [one["id"] for one in client.get("/v1/webhook-endpoints", headers=key).json()["data"]]
        for mode, key in (("live", live), ("test", test))
    }
    assert listed == {"live": [tried["id"], made["id"]], "test": [tried["id"]]}
    assert (
        client.patch(f"/v1/webhook-endpoints/{tried['id']}", json={"enabled": False}, headers=live).status_code == 200
    )


def test_a_test_endpoint_hears_of_test_jobs_only(receiver: Receiver, bells: Bells) -> None:
    with db.transaction() as session:
        organization, ana, now = scenes.buyer(session).id, scenes.worker(session, email="ana@example.org"), clock.now()
        work = {}
        for test, changes in ((False, {}), (True, {"test": True, "test_emails": ["ana@example.org"]})):
            job = scenes.published(session, organization, now=now, **changes)
            work[test] = scenes.handed_in(session, scenes.claimed(session, job, ana, now=now), now=now)
        submissions = {test: ids.show("sub", one.id) for test, one in work.items()}
    bells.clear()
    live, _ = add(receiver.url, organization_id=organization)
    with db.transaction() as session:
        tried, _ = endpoints.add(
            session, organization, url=receiver.url, event_types=None, mode="test", now=clock.now()
        )
    heard = {}
    for test in (False, True):
        with db.transaction() as session:
            event_id = outbox.record(
                session,
                "submission.approved",
                subject=submissions[test],
                organization_id=organization,
                data={"submission": submissions[test]},
            ).id
        answer_all(bells)
        heard[test] = {one.endpoint_id for one in all_deliveries() if one.event_id == event_id}
        if not test:
            with pytest.raises(deliveries.NoSuchEvent):
                replay(tried.id, event_id)
    assert heard == {False: {live}, True: {live, tried.id}}


def test_reading_scope_does_not_write(client: Client) -> None:
    made = create(client, key_of())
    reader = key_of(scopes=("webhooks:read",))
    assert client.get("/v1/webhook-endpoints", headers=reader).status_code == 200
    assert client.post("/v1/webhook-endpoints", json={"url": "https://a.example"}, headers=reader).status_code == 403
    assert client.post(f"/v1/webhook-endpoints/{made['id']}/rotate-secret", headers=reader).status_code == 403


def test_a_rotated_secret_says_until_when_the_old_one_signs(client: Client) -> None:
    key = key_of()
    made = create(client, key)
    rotated = client.post(f"/v1/webhook-endpoints/{made['id']}/rotate-secret", headers=key).json()
    assert rotated["secret"] != made["secret"]
    until = datetime.fromisoformat(rotated["previous_secret_valid_until"])
    assert timedelta(hours=23, minutes=59) < until - clock.now() <= timedelta(hours=24)


def test_deliveries_are_paged_filtered_and_replayed(client: Client, receiver: Receiver, bells: Bells) -> None:
    key = key_of()
    made = create(client, key, url=receiver.url)
    receiver.statuses = [500, 200, 200]
    sent = [client.post(f"/v1/webhook-endpoints/{made['id']}/test", headers=key).json()["id"] for _ in range(3)]
    answer_all(bells)
    path = f"/v1/webhook-endpoints/{made['id']}/deliveries"
    first = client.get(path, params={"limit": 2}, headers=key).json()
    rest = client.get(path, params={"limit": 2, "cursor": first["next_cursor"]}, headers=key).json()
    assert [delivery["id"] for delivery in first["data"] + rest["data"]] == sent[::-1]
    assert (first["has_more"], rest["has_more"]) == (True, False)
    (waiting,) = client.get(path, params={"state": "waiting"}, headers=key).json()["data"]
    assert (waiting["id"], waiting["status"], waiting["error"]) == (sent[0], 500, "The address answered 500.")
    assert waiting["next_try_at"] is not None
    assert client.post(f"/v1/webhook-deliveries/{sent[0]}/replay", headers=key).status_code == 202
    again = client.post(f"/v1/webhook-deliveries/{sent[1]}/replay", headers=key).json()
    assert (again["replay_of"], again["state"]) == (sent[1], "waiting")
    answer_all(bells)
    now = client.get(path, headers=key).json()["data"]
    assert {delivery["state"] for delivery in now} == {"delivered"}
    assert len(receiver.got) == 5

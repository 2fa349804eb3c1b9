"""Rate limits, and work that goes on without Redis."""

import time
from types import SimpleNamespace
from typing import Any

import pytest

from api import limits
from api.auth import keys
from infra import crypto, telemetry

pytestmark = pytest.mark.usefixtures("database")


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture(autouse=True)
def listening(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_silent_until", 0.0)


def test_says_what_is_left_and_when_to_come_back(client: Any, buyer: Any, make_buyer: Any, configure: Any) -> None:
    configure(requests_per_minute=3)
    answers = [client.get("/v1/keys", headers=buyer.headers) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["2", "1", "0", "0"]
    refused = answers[-1]
    assert refused.headers["ratelimit-limit"] == "3"
    assert refused.headers["ratelimit-policy"] == '"default";q=3;w=60'
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["retry-after"] == refused.headers["ratelimit-reset"]
    assert refused.json()["type"] == "/problems/too-many-requests"
    assert refused.json()["limit"] == 3
    assert client.get("/v1/keys", headers=make_buyer("Other").headers).status_code == 200


def test_strangers_are_counted_by_address(client: Any, configure: Any) -> None:
    configure(anonymous_requests_per_minute=2)
    guesses = [client.get("/v1/keys", headers={"Authorization": f"Bearer fw_live_{n}"}) for n in range(3)]
    assert [guess.status_code for guess in guesses] == [401, 401, 429]
    assert client.get("/v1/keys").status_code == 429
    assert client.post("/v1/worker/auth/codes", json={"email": "a@example.org"}).status_code == 429


def test_guesses_cost_a_look_up_only_until_the_address_has_made_too_many(
    client: Any, configure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(anonymous_requests_per_minute=2)
    looked_up: list[str] = []
    find = keys.find

    def counted(session: Any, secret: str, **more: Any) -> Any:
        looked_up.append(secret)
        return find(session, secret, **more)

    monkeypatch.setattr(keys, "find", counted)
    guesses = [client.get("/v1/keys", headers=bearer(f"fw_live_{crypto.token()}")) for _ in range(4)]
    assert [guess.status_code for guess in guesses] == [401, 401, 429, 429]
    assert len(looked_up) == 2
    sessions = [client.delete("/v1/staff/auth/sessions/current", headers=bearer(f"fws_{crypto.token()}"))]
    assert [session.status_code for session in sessions] == [429]


def test_what_was_never_a_key_or_token_is_not_looked_up(client: Any, configure: Any) -> None:
    configure(database_url="postgresql+psycopg://nobody@127.0.0.1:1/nowhere")  # asking it would be a 503
    for token in ("fw_live_nobody", "fw_live_" + "a" * 44, f"fw_real_{crypto.token()}", "a.b.c"):
        assert client.get("/v1/keys", headers=bearer(token)).status_code == 401
        assert client.delete("/v1/staff/auth/sessions/current", headers=bearer(token)).status_code == 401


def test_neighbours_of_a_guesser_still_sign_in(client: Any, configure: Any) -> None:
    configure(anonymous_requests_per_minute=2)
    for _ in range(3):
        client.get("/v1/keys", headers=bearer(f"fw_live_{crypto.token()}"))
    assert client.post("/v1/worker/auth/codes", json={"email": "a@example.org"}).status_code == 202


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
    ],
)
def test_of_an_address_counts_what_one_customer_has(host: str, counted: str) -> None:
    request: Any = SimpleNamespace(client=SimpleNamespace(host=host))
    for bucket in (limits.of_address, limits.of_guesses, limits.of_passwords):
        assert bucket(request).name.partition(":")[2] == counted


def test_passwords_may_be_tried_a_quarter_as_often(client: Any, configure: Any) -> None:
    configure(anonymous_requests_per_minute=8)
    body = {"email": "nobody@example.org", "password": "correct horse battery", "totp": "123456"}
    assert [client.post("/v1/staff/auth/sessions", json=body).status_code for _ in range(3)] == [401, 401, 429]


def test_health_is_never_limited(client: Any, configure: Any) -> None:
    configure(anonymous_requests_per_minute=1)
    assert [client.get("/health/live").status_code for _ in range(3)] == [200, 200, 200]


def test_without_redis_everything_is_let_through_and_counted(client: Any, buyer: Any, configure: Any) -> None:
    configure(requests_per_minute=1, redis_url="redis://127.0.0.1:1/0")
    before = telemetry.UNLIMITED._value.get()
    started = time.monotonic()
    answers = [client.get("/v1/keys", headers=buyer.headers) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200] * 5
    assert "ratelimit-limit" not in answers[0].headers
    assert telemetry.UNLIMITED._value.get() - before == 5
    assert time.monotonic() - started < 3


def test_a_redis_that_hangs_costs_one_time_out_not_one_per_request(
    client: Any, buyer: Any, configure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()  # takes connections and never answers
        configure(redis_url=f"redis://127.0.0.1:{mute.getsockname()[1]}/0")
        monkeypatch.setattr(limits, "SILENCE", 30.0)
        times = []
        for _ in range(4):
            started = time.monotonic()
            assert client.get("/v1/keys", headers=buyer.headers).status_code == 200
            times.append(time.monotonic() - started)
    assert times[0] > 0.3
    assert max(times[1:]) < 0.3

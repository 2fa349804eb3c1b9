"""A buyer's keys: shown once, scoped, rotated, revoked."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from api.auth import keys
from infra import clock, db, ids

pytestmark = pytest.mark.usefixtures("database")
DRAFT = {"name": " ci ", "scopes": ["keys:read"], "mode": "live"}


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def test_the_secret_is_shown_once_and_stored_nowhere(client: Any, buyer: Any) -> None:
    made = client.post("/v1/keys", json=DRAFT, headers=buyer.headers).json()
    assert made["secret"].startswith("fw_live_")
    assert len(made["secret"]) > 40
    assert (made["object"], made["name"], made["hint"]) == ("api_key", "ci", "…" + made["secret"][-4:])
    listed = client.get("/v1/keys", headers=bearer(made["secret"]))
    assert [key["id"] for key in listed.json()["data"]] == [made["id"], buyer.tokens["key_id"]]
    assert "secret" not in listed.json()["data"][0]
    with db.transaction() as session:
        stored = session.execute(text("SELECT string_agg(k::text, ' ') FROM api_keys k")).scalar_one()
    assert made["secret"] not in stored


def test_a_key_does_what_its_scopes_say(client: Any, make_buyer: Any) -> None:
    reader = make_buyer(scopes=["keys:read"])
    assert client.get("/v1/keys", headers=reader.headers).status_code == 200
    refused = client.post("/v1/keys", json=DRAFT, headers=reader.headers)
    assert (refused.status_code, refused.json()["scopes"]) == (403, ["keys:write"])


def test_a_key_cannot_give_more_than_it_has(client: Any, make_buyer: Any) -> None:
    small = make_buyer(scopes=["keys:read", "keys:write"], mode="test")
    big = client.post("/v1/keys", json={**DRAFT, "mode": "test", "scopes": ["wallet:write"]}, headers=small.headers)
    assert (big.status_code, big.json()["type"]) == (403, "/problems/beyond-your-key")
    assert client.post("/v1/keys", json=DRAFT, headers=small.headers).status_code == 403
    with db.transaction() as session:
        live, _ = keys.issue(session, small.id, "live", ["keys:read"], "live", clock.now())
    path = f"/v1/keys/{ids.show('key', live.id)}"
    assert client.post(f"{path}/rotate", headers=small.headers).status_code == 403
    assert client.delete(path, headers=small.headers).status_code == 403


def test_an_unknown_scope_is_named(client: Any, buyer: Any) -> None:
    answer = client.post("/v1/keys", json={**DRAFT, "scopes": ["jobs:fly"]}, headers=buyer.headers)
    assert answer.status_code == 422
    assert "jobs:fly" in answer.json()["detail"]


def test_rotation_overlaps_by_24_hours(client: Any, buyer: Any) -> None:
    path = f"/v1/keys/{buyer.tokens['key_id']}"
    rotated = client.post(f"{path}/rotate", headers=buyer.headers)
    assert rotated.status_code == 200
    fresh = bearer(rotated.json()["secret"])
    assert client.get("/v1/keys", headers=fresh).status_code == 200
    clock.shift(timedelta(hours=23, minutes=59))
    assert client.get("/v1/keys", headers=buyer.headers).status_code == 200
    clock.shift(timedelta(hours=24, minutes=1))
    over = client.get("/v1/keys", headers=buyer.headers)
    assert (over.status_code, "rotated" in over.json()["detail"]) == (401, True)
    assert client.get("/v1/keys", headers=fresh).status_code == 200


def test_a_second_rotation_stops_the_oldest_secret_at_once(client: Any, buyer: Any) -> None:
    path = f"/v1/keys/{buyer.tokens['key_id']}/rotate"
    second = bearer(client.post(path, headers=buyer.headers).json()["secret"])
    client.post(path, headers=second)
    assert client.get("/v1/keys", headers=buyer.headers).status_code == 401
    assert client.get("/v1/keys", headers=second).status_code == 200


def test_a_revoked_key_stops_with_both_secrets(client: Any, buyer: Any) -> None:
    path = f"/v1/keys/{buyer.tokens['key_id']}"
    fresh = bearer(client.post(f"{path}/rotate", headers=buyer.headers).json()["secret"])
    assert client.delete(path, headers=fresh).status_code == 204
    assert client.get("/v1/keys", headers=fresh).status_code == 401
    assert client.get("/v1/keys", headers=buyer.headers).status_code == 401


def test_keys_of_others_do_not_exist(client: Any, buyer: Any, make_buyer: Any) -> None:
    path = f"/v1/keys/{make_buyer('Other').tokens['key_id']}"
    assert client.delete(path, headers=buyer.headers).status_code == 404
    assert client.post(f"{path}/rotate", headers=buyer.headers).status_code == 404


def test_last_use_is_noted_to_the_minute(client: Any, buyer: Any) -> None:
    def last_used() -> Any:
        return client.get("/v1/keys", headers=buyer.headers).json()["data"][0]["last_used_at"]

    assert last_used() is None  # noted after the answer was made
    first = last_used()
    assert first is not None
    assert last_used() == first
    clock.shift(timedelta(minutes=2))
    last_used()
    assert last_used() > first


def test_pages_go_from_new_to_old(client: Any, buyer: Any) -> None:
    made = [
        client.post("/v1/keys", json={**DRAFT, "name": str(n)}, headers=buyer.headers).json()["id"] for n in range(4)
    ]
    seen, cursor = [], None
    for expected_more in (True, True, False):
        params = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = client.get("/v1/keys", params=params, headers=buyer.headers).json()
        seen += [key["id"] for key in page["data"]]
        cursor = page["next_cursor"]
        assert page["has_more"] is expected_more
    assert seen == [*reversed(made), buyer.tokens["key_id"]]
    for wrong in ({"limit": 0}, {"limit": 101}, {"cursor": "nonsense!"}, {"cursor": "WzFd"}):
        assert client.get("/v1/keys", params=wrong, headers=buyer.headers).status_code == 422


def test_a_test_key_neither_reads_nor_fills_the_wallet(client: Any, make_buyer: Any) -> None:
    tester = make_buyer(mode="test")
    read = client.get("/v1/wallet", headers=tester.headers)
    filled = client.post("/v1/wallet/sandbox-top-ups", json={"amount_cents": 1}, headers=tester.headers)
    assert (read.status_code, read.json()["type"]) == (403, "/problems/not-for-test-keys")
    assert (filled.status_code, filled.json()["type"]) == (403, "/problems/no-play-money")
    assert client.get("/v1/wallet", headers=make_buyer("Other").headers).json()["available_cents"] == 0

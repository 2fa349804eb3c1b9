"""A buyer's POST that is sent twice happens once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from api import idempotency
from api.auth import keys
from api.auth.callers import Buyer, BuyerCaller
from api.auth.models import ApiKey
from api.edge import post
from api.models import IdempotentAnswer
from api.schemas import Model
from infra import clock, db
from infra.errors import Conflict

pytestmark = pytest.mark.usefixtures("database")
DRAFT = {"name": "ci", "scopes": ["jobs:read"], "mode": "live"}


def key_count() -> int:
    with db.transaction() as session:
        return len(session.scalars(select(ApiKey)).all())


def test_the_same_again_gets_the_same_answer(client: Any, buyer: Any) -> None:
    headers = {**buyer.headers, "Idempotency-Key": "k-1"}
    first = client.post("/v1/keys", json=DRAFT, headers=headers)
    again = client.post("/v1/keys", json=DRAFT, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert (first.headers.get("idempotent-replay"), again.headers["idempotent-replay"]) == (None, "true")
    assert key_count() == 2  # the buyer's own and one more


def test_another_request_under_the_same_key_is_refused(client: Any, buyer: Any) -> None:
    headers = {**buyer.headers, "Idempotency-Key": "k-1"}
    client.post("/v1/keys", json=DRAFT, headers=headers)
    for path, body in (("/v1/keys", {**DRAFT, "name": "other"}), (f"/v1/keys/{buyer.tokens['key_id']}/rotate", DRAFT)):
        answer = client.post(path, json=body, headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (409, "/problems/key-used-for-another")
    assert key_count() == 2


def test_keys_of_two_organizations_do_not_meet(client: Any, buyer: Any, make_buyer: Any) -> None:
    other = make_buyer("Other")
    answers = [
        client.post("/v1/keys", json=DRAFT, headers={**who.headers, "Idempotency-Key": "same"})
        for who in (buyer, other)
    ]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json()["id"] != answers[1].json()["id"]


def test_a_refusal_leaves_the_key_free(client: Any, buyer: Any) -> None:
    headers = {**buyer.headers, "Idempotency-Key": "k-1"}
    assert client.post("/v1/keys", json={**DRAFT, "scopes": ["no:such"]}, headers=headers).status_code == 422
    assert client.post("/v1/keys", json=DRAFT, headers=headers).status_code == 201


def test_twenty_four_hours_later_the_key_is_free(client: Any, buyer: Any) -> None:
    headers = {**buyer.headers, "Idempotency-Key": "k-1"}
    client.post("/v1/keys", json=DRAFT, headers=headers)
    clock.shift(timedelta(hours=24, seconds=1))
    answer = client.post("/v1/keys", json={**DRAFT, "name": "other"}, headers=headers)
    assert (answer.status_code, "idempotent-replay" in answer.headers) == (201, False)
    with db.transaction() as session:
        assert idempotency.forget_expired(session, now=clock.now() + timedelta(hours=25)) == 1


@pytest.mark.parametrize("key", ["", "a" * 256, "with space", "ümlaut".encode().decode("latin-1")])
def test_a_key_that_cannot_be_kept_is_refused(client: Any, buyer: Any, key: str) -> None:
    headers = {**buyer.headers, "Idempotency-Key": key.encode("latin-1")}
    answer = client.post("/v1/keys", json=DRAFT, headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/bad-idempotency-key")


def test_secrets_in_kept_answers_are_sealed(client: Any, buyer: Any) -> None:
    secret = client.post("/v1/keys", json=DRAFT, headers={**buyer.headers, "Idempotency-Key": "k"}).json()["secret"]
    with db.transaction() as session:
        (kept,) = session.scalars(select(IdempotentAnswer.sealed_body)).all()
    assert secret.encode() not in kept


def test_concurrent_twins_happen_once(client: Any, buyer: Any) -> None:
    headers = {**buyer.headers, "Idempotency-Key": "k-1"}
    together = threading.Barrier(8)

    def send(_: int) -> Any:
        together.wait()
        return client.post("/v1/keys", json=DRAFT, headers=headers)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, range(8)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotent-replay" not in answer.headers for answer in answers) == 1
    assert key_count() == 2


class Nothing(Model):
    pass


class NotToday(Conflict):
    """Not today."""


class TestASlowFirst:
    """The twin waits on the first one's row, and takes over if that one rolls back."""

    @pytest.mark.parametrize("fails", [False, True])
    def test_decides_what_its_twin_gets(self, serve: Any, buyer: Any, fails: bool) -> None:
        calls: list[int] = []
        inside, go_on = threading.Event(), threading.Event()

        @post("/slow", who=Buyer(), summary="Slow")
        def slow(session: Session) -> int:
            calls.append(1)
            if len(calls) == 1:
                inside.set()
                go_on.wait(5)
                if fails:
                    raise NotToday
            return len(calls)

        headers = {**buyer.headers, "Idempotency-Key": "k"}
        with serve(slow) as client, ThreadPoolExecutor(2) as pool:
            first = pool.submit(client.post, "/slow", headers=headers)
            assert inside.wait(5)
            twin = pool.submit(client.post, "/slow", headers=headers)
            threading.Event().wait(0.3)
            assert not twin.done()
            go_on.set()
            statuses = (first.result(10).status_code, twin.result(10).status_code)
        assert statuses == ((409, 201) if fails else (201, 201))
        assert len(calls) == (2 if fails else 1)

    def test_that_takes_too_long_is_told_of(self, serve: Any, buyer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(idempotency, "PATIENCE", timedelta(milliseconds=200))
        inside, go_on = threading.Event(), threading.Event()

        @post("/slow", who=Buyer(), summary="Slow")
        def slow(session: Session) -> int:
            inside.set()
            go_on.wait(5)
            return 1

        headers = {**buyer.headers, "Idempotency-Key": "k"}
        with serve(slow) as client, ThreadPoolExecutor(1) as pool:
            first = pool.submit(client.post, "/slow", headers=headers)
            assert inside.wait(5)
            twin = client.post("/slow", headers=headers)
            assert (twin.status_code, twin.json()["type"]) == (409, "/problems/still-running")
            assert twin.headers["retry-after"] == "2"
            go_on.set()
            assert first.result(10).status_code == 201


class TestOutsideATransaction:
    """A function without `session` claims its key in one transaction and answers in another."""

    def test_happens_once_too(self, serve: Any, buyer: Any) -> None:
        calls: list[int] = []

        @post("/outside", who=Buyer(), summary="Outside")
        def outside(caller: BuyerCaller) -> int:
            calls.append(1)
            if len(calls) == 1:
                raise NotToday
            return len(calls)

        headers = {**buyer.headers, "Idempotency-Key": "k"}
        with serve(outside) as client:
            answers = [client.post("/outside", headers=headers) for _ in range(3)]
        assert [(answer.status_code, answer.text) for answer in answers[1:]] == [(201, "2"), (201, "2")]
        assert (answers[0].status_code, len(calls)) == (409, 2)

    def test_a_claim_whose_process_died_lapses(self, serve: Any, buyer: Any) -> None:
        @post("/outside", who=Buyer(), summary="Outside")
        def outside() -> int:
            with db.transaction() as session:  # as it looks to a twin while this one runs
                row = session.scalars(select(IdempotentAnswer)).one()
                assert row.status is None
            return 1

        headers = {**buyer.headers, "Idempotency-Key": "k"}
        with serve(outside) as client:
            assert client.post("/outside", headers=headers).status_code == 201
            with db.transaction() as session:
                session.execute(text("UPDATE idempotent_answers SET status = NULL"))
            assert client.post("/outside", headers=headers).json()["type"] == "/problems/still-running"
            clock.shift(idempotency.CLAIM + timedelta(seconds=1))
            assert client.post("/outside", headers=headers).status_code == 201


def test_a_key_of_the_other_mode_is_another_request(client: Any, buyer: Any) -> None:
    with db.transaction() as session:
        _, secret = keys.issue(session, buyer.id, "test", keys.SCOPES, "test", clock.now())
    headers = {"Idempotency-Key": "k-1"}
    draft = {**DRAFT, "mode": "test"}
    assert client.post("/v1/keys", json=draft, headers={**buyer.headers, **headers}).status_code == 201
    test = {"Authorization": f"Bearer {secret}"}
    assert client.post("/v1/keys", json=draft, headers={**test, **headers}).status_code == 409


def test_a_lesser_key_does_not_get_the_answer_of_a_stronger_one(client: Any, buyer: Any) -> None:
    headers = {"Idempotency-Key": "k-1"}
    made = client.post("/v1/keys", json=DRAFT, headers={**buyer.headers, **headers})
    with db.transaction() as session:
        _, lesser = keys.issue(session, buyer.id, "lesser", ["keys:write"], "live", clock.now())
    answer = client.post("/v1/keys", json=DRAFT, headers={"Authorization": f"Bearer {lesser}", **headers})
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/key-used-for-another")
    assert made.json()["secret"] not in answer.text

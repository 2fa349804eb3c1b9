"""What happens around every handler."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
from litestar import Response
from pydantic import Field
from sqlalchemy import text
from sqlalchemy.orm import Session

from api import waiting
from api.answers import Answer
from api.auth.callers import Anyone, Buyer, BuyerCaller, Stranger
from api.declared import BadRoute
from api.edge import delete, get, post
from api.schemas import JobId, Model, Page
from infra import db, ids
from infra.errors import Conflict

pytestmark = pytest.mark.usefixtures("database")


class Note(Model):
    text: Annotated[str, Field(max_length=20)]
    tags: tuple[str, ...] = ()
    more: dict[str, Any] | None = None


class Taken(Conflict):
    """Somebody else has it."""


@pytest.fixture
def table(database: str) -> Iterator[None]:
    with db.transaction() as session:
        session.execute(
            text("CREATE TABLE notes (text text, CONSTRAINT one UNIQUE (text) DEFERRABLE INITIALLY DEFERRED)")
        )
    yield
    with db.transaction() as session:
        session.execute(text("DROP TABLE notes"))


@post("/notes", who=Anyone(), summary="Write a note")
def write(session: Session, data: Note) -> Note:
    session.execute(text("INSERT INTO notes VALUES (:text)"), {"text": data.text})
    return data


@post("/refused", who=Anyone(), summary="Write a note and refuse")
def refuse(session: Session, data: Note) -> Note:
    session.execute(text("INSERT INTO notes VALUES (:text)"), {"text": data.text})
    raise Taken("Ask them.", holder="ana")


@get("/notes", who=Anyone(), summary="Count notes", waits=True)
def count(session: Session) -> Page[int]:
    return Page[int](data=[session.execute(text("SELECT count(*) FROM notes")).scalar_one()])


def notes() -> int:
    with db.transaction() as session:
        return session.execute(text("SELECT count(*) FROM notes")).scalar_one()


@pytest.mark.usefixtures("table")
class TestTransaction:
    def test_is_committed_before_the_answer(self, serve: Any) -> None:
        with serve(write) as client:
            assert client.post("/notes", json={"text": "a"}).status_code == 201
        assert notes() == 1

    def test_a_commit_that_fails_is_a_500_and_never_a_201(self, serve: Any) -> None:
        with serve(write) as client:
            client.post("/notes", json={"text": "a"})
            answer = client.post("/notes", json={"text": "a"}, headers={"X-Request-Id": "my-request-1"})
        assert answer.status_code == 500
        assert answer.json() == {
            "type": "/problems/internal-error",
            "title": "Something broke on our side",
            "status": 500,
            "detail": "This is our mistake. Nothing was changed. Tell us the request_id.",
            "request_id": "my-request-1",
        }
        assert notes() == 1

    def test_a_refusal_rolls_back(self, serve: Any) -> None:
        with serve(refuse) as client:
            answer = client.post("/refused", json={"text": "a"})
        assert answer.status_code == 409
        assert answer.json()["holder"] == "ana"
        assert notes() == 0

    def test_a_handler_without_session_runs_outside_of_one(self, serve: Any, buyer: Any) -> None:
        seen = []

        @post("/outside", who=Buyer(), summary="Look", status=204)
        def outside(caller: BuyerCaller) -> None:
            seen.append(db.in_transaction())

        @post("/inside", who=Buyer(), summary="Look", status=204)
        def inside(session: Session) -> None:
            seen.append(db.in_transaction())

        with serve(inside, outside) as client:
            assert client.post("/inside", headers=buyer.headers).status_code == 204
            assert client.post("/outside", headers=buyer.headers).status_code == 204
        assert seen == [True, False]


class TestArguments:
    def test_come_from_path_query_and_body(self, serve: Any) -> None:
        job = ids.new()

        @post("/jobs/{job_id:str}/notes", who=Anyone(), summary="Echo")
        def echo(
            job_id: JobId,
            data: Note,
            caller: Stranger,
            now: datetime,
            far: Annotated[float, Field(ge=0, le=10)],
            tag: list[str] | None = None,
            limit: int = 20,
        ) -> list[Any]:
            return [str(job_id), data.text, far, tag, limit, caller.address, now.tzname()]

        with serve(echo) as client:
            path = f"/jobs/{ids.show('job', job)}/notes"
            answer = client.post(path, params={"far": "1.5", "tag": ["a", "b"]}, json={"text": "hi"})
            assert answer.json() == [str(job), "hi", 1.5, ["a", "b"], 20, "testclient", "UTC"]
            wrong = client.post("/jobs/tsk_1/notes", params={"far": "11", "limit": "x"}, json={"text": "hi"})
            fields = [error["field"] for error in wrong.json()["errors"]]
            assert (wrong.status_code, fields) == (422, ["job_id", "far", "limit"])

    def test_a_body_may_be_left_out_where_it_has_a_default(self, serve: Any) -> None:
        @post("/maybe", who=Anyone(), summary="Maybe")
        def maybe(data: Note | None = None) -> bool:
            return data is None

        with serve(maybe) as client:
            assert client.post("/maybe").json() is True
            assert client.post("/maybe", json={"text": "x"}).json() is False

    def test_what_a_route_cannot_give_is_found_at_start(self) -> None:
        with pytest.raises(BadRoute, match="caller of this route is a Stranger"):

            @get("/x", who=Anyone(), summary="x")
            def wrong_caller(caller: BuyerCaller) -> int: ...

        with pytest.raises(BadRoute, match="does not take job_id"):

            @get("/x/{job_id:str}", who=Anyone(), summary="x")
            def forgot_path() -> int: ...

        with pytest.raises(BadRoute, match="204"):

            @delete("/x", who=Anyone(), summary="x")
            def returns_something() -> int: ...


@pytest.mark.usefixtures("table")
class TestReading:
    def test_an_answer_carries_an_etag_and_is_not_sent_twice(self, serve: Any) -> None:
        with serve(count, write) as client:
            first = client.get("/notes")
            again = client.get("/notes", headers={"If-None-Match": f'"other", W/{first.headers["etag"]}'})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
            client.post("/notes", json={"text": "a"})
            changed = client.get("/notes", headers={"If-None-Match": first.headers["etag"]})
            assert changed.status_code == 200
            assert changed.json()["data"] == [1]
            assert client.get("/notes", headers={"If-None-Match": "*"}).status_code == 304

    def test_waits_until_something_changes(self, serve: Any) -> None:
        with serve(count, write) as client, ThreadPoolExecutor(1) as others:
            known = client.get("/notes").headers["etag"]
            waiting_one = others.submit(client.get, "/notes", headers={"Prefer": "wait=20", "If-None-Match": known})
            time.sleep(0.3)
            assert not waiting_one.done()
            client.post("/notes", json={"text": "a"})
            started = time.monotonic()
            answer = waiting_one.result(timeout=10)
            assert time.monotonic() - started < 3
        assert (answer.status_code, answer.json()["data"]) == (200, [1])
        assert answer.headers["preference-applied"] == "wait=20"

    def test_answers_when_the_time_has_passed(self, serve: Any) -> None:
        with serve(count) as client:
            started = time.monotonic()
            answer = client.get("/notes", headers={"Prefer": "respond-async, wait=1"})
            assert 0.9 < time.monotonic() - started < 4
            assert (answer.status_code, answer.headers["preference-applied"]) == (200, "wait=1")
            known = {"Prefer": "wait=1", "If-None-Match": answer.headers["etag"]}
            assert client.get("/notes", headers=known).status_code == 304

    def test_does_not_wait_when_the_answer_is_already_another(self, serve: Any) -> None:
        with serve(count) as client:
            started = time.monotonic()
            answer = client.get("/notes", headers={"Prefer": "wait=30", "If-None-Match": '"old"'})
            assert (answer.status_code, time.monotonic() - started < 2) == (200, True)

    def test_answers_at_once_when_too_many_wait(self, serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(waiting, "AT_ONCE", 0)
        with serve(count) as client:
            answer = client.get("/notes", headers={"Prefer": "wait=30"})
        assert (answer.status_code, "preference-applied" in answer.headers) == (200, False)

    def test_one_caller_does_not_hold_every_place(self, serve: Any, buyer: Any) -> None:
        @get("/mine", who=Buyer(), summary="Wait", waits=True)
        def mine(session: Session) -> str:
            return "same"

        def ask(number: int) -> tuple[bool, float]:
            headers = buyer.headers if number < 6 else {}
            started = time.monotonic()
            answer = client.get("/mine" if headers else "/notes", headers={"Prefer": "wait=2", **headers})
            return "preference-applied" in answer.headers, time.monotonic() - started

        with serve(mine, count) as client, ThreadPoolExecutor(7) as others:
            asked = list(others.map(ask, range(7)))
        assert sum(waited for waited, _ in asked[:6]) == waiting.PER_CALLER == 4
        assert asked[6][0], "somebody else still waits"
        assert not waiting._waiting

    def test_who_hung_up_holds_no_place(self) -> None:
        looks: list[int] = []

        async def receive() -> dict[str, str]:
            received.append(1)
            if len(received) > 1:
                await asyncio.sleep(0.2)
                return {"type": "http.disconnect"}
            return {"type": "http.request"}

        def look() -> Answer:
            looks.append(1)
            return Answer(200, b"same")

        received: list[int] = []
        request: Any = SimpleNamespace(headers={"prefer": "wait=30"}, receive=receive)
        started = time.monotonic()
        asyncio.run(waiting.for_change(request, "ana", Answer(200, b"same"), None, look))
        assert time.monotonic() - started < 5
        assert (looks, dict(waiting._waiting)) == ([], {})

    def test_looks_ever_less_often(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(waiting, "PAUSE", 0.05)
        looks: list[int] = []

        async def receive() -> None:
            await asyncio.sleep(60)

        def look() -> Answer:
            looks.append(1)
            return Answer(200, b"same")

        request: Any = SimpleNamespace(headers={"prefer": "wait=1"}, receive=receive)
        asyncio.run(waiting.for_change(request, "ana", Answer(200, b"same"), None, look))
        assert 3 <= len(looks) <= 7

    def test_a_key_revoked_meanwhile_ends_the_wait(self, serve: Any, buyer: Any) -> None:
        from api.buyer import keys

        @get("/mine", who=Buyer(), summary="Wait", waits=True)
        def mine(session: Session, caller: BuyerCaller) -> str:
            return "same"

        with serve(mine, keys.revoke) as client, ThreadPoolExecutor(1) as others:
            waiting_one = others.submit(client.get, "/mine", headers={"Prefer": "wait=20", **buyer.headers})
            time.sleep(0.3)
            assert client.delete(f"/v1/keys/{buyer.tokens['key_id']}", headers=buyer.headers).status_code == 204
            assert waiting_one.result(timeout=10).status_code == 401


def test_a_raw_response_goes_out_as_it_is(serve: Any) -> None:
    @get("/raw", who=Anyone(), summary="Raw")
    def raw() -> Response[bytes]:
        return Response(b"hi", status_code=202, media_type="text/csv", headers={"X-Own": "1"})

    with serve(raw) as client:
        answer = client.get("/raw")
    assert (answer.status_code, answer.content, answer.headers["x-own"]) == (202, b"hi", "1")
    assert answer.headers["content-type"].startswith("text/csv")

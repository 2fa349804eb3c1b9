"""Networks repeat themselves: the same hand-in, the same order, sent again or at once, is one."""

import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from api.demo.phone import Json, Phone, Refused
from tests.journeys import photos
from tests.journeys.house import House


@pytest.fixture
def ana(house: House) -> Phone:
    return house.worker()


def at_once(count: int, act: Callable[[], Json]) -> list[Json | Refused]:
    barrier = threading.Barrier(count)

    def one(_: int) -> Json | Refused:
        barrier.wait()
        try:
            return act()
        except Refused as refused:
            return refused

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def body_of(ana: Phone, job: Json, *, signed: bool = True) -> Json:
    assignment = ana.claim(job["id"])
    upload = ana.upload(assignment["id"], photos.photo("coffee"))
    return {
        "client_id": "made-by-the-app",
        "assignment_id": assignment["id"],
        "upload_ids": [upload["id"]],
        "position": ana.position,
        "assertion": ana.attest(assignment, [upload]) if signed else None,
    }


def test_same_client_id_again_is_the_same_submission(house: House, ana: Phone) -> None:
    job = house.open_job(house.buyer(), price_per_file_cents=50)
    body = body_of(ana, job)
    first = ana.call("POST", "/v1/worker/submissions", body)
    again = ana.call("POST", "/v1/worker/submissions", body)
    assert first["id"] == again["id"]
    assert house.verdict(ana, first)["state"] == "approved"
    later = ana.call("POST", "/v1/worker/submissions", body)
    assert (later["id"], later["state"]) == (first["id"], "approved"), "with what became of it"
    assert ana.call("GET", "/v1/worker/earnings")["available_cents"] == 40
    assert len(house.events("submission.received")) == 1


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
def test_same_hand_in_many_times_at_once_counts_once(house: House, ana: Phone, signed: bool) -> None:
    job = house.open_job(house.buyer(), price_per_file_cents=50)
    body = body_of(ana, job, signed=signed)
    said = at_once(6, lambda: ana.call("POST", "/v1/worker/submissions", body))
    assert [one for one in said if isinstance(one, Refused)] == [], "each retry learns what became of it"
    assert len({one["id"] for one in said if not isinstance(one, Refused)}) == 1
    assert len(house.events("submission.received")) == 1
    assert ana.call("GET", "/v1/worker/standing")["used_today"] == 1
    house.work()


def test_same_client_id_for_other_assignments_at_once_is_refused(house: House, ana: Phone) -> None:
    """A fault of the app: one counts, and the others are told, so that their photos are not lost in silence."""
    job = house.open_job(house.buyer())
    waiting = [body_of(ana, job, signed=False) for _ in range(4)]
    said = at_once(4, lambda: ana.call("POST", "/v1/worker/submissions", waiting.pop()))
    refused = [one for one in said if isinstance(one, Refused)]
    assert [(one.status, one.problem["type"]) for one in refused] == [(409, "/problems/client-id-used")] * 3
    assert len(house.events("submission.received")) == 1
    house.work()


def test_one_assignment_cannot_be_handed_in_twice(house: House, ana: Phone) -> None:
    job = house.open_job(house.buyer())
    body = body_of(ana, job, signed=False)
    ana.call("POST", "/v1/worker/submissions", body)
    with pytest.raises(Refused) as refused:
        ana.call("POST", "/v1/worker/submissions", body | {"client_id": "another-one"})
    assert refused.value.status == 409
    house.work()


def test_same_order_many_times_at_once_is_one_job(house: House) -> None:
    buyer = house.buyer(cents=1_000)
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    job = {
        "title": "Mailboxes",
        "description": "One clear photo of a mailbox.",
        "files_needed": 10,
        "price_per_file_cents": 50,
        "publish": True,
    }
    said = at_once(4, lambda: buyer.call("POST", "/v1/jobs", job, headers=headers))
    made = {one["id"] for one in said if not isinstance(one, Refused)}
    assert len(made) == 1
    assert all(one.status == 409 for one in said if isinstance(one, Refused)), "still running: ask again"
    assert buyer.call("GET", "/v1/wallet")["available_cents"] == 500
    assert buyer.call("POST", "/v1/jobs", job, headers=headers)["id"] in made
    with pytest.raises(Refused) as refused:
        buyer.call("POST", "/v1/jobs", job | {"title": "Other"}, headers=headers)
    assert refused.value.status == 409

"""Slots held for newcomers, and how much one worker may do in a day."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from api.demo.phone import Refused
from infra import clock
from tests.journeys import photos
from tests.journeys.house import EVERYONE, House, make_experienced


def test_newcomers_find_the_slots_that_were_held_for_them(house: House) -> None:
    """Ten slots, one held: the experienced can take nine until half an hour has passed."""
    ana, ben = house.worker("gold"), house.worker("gold")
    make_experienced([ana, ben])
    buyer = house.buyer()
    job = buyer.post_job(files_needed=10)
    for phone, claims in ((ana, 5), (ben, 4)):
        for _ in range(claims):
            phone.claim(job["id"])
    with pytest.raises(Refused) as refused:
        ben.claim(job["id"])
    assert refused.value.problem["type"] == "/problems/no-slot-left"
    assert not ben.sees(job["id"])
    assert buyer.call("GET", f"/v1/jobs/{job['id']}")["state"] == "open"

    house.pass_time(EVERYONE)
    zoe = house.worker()
    (entry,) = zoe.feed()["data"]
    assert (entry["job_id"], entry["slots_left"]) == (job["id"], 1)
    assert zoe.claim(job["id"])["state"] == "claimed"


def test_held_slots_are_free_for_all_after_half_an_hour(house: House) -> None:
    ana, ben = house.worker("gold"), house.worker("gold")
    make_experienced([ana, ben])
    job = house.buyer().post_job(files_needed=10, task_time_limit_minutes=60)
    held = [phone.claim(job["id"]) for phone, claims in ((ana, 5), (ben, 4)) for _ in range(claims)]
    house.pass_time(30 * 60 - 5)
    assert not ben.sees(job["id"])
    house.pass_time(5)
    assert ben.sees(job["id"])
    assert ben.claim(job["id"])["slot"] not in {assignment["slot"] for assignment in held}


def test_newcomer_sees_jobs_with_held_slots_first(house: House) -> None:
    buyer, zoe, ana = house.buyer(), house.worker(), house.worker()
    make_experienced([ana])
    small_and_dear = buyer.post_job(files_needed=9, price_per_file_cents=900)
    large_and_cheap = buyer.post_job(files_needed=10, price_per_file_cents=50)
    house.pass_time(EVERYONE)
    in_order = [small_and_dear["id"], large_and_cheap["id"]]
    assert [entry["job_id"] for entry in ana.feed()["data"]] == in_order
    assert [entry["job_id"] for entry in zoe.feed()["data"]] == in_order[::-1]


def test_after_three_assignments_a_worker_is_no_newcomer(house: House) -> None:
    zoe = house.worker()
    job = house.open_job(house.buyer(), files_needed=20)
    for claims in range(3):
        assert zoe.call("GET", "/v1/worker/standing")["newcomer"], claims
        zoe.claim(job["id"])
    assert not zoe.call("GET", "/v1/worker/standing")["newcomer"]


def test_daily_cap(house: House, configure: Callable[..., None]) -> None:
    configure(daily_cap=2, daily_cap_from_silver=3)
    clock.shift(timedelta(days=1) - (clock.now() - clock.now().replace(hour=0, minute=0, second=0, microsecond=0)))
    buyer, ana, silver = house.buyer(), house.worker(), house.worker("silver")
    job = house.open_job(buyer)
    for name in ("coffee", "rocket"):
        ana.send(job["id"], photos.photo(name))
    standing = ana.call("GET", "/v1/worker/standing")
    assert (standing["daily_cap"], standing["used_today"]) == (2, 2)
    assert not ana.sees(job["id"])
    with pytest.raises(Refused) as refused:
        ana.claim(job["id"])
    assert [reason["code"] for reason in refused.value.problem["reasons"]] == ["daily-cap-reached"]
    tomorrow = datetime.fromisoformat(standing["cap_resets_at"])
    assert (tomorrow.hour, tomorrow.minute) == (0, 0)

    spare = silver.claim(job["id"])
    for name in ("flower", "astronaut"):
        silver.send(job["id"], photos.photo(name))
    assert not silver.sees(job["id"])
    with pytest.raises(Refused):
        silver.claim(job["id"])
    silver.hand_in(spare, [silver.upload(spare["id"], photos.photo("chelsea"))])  # its place was kept
    with pytest.raises(Refused):
        silver.claim(job["id"])

    house.pass_time(tomorrow - clock.now())
    assert ana.sees(job["id"])
    assert house.verdict(ana, ana.send(job["id"], photos.photo("china")))["state"] == "approved"

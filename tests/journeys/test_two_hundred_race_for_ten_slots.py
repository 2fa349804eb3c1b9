"""Hundreds of workers, ten slots, one moment."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from api.demo.phone import Json, Phone, Refused
from infra import db, ids
from jobs.models import Assignment, Task
from tests.journeys.house import EVERYONE, House, make_experienced

RACERS, SLOTS = 200, 10


def race(phones: list[Phone], job: Json) -> tuple[list[Json], Counter[str]]:
    """Everybody claims at once. What they got, and why the others did not."""

    def claim(phone: Phone) -> Json | str:
        try:
            return phone.claim(job["id"])
        except Refused as refused:
            return str(refused.problem["type"])

    with ThreadPoolExecutor(64) as pool:
        said = list(pool.map(claim, phones))
    return [one for one in said if isinstance(one, dict)], Counter(one for one in said if isinstance(one, str))


def test_two_hundred_race_for_ten_slots(house: House) -> None:
    buyer, crowd = house.buyer(), house.crowd(RACERS)
    job = buyer.post_job(files_needed=SLOTS)
    house.pass_time(EVERYONE)
    won, lost = race(crowd, job)
    assert len(won) == SLOTS
    assert sorted(assignment["slot"] for assignment in won) == list(range(1, SLOTS + 1)), "each slot once"
    assert sum(lost.values()) == RACERS - SLOTS
    assert set(lost) <= {"/problems/no-slot-left", "/problems/not-open"}
    job = buyer.call("GET", f"/v1/jobs/{job['id']}")
    assert (job["state"], job["progress"]["assigned"], job["progress"]["free"]) == ("filled", SLOTS, 0)

    # Slots that come back are raced for like new ones.
    by_id = {assignment["id"]: assignment["slot"] for assignment in won[:3]}
    for phone in crowd:
        for id in held_by(phone) & by_id.keys():
            phone.call("POST", f"/v1/worker/assignments/{id}/hand-back")
    assert buyer.call("GET", f"/v1/jobs/{job['id']}")["state"] == "open"
    again, _ = race(crowd[:100], job)
    assert {assignment["slot"] for assignment in again} == set(by_id.values())


def held_by(phone: Phone) -> set[str]:
    with db.transaction() as session:
        claimed = select(Assignment.id).where(
            Assignment.worker_id == ids.read("wkr", phone.worker_id), Assignment.state == "claimed"
        )
        return {ids.show("asg", id) for id in session.scalars(claimed)}


def test_held_slots_stay_for_newcomers_in_the_race(house: House) -> None:
    """20 slots, two of them held: the experienced get 18 and no more, the newcomers find the rest."""
    buyer, crowd = house.buyer(), house.crowd(RACERS)
    experienced, newcomers = crowd[: RACERS // 2], crowd[RACERS // 2 :]
    make_experienced(experienced)
    job = buyer.post_job(files_needed=20)
    house.pass_time(EVERYONE)
    won, lost = race(experienced, job)
    assert (len(won), lost["/problems/no-slot-left"]) == (18, len(experienced) - 18)
    assert buyer.call("GET", f"/v1/jobs/{job['id']}")["state"] == "open"
    won, _ = race(newcomers, job)
    assert len(won) == 2
    assert buyer.call("GET", f"/v1/jobs/{job['id']}")["state"] == "filled"


def test_one_worker_racing_against_itself_keeps_its_limits(house: House) -> None:
    """The same person on many threads holds five claims at most, and respects the job's own limit."""
    buyer, ana = house.buyer(), house.worker("gold")
    wide, narrow = buyer.post_job(files_needed=100), buyer.post_job(files_needed=100, max_submissions_per_worker=2)

    def claim(job: Json) -> int:
        try:
            ana.claim(job["id"])
        except Refused as refused:
            return refused.status
        return 201

    with ThreadPoolExecutor(16) as pool:
        assert Counter(pool.map(claim, [narrow] * 30)) == {201: 2, 403: 28}
        assert Counter(pool.map(claim, [wide] * 30)) == {201: 3, 429: 27}


def test_database_itself_refuses_a_slot_twice(house: House) -> None:
    """Whatever Python believes."""
    buyer, ana, ben = house.buyer(), house.worker("gold"), house.worker("gold")
    job = buyer.post_job(files_needed=10)
    first, second = ana.claim(job["id"]), ben.claim(job["id"])
    one, other = (ids.read("asg", assignment["id"]) for assignment in (first, second))
    with pytest.raises(IntegrityError, match="uq_assignments_slot_held"), db.transaction() as session:
        session.execute(update(Assignment).where(Assignment.id == other).values(slot=first["slot"]))
    with db.transaction() as session:
        columns = [column for column in Assignment.__table__.columns if column.name != "id"]
        row = dict(session.execute(select(*columns).where(Assignment.id == one)).one()._mapping)
    with pytest.raises(IntegrityError, match="uq_assignments_slot_held"), db.transaction() as session:
        session.execute(insert(Assignment).values(id=ids.new(), **row))
    with pytest.raises(IntegrityError, match="never_over_target"), db.transaction() as session:
        session.execute(update(Task).where(Task.job_id == ids.read("job", job["id"])).values(assigned=11))

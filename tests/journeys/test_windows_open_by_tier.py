"""The best workers first: Gold and Diamond at once, Silver after 60 seconds, everyone after 300, by the server's clock."""

from datetime import datetime, timedelta

import pytest

from api.demo.phone import Json, Phone, Refused
from infra import clock
from tests.journeys.house import House


def stand_at(job: Json, seconds: float) -> None:
    """Put the clock so many seconds after publication. It runs on from there."""
    published = datetime.fromisoformat(job["published_at"])
    clock.shift(clock._shift + (published + timedelta(seconds=seconds) - clock.now()))


def may(phone: Phone, job: Json) -> bool:
    """Whether the phone sees the job and can claim it, which must be the same."""
    if phone.sees(job["id"]):
        assignment = phone.claim(job["id"])
        phone.call("POST", f"/v1/worker/assignments/{assignment['id']}/hand-back")
        return True
    with pytest.raises(Refused) as refused:
        phone.claim(job["id"])
    assert [reason["code"] for reason in refused.value.problem["reasons"]] == ["window-not-open"]
    return False


def test_window_opens_by_tier(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = {tier: house.worker(tier) for tier in ("new", "bronze", "silver", "gold", "diamond")}
    job = house.buyer().post_job(files_needed=100)

    def who() -> set[str]:
        return {tier for tier, phone in workers.items() if may(phone, job)}

    stand_at(job, 0)
    assert who() == {"gold", "diamond"}
    stop_the_clock(monkeypatch, job, 59.9)
    assert who() == {"gold", "diamond"}
    stop_the_clock(monkeypatch, job, 60.0)
    assert who() == {"silver", "gold", "diamond"}
    stop_the_clock(monkeypatch, job, 299.9)
    assert who() == {"silver", "gold", "diamond"}
    stop_the_clock(monkeypatch, job, 300.0)
    assert who() == set(workers)


def stop_the_clock(monkeypatch: pytest.MonkeyPatch, job: Json, seconds: float) -> None:
    """Hold it so many seconds after publication, for bounds to the tenth of a second."""
    held = datetime.fromisoformat(job["published_at"]) + timedelta(seconds=seconds)
    monkeypatch.setattr(clock, "now", lambda: held)


def test_high_value_work_is_for_gold_and_diamond(house: House) -> None:
    gold, silver = house.worker("gold"), house.worker("silver")
    job = house.open_job(house.buyer(), price_per_file_cents=1_000)
    assert gold.sees(job["id"])
    assert not silver.sees(job["id"])
    with pytest.raises(Refused) as refused:
        silver.claim(job["id"])
    assert [reason["code"] for reason in refused.value.problem["reasons"]] == ["tier-too-low"]


def test_geographic_exclusive_is_for_diamond(house: House) -> None:
    diamond, gold = house.worker("diamond"), house.worker("gold")
    job = house.open_job(house.buyer(), audience={"diamond_only": True})
    assert diamond.sees(job["id"])
    assert not gold.sees(job["id"])
    with pytest.raises(Refused):
        gold.claim(job["id"])


def test_nobody_works_for_the_own_organization(house: House) -> None:
    buyer = house.buyer(members=("ana@example.org",))
    ana, ben = house.worker(email="ana@example.org"), house.worker()
    job = house.open_job(buyer)
    assert ben.sees(job["id"])
    assert not ana.sees(job["id"])
    with pytest.raises(Refused) as refused:
        ana.claim(job["id"])
    assert [reason["code"] for reason in refused.value.problem["reasons"]] == ["own-organization"]


def test_job_for_iphones_is_invisible_to_android(house: House) -> None:
    apple, android = house.worker(platform="ios"), house.worker(platform="android")
    job = house.open_job(house.buyer(), tech_constraints={"platforms": ["ios"]})
    assert apple.sees(job["id"])
    assert not android.sees(job["id"])
    with pytest.raises(Refused):
        android.claim(job["id"])

"""Only who is there sees a job and can take it: a radius, a city, or both at once."""

import pytest

from api.demo.phone import Json, Refused
from tests.journeys import photos
from tests.journeys.house import AUSTIN, House

CAPITOL = {"latitude": 30.2747, "longitude": -97.7404, "radius_km": 2.0}
CITY = {"city": "Austin", "state": "TX", "country": "US"}
NEAR_CAPITOL = (30.2849, -97.7341)  # 1.3 km off
JUST_OUTSIDE = (30.2930, -97.7404)  # 2.03 km off
SAN_ANTONIO = (29.4241, -98.4936)
ROUND_ROCK = (30.5083, -97.6789)  # 27 km off: in a radius of 40 km round Austin, in another city


@pytest.mark.parametrize(
    ("location", "inside", "outside"),
    [
        (CAPITOL, [NEAR_CAPITOL], [JUST_OUTSIDE, SAN_ANTONIO]),
        (CITY, [AUSTIN, NEAR_CAPITOL], [SAN_ANTONIO, ROUND_ROCK]),
        ({**CAPITOL, "radius_km": 40.0, **CITY}, [AUSTIN], [ROUND_ROCK, SAN_ANTONIO]),
        ({**CAPITOL, **CITY}, [NEAR_CAPITOL], [JUST_OUTSIDE]),
        (None, [AUSTIN, SAN_ANTONIO, (-89.9, 179.9)], []),
    ],
    ids=["radius", "city", "wide radius and city", "narrow radius and city", "anywhere"],
)
def test_job_outside_the_place_is_invisible(
    house: House, location: Json | None, inside: list[tuple[float, float]], outside: list[tuple[float, float]]
) -> None:
    buyer, ana = house.buyer(), house.worker()
    job = house.open_job(buyer, location=location)
    for here in outside:
        ana.latitude, ana.longitude = here
        assert not ana.sees(job["id"]), here
        with pytest.raises(Refused) as refused:
            ana.claim(job["id"])
        assert refused.value.status == 403
        assert [reason["code"] for reason in refused.value.problem["reasons"]] == ["outside-place"], here
    for here in inside:
        ana.latitude, ana.longitude = here
        assert ana.sees(job["id"]), here
        assert ana.claim(job["id"])["state"] == "claimed", here


def test_photo_handed_in_from_elsewhere_goes_to_a_human(house: House) -> None:
    buyer, ana, ben = house.buyer(), house.worker(), house.worker()
    job = house.open_job(buyer)
    assignment = ana.claim(job["id"])
    upload = ana.upload(assignment["id"], photos.photo("coffee"))
    house.pass_time(25 * 60)
    ana.latitude, ana.longitude = ROUND_ROCK
    said = house.verdict(ana, ana.hand_in(assignment, [upload]))
    assert (said["state"], said["reason"]["code"]) == ("in_review", "outside_area")

    assignment = ben.claim(job["id"])
    upload = ben.upload(assignment["id"], photos.photo("rocket"))
    said = house.verdict(ben, ben.hand_in(assignment, [upload], position={**ben.position, "mocked": True}))
    assert (said["state"], said["reason"]["code"]) == ("in_review", "mock_location")


def test_place_made_up_for_the_claim_goes_to_a_human(house: House) -> None:
    buyer, ana = house.buyer(), house.worker()
    job = house.open_job(buyer)
    claim = {"position": {**ana.position, "mocked": True}}
    assignment = ana.call("POST", f"/v1/worker/jobs/{job['id']}/claims", claim)
    said = house.verdict(ana, ana.hand_in(assignment, [ana.upload(assignment["id"], photos.photo("coffee"))]))
    assert (said["state"], said["reason"]["code"]) == ("in_review", "mock_location")


def test_nobody_flies_from_job_to_job_in_a_minute(house: House) -> None:
    buyer, ana = house.buyer(), house.worker()
    job = house.open_job(buyer, location=None)
    assignment = ana.claim(job["id"])
    upload = ana.upload(assignment["id"], photos.photo("coffee"))
    house.pass_time(60)
    ana.latitude, ana.longitude = SAN_ANTONIO
    said = house.verdict(ana, ana.hand_in(assignment, [upload]))
    assert (said["state"], said["reason"]["code"]) == ("in_review", "impossible_speed")
    assert said["reason"]["measured"] > said["reason"]["limit"] == 400


def test_job_says_which_city_it_does_not_know(house: House) -> None:
    with pytest.raises(Refused) as refused:
        house.buyer().post_job(location={"city": "Atlantis", "state": "TX", "country": "US"})
    assert refused.value.status == 422
    assert "Atlantis" in str(refused.value.problem)

"""What a phone signs is this submission, under this challenge, once. Everything else is refused and nothing is stored."""

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from api.demo.phone import Json, Phone, Refused, frame
from tests.journeys import photos
from tests.journeys.house import House


class Scene:
    """Ana holds a claim and has sent a file."""

    def __init__(self, house: House) -> None:
        self.house, self.ana, self.ben = house, house.worker(), house.worker()
        self.job = house.open_job(house.buyer())
        self.assignment = self.ana.claim(self.job["id"])
        self.upload = self.ana.upload(self.assignment["id"], photos.photo("coffee"))
        house.work()

    def challenge(self) -> Json:
        return self.ana.call("POST", f"/v1/worker/assignments/{self.assignment['id']}/challenges")

    def refused(self, assertion: Json, *uploads: Json, kind: str = "forged-assertion") -> Refused:
        with pytest.raises(Refused) as refused:
            self.ana.hand_in(self.assignment, uploads or [self.upload], assertion=assertion)
        assert refused.value.problem["type"] == f"/problems/{kind}"
        assert refused.value.status == {"forged-assertion": 403, "stale-counter": 409}[kind]
        assert self.ana.call("GET", "/v1/worker/submissions")["data"] == [], "nothing was stored"
        assert self.house.waiting() == []
        return refused.value

    def still_welcome(self) -> None:
        """Ana's phone signs properly, and all is well."""
        said = self.house.verdict(self.ana, self.ana.hand_in(self.assignment, [self.upload]))
        assert said["state"] == "approved"


@pytest.fixture
def scene(house: House) -> Scene:
    return Scene(house)


def signed(phone: Phone, challenge: Json, assignment: Json, upload: Json, /, **lies: Any) -> Json:
    """As a phone signs, but for the lies."""
    told = {
        "domain": "fw.submission.v1",
        "nonce": bytes.fromhex(challenge["nonce"]),
        "assignment": assignment["id"],
        "task": assignment["task_id"],
        "counter": phone.counter + 1,
        "upload": upload["id"],
        "sha256": upload["photo"].sha256,
        "size": len(upload["photo"].data),
        "type": upload["photo"].media_type,
        "captured": 0,
    } | lies
    signature = phone._sign(frame(*told.values()))
    return {
        "key_id": phone.device_key_id,
        "challenge_id": challenge["id"],
        "counter": phone.counter + 1,
        "signature": base64.b64encode(signature).decode(),
    }


def test_signature_over_anything_else_is_refused(scene: Scene) -> None:
    for lie in (
        {"domain": "fw.enrol.v1"},
        {"nonce": bytes(32)},
        {"assignment": "asg_00000000000000000000000000"},
        {"task": "tsk_00000000000000000000000000"},
        {"counter": 99},
        {"upload": "upl_00000000000000000000000000"},
        {"sha256": bytes(32)},
        {"size": 1},
        {"type": "image/png"},
        {"captured": 1},
    ):
        challenge = scene.challenge()
        scene.refused(signed(scene.ana, challenge, scene.assignment, scene.upload, **lie))
    scene.still_welcome()


def test_changed_file_is_refused(scene: Scene) -> None:
    """Signed for one file, handed in with another."""
    other = scene.ana.upload(scene.assignment["id"], photos.photo("rocket"))
    scene.refused(scene.ana.attest(scene.assignment, [scene.upload]), other)
    scene.still_welcome()


def test_challenge_is_burnt_by_the_first_try(scene: Scene) -> None:
    challenge = scene.challenge()
    scene.refused(signed(scene.ana, challenge, scene.assignment, scene.upload, size=1))
    flawless = signed(scene.ana, challenge, scene.assignment, scene.upload)
    assert "challenge" in scene.refused(flawless).problem["detail"]
    scene.still_welcome()


def test_challenge_is_good_for_five_minutes(scene: Scene) -> None:
    assertion = scene.ana.attest(scene.assignment, [scene.upload])
    scene.house.pass_time(300)
    assert "five minutes" in scene.refused(assertion).problem["detail"]
    scene.still_welcome()


def test_assertion_does_not_serve_a_second_assignment(scene: Scene) -> None:
    """Overheard and replayed: it was for another claim."""
    assertion = scene.ana.attest(scene.assignment, [scene.upload])
    said = scene.ana.hand_in(scene.assignment, [scene.upload], assertion=assertion)
    assert scene.house.verdict(scene.ana, said)["state"] == "approved"
    second = scene.ana.claim(scene.job["id"])
    upload = scene.ana.upload(second["id"], photos.photo("rocket"))
    with pytest.raises(Refused) as refused:
        scene.ana.hand_in(second, [upload], assertion=assertion)
    assert refused.value.status == 403


def test_stale_counter_is_refused(scene: Scene) -> None:
    """A copy of the key on another phone counts on its own, and one of the two falls behind."""
    said = scene.ana.hand_in(scene.assignment, [scene.upload])
    assert scene.house.verdict(scene.ana, said)["state"] == "approved"
    scene.assignment = scene.ana.claim(scene.job["id"])
    scene.upload = scene.ana.upload(scene.assignment["id"], photos.photo("rocket"))
    scene.ana.counter = 0
    with pytest.raises(Refused) as refused:
        scene.ana.hand_in(scene.assignment, [scene.upload])
    assert (refused.value.status, refused.value.problem["type"]) == (409, "/problems/stale-counter")
    scene.still_welcome()


def test_key_of_another_worker_is_refused(scene: Scene) -> None:
    challenge = scene.challenge()
    scene.refused(signed(scene.ben, challenge, scene.assignment, scene.upload))
    # Naming one's own key does not make another's signature fit it.
    challenge = scene.challenge()
    borrowed = signed(scene.ben, challenge, scene.assignment, scene.upload) | {"key_id": scene.ana.device_key_id}
    scene.refused(borrowed)
    scene.still_welcome()


def test_claim_and_uploads_of_another_worker_are_out_of_reach(scene: Scene) -> None:
    for reach in (
        lambda: scene.ben.hand_in(scene.assignment, [scene.upload], assertion=None),
        lambda: scene.ben.upload(scene.assignment["id"], photos.photo("rocket")),
        lambda: scene.ben.call("POST", f"/v1/worker/assignments/{scene.assignment['id']}/hand-back"),
        lambda: scene.ben.call("POST", f"/v1/worker/assignments/{scene.assignment['id']}/challenges"),
    ):
        with pytest.raises(Refused) as refused:
            reach()
        assert refused.value.status == 404
    own = scene.ben.claim(scene.job["id"])
    with pytest.raises(Refused) as refused:
        scene.ben.hand_in(own, [scene.upload])
    assert refused.value.status == 404
    scene.still_welcome()


def test_key_of_an_old_installation_is_retired(scene: Scene) -> None:
    phone = scene.ana
    old_key, old_id, counter = phone.key, phone.device_key_id, phone.counter
    phone.key = ec.generate_private_key(ec.SECP256R1())
    phone.access_token = ""
    phone.sign_in(scene.house.code)
    new_key, new_id = phone.key, phone.device_key_id
    assert new_id != old_id
    phone.key, phone.device_key_id = old_key, old_id
    scene.refused(phone.attest(scene.assignment, [scene.upload]))
    phone.key, phone.device_key_id, phone.counter = new_key, new_id, counter
    scene.still_welcome()

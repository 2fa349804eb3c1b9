"""Workers claim, hand back and hand in while the buyer pauses and cancels, the clock rings and verdicts fall. Nothing breaks."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest
from PIL import Image

from api.demo.buyer import BuyerScript
from api.demo.phone import Json, Phone, Photo, Refused
from api.wiring import ON_CLOCK
from infra import outbox, queue
from tests.journeys import photos
from tests.journeys.house import House

SECONDS = 4.0


def test_everything_at_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    postponed: list[str] = []  # background functions that raised; a second try would hide it
    monkeypatch.setattr(outbox, "postpone", lambda *_, error, **__: postponed.append(error))
    buyer = house.buyer()
    jobs = [buyer.post_job(files_needed=files, price_per_file_cents=50) for files in (4, 8, 30)]
    phones = [house.worker("gold") for _ in range(6)]
    said: Counter[str] = Counter()
    broken: list[BaseException] = []
    over = threading.Event()

    def again_and_again(act: Callable[[random.Random], str], number: int) -> None:
        chance = random.Random(number)
        while not over.is_set() and not broken:
            try:
                said[act(chance)] += 1
            except Refused as refused:
                said[f"refused {refused.status}"] += 1
            except BaseException as error:  # noqa: BLE001 - told to the test below
                broken.append(error)

    def works(phone: Phone) -> Callable[[random.Random], str]:
        return lambda chance: work(phone, chance.choice(jobs), chance)

    actors = [
        *(works(phone) for phone in phones),
        lambda chance: hesitate(buyer, chance.choice(jobs[:2]), chance),
        *[lambda chance: decide(house, chance)] * 2,
        lambda _: ring(),
    ]
    threads = [threading.Thread(target=again_and_again, args=(actor, number)) for number, actor in enumerate(actors)]
    for thread in threads:
        thread.start()
    time.sleep(SECONDS)
    buyer.call("POST", f"/v1/jobs/{jobs[2]['id']}/cancel")
    time.sleep(0.5)
    over.set()
    for thread in threads:
        thread.join(30)
    assert broken == []
    house.work()
    assert said["handed in"] >= 5, said
    assert min(said["paused"], said["rung"], said["decided"]) > 0, said
    assert postponed == []
    assert buyer.call("GET", f"/v1/jobs/{jobs[2]['id']}")["state"] == "cancelled"


def work(phone: Phone, job: Json, chance: random.Random) -> str:
    assignment = phone.claim(job["id"])
    if chance.random() < 0.3:
        phone.call("POST", f"/v1/worker/assignments/{assignment['id']}/hand-back")
        return "handed back"
    phone.hand_in(assignment, [phone.upload(assignment["id"], any_photo(chance))])
    return "handed in"


def any_photo(chance: random.Random) -> Photo:
    """A piece of a photograph: often a new picture, sometimes one that was seen before."""
    whole = photos.picture(chance.choice(photos.SCENES))
    left, top = chance.randrange(0, whole.width - 200, 50), chance.randrange(0, whole.height - 200, 50)
    piece = whole.crop((left, top, left + 200, top + 200))
    return photos.jpeg(piece.transpose(chance.choice(list(Image.Transpose))))


def hesitate(buyer: BuyerScript, job: Json, chance: random.Random) -> str:
    time.sleep(chance.random() / 10)
    buyer.call("POST", f"/v1/jobs/{job['id']}/pause")
    time.sleep(chance.random() / 10)
    buyer.call("POST", f"/v1/jobs/{job['id']}/resume")
    return "paused"


def decide(house: House, chance: random.Random) -> str:
    """Two workers at the same calls, as after a bell that was rung twice."""
    waiting = house.waiting()
    for call_id in waiting:
        queue.answer(str(call_id))
    time.sleep(0.01)
    return "decided" if waiting else "idle"


def ring() -> str:
    for function in ON_CLOCK:
        function()
    time.sleep(0.05)
    return "rung"

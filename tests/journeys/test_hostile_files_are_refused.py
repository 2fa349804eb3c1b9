"""Files made to hurt: each is refused with a reason, and the worker process lives on."""

import hashlib
from pathlib import Path

import httpx
import psutil
import pytest

from api.demo.phone import Photo, Refused
from infra import blobs
from tests import hostile
from tests.journeys import photos
from tests.journeys.house import House

# One of each kind; tests/ingest/test_hostile_files.py tries hundreds of them on the probe alone.
CHOSEN = (
    "png bomb of 400 megapixels",
    "jpeg of 65,500 x 65,500",
    "png with a text of 64 MB",
    "animated webp",
    "jpeg cut at 50 % and closed",
    "heic without its last byte",
    "png with a wrong byte",
    "jpeg with zip behind",
    "png with php as text",
    "html as jpeg",
    "png as jpeg",
)


def test_hostile_files_are_refused_and_the_worker_lives(house: House) -> None:
    files = {file.name: file for file in hostile.corpus() if file.name in CHOSEN}
    assert len(files) == len(CHOSEN)
    buyer, phones = house.buyer(), [house.worker("gold") for _ in range(3)]
    job = buyer.post_job(files_needed=30)
    worker = house.start("work")
    sent = {}
    for number, (name, file) in enumerate(files.items()):
        phone = phones[number % 3]
        sent[name] = phone, phone.send(job["id"], Photo(file.data, file.media_type))
    good = phones[0].send(job["id"], photos.photo("coffee"))

    for name, (phone, submission) in sent.items():
        said = phone.await_verdict(submission["id"])
        assert (said["state"], said["stars"], said["retry"]) == ("rejected", None, False), name
        assert said["reason"]["gate"] == "bytes", name
        assert said["reason"]["code"] in files[name].expected, name
        assert said["reason"]["feedback"], name
    assert phones[0].await_verdict(good["id"])["state"] == "approved"
    assert worker.poll() is None, "the same process as before"
    assert psutil.Process(worker.pid).is_running()
    for phone in phones:
        assert phone.call("GET", "/v1/worker/standing")["strikes"] == []
    progress = buyer.call("GET", f"/v1/jobs/{job['id']}")["progress"]
    assert (progress["approved"], progress["free"]) == (1, 29)
    assert not list(Path(house.logs).rglob("core*"))


def test_storage_takes_only_what_was_declared(house: House) -> None:
    """Size, type and SHA-256 are part of the signature."""
    ana, job = house.worker(), house.open_job(house.buyer())
    assignment = ana.claim(job["id"])
    coffee = photos.photo("coffee")
    declared = {"size": len(coffee.data), "media_type": "image/jpeg", "sha256": coffee.sha256.hex()}
    path = f"/v1/worker/assignments/{assignment['id']}/uploads"
    upload = ana.call("POST", path, declared)
    other = coffee.data[:-1] + bytes([coffee.data[-1] ^ 1])
    checksum = {"x-amz-checksum-sha256": "A" * 43 + "="}
    for body, headers in (
        (other, upload["headers"]),
        (coffee.data, upload["headers"] | checksum),
        (coffee.data, upload["headers"] | {"Content-Type": "text/html"}),
        (coffee.data + b"!", upload["headers"] | {"Content-Length": str(len(coffee.data) + 1)}),
    ):
        assert httpx.put(upload["url"], content=body, headers=headers).status_code in (400, 403)
    assert blobs.stat(f"originals/{upload['id']}") is None, "nothing of it was stored"
    with pytest.raises(Refused) as refused:
        ana.hand_in(assignment, [{**upload, "photo": coffee}])
    assert (refused.value.status, refused.value.problem["type"]) == (409, "/problems/not-arrived")
    assert httpx.put(upload["url"], content=coffee.data, headers=upload["headers"]).status_code == 200
    said = house.verdict(ana, ana.hand_in(assignment, [{**upload, "photo": coffee}]))
    assert said["state"] == "approved"


def test_bytes_are_hashed_again_whatever_storage_says(house: House) -> None:
    """A server that checks nothing, or somebody with its keys: what arrived is not what was declared."""
    ana, job = house.worker(), house.open_job(house.buyer())
    assignment = ana.claim(job["id"])
    upload = ana.upload(assignment["id"], photos.photo("coffee"))
    data = photos.photo("coffee").data
    forged = data[:-200] + bytes(byte ^ 1 for byte in data[-200:])
    submission = ana.hand_in(assignment, [upload])
    blobs.put(f"originals/{upload['id']}", forged, "image/jpeg")
    said = house.verdict(ana, submission)
    assert (said["state"], said["reason"]["gate"], said["reason"]["code"]) == ("rejected", "bytes", "hash_mismatch")
    assert hashlib.sha256(forged).hexdigest()[:8] in str(said["reason"]["measured"])


@pytest.mark.parametrize(
    ("lie", "words"),
    [
        ({"size": 50 * 1024 * 1024 + 1}, "52428800"),
        ({"size": 0}, "size"),
        ({"media_type": "image/svg+xml"}, "cannot be taken"),
        ({"media_type": "image/png"}, "This job takes"),
        ({"sha256": "not a hash"}, "sha256"),
    ],
    ids=["too large", "empty", "unknown type", "type the job does not take", "no hash"],
)
def test_declaration_that_cannot_be_is_refused_before_anything_is_sent(
    house: House, lie: dict[str, object], words: str
) -> None:
    ana, job = house.worker(), house.open_job(house.buyer(), accepted_formats=["image/jpeg"])
    assignment = ana.claim(job["id"])
    declared = {"size": 1_000, "media_type": "image/jpeg", "sha256": "0" * 64} | lie
    with pytest.raises(Refused) as refused:
        ana.call("POST", f"/v1/worker/assignments/{assignment['id']}/uploads", declared)
    assert refused.value.status == 422
    assert words in refused.value.problem["detail"]


def test_file_of_another_type_than_the_job_takes_is_refused(house: House) -> None:
    """Declared as the JPEG the job takes, and a PNG inside."""
    ana, job = house.worker(), house.open_job(house.buyer(), accepted_formats=["image/jpeg"])
    said = house.verdict(ana, ana.send(job["id"], Photo(hostile.encoded("png"))))
    assert (said["state"], said["reason"]["code"]) == ("rejected", "type_mismatch")

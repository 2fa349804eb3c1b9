"""Device keys: whose they are, and that a signature counts for one submission, once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy.orm import Session

from infra import db, ids
from ingest import devices
from ingest.devices import Assertion, BadDeviceKey, ForgedAssertion, KeyOfAnother, StaleCounter
from ingest.models import Challenge, DeviceKey, Upload

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
ANA, BEN = ids.new(), ids.new()
CLAIM, TASK = ids.new(), ids.new()
NONCE = bytes(range(32))


class Phone:
    """A key that never leaves it."""

    def __init__(self, curve: ec.EllipticCurve | None = None) -> None:
        self.key = ec.generate_private_key(curve or ec.SECP256R1())
        self.public = der(self.key)

    def enrol(self, session: Session, worker: UUID = ANA, install: str = "install-1") -> DeviceKey:
        return devices.enrol(
            session, worker_id=worker, install_id=install, platform="ios", public_key=self.public, now=NOW
        )

    def sign(self, message: bytes) -> bytes:
        return self.key.sign(message, ec.ECDSA(hashes.SHA256()))

    def assertion(self, key_id: UUID, uploads: list[Upload], counter: int = 1, **changes: Any) -> Assertion:
        """Over what the phone believes to hand in; the server may believe something else."""
        believed: dict[str, Any] = {"nonce": NONCE, "assignment_id": CLAIM, "task_id": TASK, "counter": counter}
        signed = devices.statement(**believed | {"uploads": uploads} | changes)
        return Assertion(key_id, ids.new(), counter, self.sign(signed))


def der(key: Any) -> bytes:
    encoded: bytes = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded


def file(**changes: Any) -> Upload:
    values: dict[str, Any] = {
        "id": ids.new(),
        "sha256": b"s" * 32,
        "size": 1_234,
        "media_type": "image/jpeg",
        "captured_at": NOW - timedelta(seconds=9),
    }
    return Upload(**values | changes)


def verify(session: Session, assertion: Assertion, uploads: list[Upload], **changes: Any) -> DeviceKey:
    believed: dict[str, Any] = {"nonce": NONCE, "worker_id": ANA, "assignment_id": CLAIM, "task_id": TASK}
    return devices.verify_assertion(session, assertion, uploads=uploads, **believed | changes)


# -- enrolling ---------------------------------------------------------------------------------------------------------


def test_a_key_is_enrolled_once_and_for_one_worker(session: Session) -> None:
    phone = Phone()
    key = phone.enrol(session)
    assert (key.worker_id, key.platform, key.counter, key.retired_at) == (ANA, "ios", 0, None)
    assert phone.enrol(session).id == key.id
    with pytest.raises(KeyOfAnother):
        phone.enrol(session, BEN)
    assert session.get_one(DeviceKey, key.id, populate_existing=True).worker_id == ANA


def test_a_new_key_of_an_installation_retires_the_old_one(session: Session) -> None:
    old, new, elsewhere, bens = (
        Phone().enrol(session),
        Phone().enrol(session),
        Phone().enrol(session, install="install-2"),
        Phone().enrol(session, BEN),
    )
    session.expire_all()
    assert old.retired_at == NOW
    assert [key.retired_at for key in (new, elsewhere, bens)] == [None] * 3


def test_two_sign_ins_at_once_enrol_one_row(database: str) -> None:
    phone, start = Phone(), Barrier(6)

    def race(worker: UUID) -> UUID | None:
        start.wait()
        try:
            with db.transaction() as session:
                return phone.enrol(session, worker).worker_id
        except KeyOfAnother:
            return None

    with ThreadPoolExecutor(6) as pool:
        owners = list(pool.map(race, [ANA, BEN] * 3))
    assert sorted(owner is None for owner in owners) == [False] * 3 + [True] * 3
    assert len({owner for owner in owners if owner}) == 1


@pytest.mark.parametrize(
    "public_key",
    [
        b"",
        b"nonsense",
        der(ec.generate_private_key(ec.SECP384R1())),
        der(ec.generate_private_key(ec.SECP256K1())),
        der(rsa.generate_private_key(65537, 2048)),
        der(ed25519.Ed25519PrivateKey.generate()),
        Phone().public[:-1],
    ],
    ids=["empty", "nonsense", "P-384", "secp256k1", "RSA", "Ed25519", "cut"],
)
def test_only_p256_in_der_is_a_key(session: Session, public_key: bytes) -> None:
    with pytest.raises(BadDeviceKey):
        devices.enrol(session, worker_id=ANA, install_id="i", platform="ios", public_key=public_key, now=NOW)
    assert not devices.verify_proof(public_key, b"message", b"signature")


# -- challenges --------------------------------------------------------------------------------------------------------


def burn(session: Session, challenge: Challenge, **changes: Any) -> bytes | None:
    whose: dict[str, Any] = {"worker_id": ANA, "assignment_id": CLAIM, "now": NOW}
    return devices.burn(session, challenge.id, **whose | changes)


def test_a_challenge_is_good_once(session: Session) -> None:
    one, other = (devices.challenge(session, worker_id=ANA, assignment_id=CLAIM, now=NOW) for _ in range(2))
    assert len(one.nonce) == 32
    assert one.nonce != other.nonce
    assert burn(session, one) == one.nonce
    assert burn(session, one) is None
    assert burn(session, other) == other.nonce


@pytest.mark.parametrize(
    "changes",
    [
        {"worker_id": BEN},
        {"assignment_id": TASK},
        {"now": NOW + timedelta(minutes=5)},
    ],
)
def test_a_challenge_is_good_for_its_worker_claim_and_five_minutes(session: Session, changes: dict[str, Any]) -> None:
    one = devices.challenge(session, worker_id=ANA, assignment_id=CLAIM, now=NOW)
    assert burn(session, one, **changes) is None
    assert burn(session, one, now=NOW + timedelta(minutes=5, microseconds=-1)) == one.nonce


def test_of_many_tries_at_once_one_gets_the_nonce(database: str) -> None:
    with db.transaction() as session:
        one = devices.challenge(session, worker_id=ANA, assignment_id=CLAIM, now=NOW)

    def race(start: Barrier) -> bytes | None:
        start.wait()
        with db.transaction() as session:
            return burn(session, one)

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(race, [Barrier(8)] * 8))
    assert sorted(nonce is not None for nonce in got) == [False] * 7 + [True]


def test_old_challenges_are_forgotten(session: Session) -> None:
    old = devices.challenge(session, worker_id=ANA, assignment_id=CLAIM, now=NOW - timedelta(minutes=6))
    fresh = devices.challenge(session, worker_id=ANA, assignment_id=CLAIM, now=NOW)
    kept = [old.id, fresh.id]
    devices.forget_challenges(session, before=NOW)
    session.expire_all()
    assert [session.get(Challenge, id) is not None for id in kept] == [False, True]


# -- assertions --------------------------------------------------------------------------------------------------------


def test_what_the_phone_signed_is_accepted_and_moves_the_counter(session: Session) -> None:
    phone, files = Phone(), [file(), file(captured_at=None)]
    key = phone.enrol(session)
    assert verify(session, phone.assertion(key.id, files, counter=7), files).id == key.id
    assert session.get_one(DeviceKey, key.id, populate_existing=True).counter == 7


CHANGED: dict[str, Callable[[Upload], dict[str, Any]]] = {
    "id": lambda one: {"id": ids.new()},
    "hash": lambda one: {"sha256": b"t" * 32},
    "size": lambda one: {"size": one.size + 1},
    "type": lambda one: {"media_type": "image/png"},
    "capture time": lambda one: {"captured_at": NOW},
    "no capture time": lambda one: {"captured_at": None},
}


@pytest.mark.parametrize("what", CHANGED)
def test_a_file_with_another_value_is_a_forgery(session: Session, what: str) -> None:
    phone, one = Phone(), file()
    key = phone.enrol(session)
    same = {name: getattr(one, name) for name in ("id", "sha256", "size", "media_type", "captured_at")}
    assertion = phone.assertion(key.id, [one])
    with pytest.raises(ForgedAssertion, match="something else"):
        verify(session, assertion, [Upload(**same | CHANGED[what](one))])
    verify(session, assertion, [Upload(**same)])


@pytest.mark.parametrize(
    "changes",
    [{"nonce": bytes(32)}, {"assignment_id": ids.new()}, {"task_id": ids.new()}],
    ids=lambda value: next(iter(value)),
)
def test_another_nonce_claim_or_task_is_a_forgery(session: Session, changes: dict[str, Any]) -> None:
    phone, files = Phone(), [file()]
    key = phone.enrol(session)
    with pytest.raises(ForgedAssertion, match="something else"):
        verify(session, phone.assertion(key.id, files), files, **changes)


def test_files_left_out_added_or_reordered_are_a_forgery(session: Session) -> None:
    phone, first, second = Phone(), file(), file()
    key = phone.enrol(session)
    for believed in ([first], [second, first], [first, second, file()], []):
        with pytest.raises(ForgedAssertion):
            verify(session, phone.assertion(key.id, [first, second]), believed)


def test_the_counter_is_signed_too(session: Session) -> None:
    phone, files = Phone(), [file()]
    key = phone.enrol(session)
    with pytest.raises(ForgedAssertion):
        verify(session, replace(phone.assertion(key.id, files, counter=1), counter=2), files)


@pytest.mark.parametrize("signature", [b"", b"\x30\x06\x02\x01\x00\x02\x01\x00", b"\x00" * 71, None])
def test_a_made_up_signature_is_a_forgery(session: Session, signature: bytes | None) -> None:
    phone, files = Phone(), [file()]
    key = phone.enrol(session)
    real = phone.assertion(key.id, files)
    fake = Phone().assertion(key.id, files).signature if signature is None else signature
    with pytest.raises(ForgedAssertion):
        verify(session, replace(real, signature=fake), files)
    assert session.get_one(DeviceKey, key.id, populate_existing=True).counter == 0


def test_a_used_up_challenge_is_a_forgery(session: Session) -> None:
    phone, files = Phone(), [file()]
    key = phone.enrol(session)
    with pytest.raises(ForgedAssertion, match="challenge"):
        verify(session, phone.assertion(key.id, files), files, nonce=None)


@pytest.mark.parametrize("whose", ["nobody's", "another worker's", "retired"])
def test_only_ones_own_live_key_signs(session: Session, whose: str) -> None:
    phone, files = Phone(), [file()]
    key = phone.enrol(session, BEN if whose == "another worker's" else ANA)
    if whose == "retired":
        Phone().enrol(session)
        session.expire_all()
    key_id = ids.new() if whose == "nobody's" else key.id
    with pytest.raises(ForgedAssertion, match="not enrolled for you"):
        verify(session, phone.assertion(key_id, files), files)


@pytest.mark.parametrize("counter", [5, 4, 0])
def test_a_counter_that_is_not_above_the_last_is_stale(session: Session, counter: int) -> None:
    phone, files = Phone(), [file()]
    key = phone.enrol(session)
    verify(session, phone.assertion(key.id, files, counter=5), files)
    with pytest.raises(StaleCounter):
        verify(session, phone.assertion(key.id, files, counter=counter), files)
    verify(session, phone.assertion(key.id, files, counter=6), files)


def test_of_many_assertions_with_one_counter_one_counts(database: str) -> None:
    racers, phone, files = 10, Phone(), [file()]
    with db.transaction() as session:
        key = phone.enrol(session)
    start = Barrier(racers)
    assertion = phone.assertion(key.id, files, counter=3)

    def race(_: int) -> bool:
        start.wait()
        try:
            with db.transaction() as session:
                verify(session, assertion, files)
        except StaleCounter:
            return False
        return True

    with ThreadPoolExecutor(racers) as pool:
        assert sorted(pool.map(race, range(racers))) == [False] * (racers - 1) + [True]


def test_a_refused_submission_leaves_the_counter(database: str) -> None:
    """It moves in the transaction that accepts the submission, and back with it."""
    phone, files = Phone(), [file()]
    with db.transaction() as session:
        key = phone.enrol(session)

    def accept(session: Session) -> None:
        verify(session, phone.assertion(key.id, files, counter=3), files)
        raise StaleCounter("Refused for another reason.")

    with pytest.raises(StaleCounter, match="another"), db.transaction() as session:
        accept(session)
    with db.transaction() as session:
        verify(session, phone.assertion(key.id, files, counter=3), files)

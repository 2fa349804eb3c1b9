"""
Device keys and what they sign.

A phone makes a P-256 key at sign-in and signs each submission with it, over a frame that the server builds again from its
own rows. The vendors' attestations (App Attest, Android key attestation) will vouch for such keys; until then a key only
links uploads to one phone, which is trust tier C of `attestation`, and an unsigned submission is tier D.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key
from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from infra import ids
from infra.crypto import frame
from infra.errors import Conflict, Forbidden, Invalid
from ingest.models import Challenge, DeviceKey, Upload

CHALLENGE_LIFE = timedelta(minutes=5)


class BadDeviceKey(Invalid):
    """This is not a P-256 public key in DER."""


class KeyOfAnother(Conflict):
    """This device key belongs to another account."""


class ForgedAssertion(Forbidden):
    """The device's signature does not fit this submission."""


class StaleCounter(Conflict):
    """The device's counter is not fresh."""


@dataclass(frozen=True)
class Assertion:
    """A device's word for one submission: which key, which challenge, its counter, and the ECDSA signature in DER."""

    key_id: UUID
    challenge_id: UUID
    counter: int
    signature: bytes


def enrol(
    session: Session, *, worker_id: UUID, install_id: str, platform: str, public_key: bytes, now: datetime
) -> DeviceKey:
    """
    Keep a phone's key. Enrolling the same key again gives the same row; other keys of this installation are retired.

    :raises BadDeviceKey: not P-256
    :raises KeyOfAnother: one key, one worker
    """
    _load(public_key)
    session.execute(
        insert(DeviceKey)
        .values(
            id=ids.new(),
            worker_id=worker_id,
            install_id=install_id,
            platform=platform,
            public_key=public_key,
            counter=0,
            created_at=now,
        )
        .on_conflict_do_nothing(index_elements=[DeviceKey.public_key])
    )
    key = session.scalars(select(DeviceKey).where(DeviceKey.public_key == public_key)).one()
    if key.worker_id != worker_id:
        raise KeyOfAnother("Make a new key on this phone and sign in again.")
    session.execute(
        update(DeviceKey)
        .where(
            DeviceKey.worker_id == worker_id,
            DeviceKey.install_id == install_id,
            DeviceKey.id != key.id,
            DeviceKey.retired_at.is_(None),
        )
        .values(retired_at=now)
        .execution_options(synchronize_session=False)
    )
    return key


def challenge(session: Session, *, worker_id: UUID, assignment_id: UUID, now: datetime) -> Challenge:
    """A fresh number for the next assertion, good for five minutes and one try."""
    made = Challenge(
        id=ids.new(),
        worker_id=worker_id,
        assignment_id=assignment_id,
        nonce=secrets.token_bytes(32),
        expires_at=now + CHALLENGE_LIFE,
    )
    session.add(made)
    session.flush()
    return made


def burn(session: Session, challenge_id: UUID, *, worker_id: UUID, assignment_id: UUID, now: datetime) -> bytes | None:
    """
    Use a challenge up. None when it is unknown, somebody else's, used or too old.

    Comes before the signature is looked at, and must be committed whatever that finds: a challenge is gone after any try.
    """
    return session.execute(
        update(Challenge)
        .where(
            Challenge.id == challenge_id,
            Challenge.worker_id == worker_id,
            Challenge.assignment_id == assignment_id,
            Challenge.used_at.is_(None),
            Challenge.expires_at > now,
        )
        .values(used_at=now)
        .returning(Challenge.nonce)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()


def statement(*, nonce: bytes, assignment_id: UUID, task_id: UUID, counter: int, uploads: Sequence[Upload]) -> bytes:
    """The exact bytes a device signs, built from the server's own rows. `docs/api.md` gives it to app developers."""
    fields: list[bytes | str | int] = [nonce, ids.show("asg", assignment_id), ids.show("tsk", task_id), counter]
    for upload in uploads:
        captured_ms = round(upload.captured_at.timestamp() * 1_000) if upload.captured_at else 0
        fields += [ids.show("upl", upload.id), upload.sha256, upload.size, upload.media_type, captured_ms]
    return frame("fw.submission.v1", *fields)


def verify_assertion(
    session: Session,
    assertion: Assertion,
    *,
    nonce: bytes | None,
    worker_id: UUID,
    assignment_id: UUID,
    task_id: UUID,
    uploads: Sequence[Upload],
) -> DeviceKey:
    """
    Check that the worker's own key signed exactly this submission under a fresh challenge, and move its counter on.

    The counter moves in the caller's transaction, the one that accepts the submission: of two assertions racing with the
    same counter one is refused.

    :raises ForgedAssertion: unknown or retired key, challenge not ours or used, signature over something else
    :raises StaleCounter: not above the last one seen
    """
    key = session.get(DeviceKey, assertion.key_id)
    if key is None or key.worker_id != worker_id or key.retired_at is not None:
        raise ForgedAssertion("This key is not enrolled for you. Sign in again to enrol the phone's key.")
    if nonce is None:
        raise ForgedAssertion(
            "The challenge is unknown, used or older than five minutes. Ask for a new one and sign again."
        )
    signed = statement(
        nonce=nonce, assignment_id=assignment_id, task_id=task_id, counter=assertion.counter, uploads=uploads
    )
    if not verify_proof(key.public_key, signed, assertion.signature):
        raise ForgedAssertion("The signature is over something else than this submission.")
    moved = session.execute(
        update(DeviceKey)
        .where(DeviceKey.id == key.id, DeviceKey.counter < assertion.counter)
        .values(counter=assertion.counter)
        .returning(DeviceKey.id)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    if moved is None:
        raise StaleCounter("Raise the counter above every one used before and sign again under a new challenge.")
    return key


def verify_proof(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the key (DER SubjectPublicKeyInfo) made this ECDSA-SHA-256 signature (DER) over the message."""
    try:
        _load(public_key).verify(signature, message, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, BadDeviceKey):
        return False
    return True


def forget_challenges(session: Session, *, before: datetime) -> None:
    """Delete challenges nobody can use any more."""
    session.execute(delete(Challenge).where(Challenge.expires_at < before))


def _load(public_key: bytes) -> ec.EllipticCurvePublicKey:
    try:
        key = load_der_public_key(public_key)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadDeviceKey("Send SubjectPublicKeyInfo in DER, base64 encoded.") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise BadDeviceKey("The key must be on the curve P-256.")
    return key

"""Secrets: made, hashed, compared, sealed; and the frame that devices sign."""

import base64
import hashlib
import hmac
import secrets
import struct
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken

from infra.settings import settings


class Unsealable(RuntimeError):
    """A sealed value does not open: FOOTWORK_SECRET_KEY is not the one that sealed it."""


def token(size: int = 32) -> str:
    """A URL-safe secret of `size` random bytes."""
    return secrets.token_urlsafe(size)


def digits(count: int) -> str:
    """A one-time code of `count` decimal digits."""
    return "".join(secrets.choice("0123456789") for _ in range(count))


def hash_secret(secret: str) -> bytes:
    """
    What the database keeps of a secret: HMAC-SHA-256 under the server's key, so that neither a leaked table alone nor a
    six-digit code can be searched through.
    """
    return hmac.digest(_key(b"hash"), secret.encode(), "sha256")


def mac(domain: str, *fields: bytes | str | int) -> bytes:
    """HMAC-SHA-256 of a frame under the server's key: proves that we wrote it, or derives a key for one purpose."""
    return hmac.digest(_key(b"mac"), frame(domain, *fields), "sha256")


def same(a: bytes, b: bytes) -> bool:
    """Equality in constant time."""
    return hmac.compare_digest(a, b)


def seal(plain: bytes) -> bytes:
    """Encrypt what must be read again (TOTP and webhook secrets): Fernet, AES-128-CBC with HMAC-SHA-256."""
    return _fernet().encrypt(plain)


def unseal(sealed: bytes) -> bytes:
    """
    The plain bytes again.

    :raises Unsealable: made under another secret key, or damaged
    """
    try:
        return _fernet().decrypt(sealed)
    except InvalidToken as error:
        raise Unsealable(Unsealable.__doc__) from error


def frame(domain: str, *fields: bytes | str | int) -> bytes:
    """
    One unambiguous byte string from a purpose and its fields: each is preceded by its length as unsigned 32-bit big endian;
    integers are 8 bytes big endian. No two different lists of fields give the same frame, and no frame of one purpose is
    one of another.
    """
    parts = [domain.encode(), *(_bytes(field) for field in fields)]
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


def _bytes(field: bytes | str | int) -> bytes:
    if isinstance(field, int):
        return struct.pack(">Q", field)
    return field.encode() if isinstance(field, str) else field


def _key(purpose: bytes) -> bytes:
    return hmac.digest(settings().secret_key.get_secret_value().encode(), b"footwork." + purpose, "sha256")


def _fernet() -> Fernet:
    return _fernet_of(_key(b"seal"))


@lru_cache(maxsize=4)
def _fernet_of(key: bytes) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(key))


def sha256(data: bytes) -> bytes:
    """SHA-256 (FIPS 180-4)."""
    return hashlib.sha256(data).digest()

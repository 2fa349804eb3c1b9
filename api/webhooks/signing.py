"""
Signatures of webhooks, two forms of the same proof, so that both kinds of library in the world can verify them:

- Standard Webhooks 1.0 (https://github.com/standard-webhooks/standard-webhooks): `webhook-id`, `webhook-timestamp`,
  `webhook-signature: v1,<base64>`, keyed with the bytes behind `whsec_`, over `id.timestamp.body`;
- `Footwork-Signature: t=<timestamp>,v1=<hex>`, keyed with the whole secret as text, over `timestamp.body`.

While a secret is being rotated both headers carry a signature under each.
"""

import base64
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime

PREFIX = "whsec_"
SECRET_BYTES = 32  # the standard asks for 24 to 64


def new_secret() -> str:
    """A fresh secret: `whsec_` and 32 random bytes in base 64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def headers(body: bytes, *, message_id: str, keys: Sequence[str], now: datetime) -> dict[str, str]:
    """
    The headers that prove a body.

    :param message_id: the event's shown id, the same on every try, by which receivers drop what they know
    :param keys: the endpoint's valid secrets, newest first
    :param now: when this try is made; receivers refuse what is older than five minutes
    """
    moment = str(int(now.timestamp()))
    hexadecimal = [_digest(key.encode(), f"{moment}.".encode() + body).hex() for key in keys]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": moment,
        "webhook-signature": " ".join(
            "v1," + base64.b64encode(_digest(_raw(key), f"{message_id}.{moment}.".encode() + body)).decode()
            for key in keys
        ),
        "footwork-signature": ",".join([f"t={moment}", *(f"v1={signature}" for signature in hexadecimal)]),
    }


def _raw(key: str) -> bytes:
    return base64.b64decode(key.removeprefix(PREFIX))


def _digest(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")

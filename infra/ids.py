"""
Ids: UUID version 7 (RFC 9562) in the database, `prefix_` + 26 characters of Crockford's base 32 in the API.

Both sort by time of creation, which is what makes "newest first" a primary-key scan.
"""

from datetime import datetime
from uuid import UUID

from uuid_utils.compat import uuid7

from infra.errors import Invalid

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUES = {letter: value for value, letter in enumerate(_ALPHABET)}
_LENGTH = 26  # ceil(128 / 5)


class BadId(Invalid):
    """This is not an id of the expected kind."""


def new() -> UUID:
    """A fresh id that sorts after the earlier ones of this process."""
    return UUID(int=uuid7().int)


def floor(moment: datetime) -> UUID:
    """The smallest id of that millisecond: ids below it are older."""
    return UUID(int=int(moment.timestamp() * 1_000) << 80)


def show(prefix: str, id: UUID) -> str:
    """The id as the API shows it: `show("job", id)` is `job_01j…`."""
    number = id.int
    return prefix + "_" + "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))


def read(prefix: str, text: str) -> UUID:
    """
    The id behind its shown form.

    :raises BadId: another prefix, length or alphabet
    """
    kind, _, digits = text.partition("_")
    number = 0
    if kind == prefix and len(digits) == _LENGTH and digits[0] in "01234567":
        for letter in digits:
            value = _VALUES.get(letter)
            if value is None:
                break
            number = number << 5 | value
        else:
            return UUID(int=number)
    raise BadId(
        f"Expected an id like {show(prefix, UUID(int=0))[: len(prefix) + 1]}… of 26 characters after the underscore."
    )

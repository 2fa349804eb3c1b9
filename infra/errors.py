"""
Refusals: what a caller did that the rules do not allow, said so that they can mend it.

A concrete refusal is a subclass that stands beside the function raising it. The first line of its docstring is the title
users read; the message says what to do; keyword arguments become members of the problem document (RFC 9457). The HTTP
status of each kind is decided only in `api/problems.py`. Any other exception is a bug.
"""

from typing import Any


class Refusal(Exception):
    """This was refused."""

    def __init__(self, detail: str = "", **members: Any) -> None:
        super().__init__(detail or self.title())
        self.detail = detail
        self.members = members

    @classmethod
    def title(cls) -> str:
        """What users read: the first line of the docstring."""
        return (cls.__doc__ or "").strip().split("\n", 1)[0].rstrip(".")

    @classmethod
    def code(cls) -> str:
        """Stable name in the problem's `type`: `NoSlotLeft` is `no-slot-left`."""
        return "".join("-" + c.lower() if c.isupper() else c for c in cls.__name__).lstrip("-")


class Invalid(Refusal):
    """The request does not fit the rules."""


class Unauthorized(Refusal):
    """Sign in first."""


class PaymentRequired(Refusal):
    """The wallet does not hold enough."""


class Forbidden(Refusal):
    """This is not allowed for you."""


class NotFound(Refusal):
    """There is no such thing here."""


class Conflict(Refusal):
    """This does not fit the current state."""


class Unavailable(Refusal):
    """A part that this needs is away."""


class Exhausted(Refusal):
    """A limit is reached."""

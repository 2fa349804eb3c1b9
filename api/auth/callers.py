"""
Who may call a route, and who is calling.

Every route declares one of `Anyone()`, `Buyer("jobs:write")`, `Worker()`, `Staff()` or `Staff("admin")`; its function may
take the matching `caller`: `Stranger`, `BuyerCaller`, `WorkerCaller` or `StaffCaller`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal
from uuid import UUID

from sqlalchemy.orm import Session

from api import limits
from api.answers import AnyRequest
from api.auth import keys, sessions, staff
from api.limits import Bucket
from infra import crypto
from infra.errors import Forbidden, Unauthorized
from infra.settings import settings
from tiering import workers


class SignInFirst(Unauthorized):
    """Sign in first."""


class ScopeMissing(Forbidden):
    """This key does not have the scope for that."""


class RoleMissing(Forbidden):
    """Your role does not allow that."""


class Banned(Forbidden):
    """This account is banned."""


@dataclass(frozen=True)
class Stranger:
    """Someone who need not say who they are; only the address they call from is known."""

    address: str


@dataclass(frozen=True)
class BuyerCaller:
    """An organization, by one of its API keys. A `test` key moves no money."""

    organization_id: UUID
    key_id: UUID
    mode: Literal["live", "test"]
    scopes: frozenset[str]


@dataclass(frozen=True)
class WorkerCaller:
    """A worker on one installation of the app; the device key is the one registered at that sign-in, if any."""

    worker_id: UUID
    session_id: UUID
    install_id: str
    platform: str
    device_key_id: UUID | None


@dataclass(frozen=True)
class StaffCaller:
    """A staff member."""

    staff_id: UUID
    session_id: UUID
    role: str


Caller = Stranger | BuyerCaller | WorkerCaller | StaffCaller


class Who(ABC):
    """A kind of caller: how they show who they are, and how many requests they may make."""

    audience: ClassVar[str]
    caller_type: ClassVar[type[Caller]]
    scheme: ClassVar[str | None]
    limited: bool = True
    guessable: ClassVar[bool]
    """Whether only the database knows good credentials from made-up ones. Wrong ones are then limited before it is asked."""

    @abstractmethod
    def bucket(self, request: AnyRequest) -> Bucket | None:
        """
        What the request is counted under, None if it is not. Reads nothing but the request.

        :raises Unauthorized: no credentials, or not even well-formed
        """

    @abstractmethod
    def authenticate(self, session: Session, request: AnyRequest, now: datetime) -> Caller:
        """
        The caller, checked against the database.

        :raises Unauthorized: unknown, expired or revoked credentials
        :raises Forbidden: known, but not allowed here
        """


class Anyone(Who):
    """No credentials needed. `limited=False` is for what machines ask every few seconds, `passwords=True` for checking one."""

    audience, caller_type, scheme, guessable = "open", Stranger, None, False

    def __init__(self, *, limited: bool = True, passwords: bool = False) -> None:
        self.limited, self.passwords = limited, passwords

    def bucket(self, request: AnyRequest) -> Bucket | None:
        if self.passwords:
            return limits.of_passwords(request)
        return limits.of_address(request) if self.limited else None

    def authenticate(self, session: Session, request: AnyRequest, now: datetime) -> Stranger:
        return stranger(request)


class Buyer(Who):
    """An organization whose API key has all these scopes."""

    audience, caller_type, scheme, guessable = "buyer", BuyerCaller, "api_key", True

    def __init__(self, *scopes: str) -> None:
        self.scopes = keys.known_scopes(scopes)

    def bucket(self, request: AnyRequest) -> Bucket:
        secret = keys.well_formed(bearer(request, "API key"))
        return Bucket(f"key:{crypto.hash_secret(secret).hex()[:32]}", settings().requests_per_minute)

    def authenticate(self, session: Session, request: AnyRequest, now: datetime) -> BuyerCaller:
        key = keys.find(session, bearer(request, "API key"), now=now)
        missing = self.scopes - set(key.scopes)
        if missing:
            raise ScopeMissing(f"This key lacks the scope {', '.join(sorted(missing))}.", scopes=sorted(missing))
        keys.note_use(session, key, now=now)
        return BuyerCaller(key.organization_id, key.id, keys.mode_of(key), frozenset(key.scopes))


class Worker(Who):
    """A signed-in worker. Banned ones may only call routes that say so: their standing, appeals and cashouts."""

    audience, caller_type, scheme, guessable = "worker", WorkerCaller, "worker_token", False

    def __init__(self, *, banned_allowed: bool = False) -> None:
        self.banned_allowed = banned_allowed

    def bucket(self, request: AnyRequest) -> Bucket:
        claims = sessions.read_access_token(bearer(request, "access token"))
        return Bucket(f"worker:{claims.worker_id}", settings().requests_per_minute)

    def authenticate(self, session: Session, request: AnyRequest, now: datetime) -> WorkerCaller:
        claims = sessions.read_access_token(bearer(request, "access token"))
        here = sessions.current(session, claims, now=now)
        if workers.get(session, here.worker_id).state == "banned" and not self.banned_allowed:
            raise Banned("You can still read your standing, appeal, and cash out what you have earned.")
        return WorkerCaller(here.worker_id, here.id, here.install_id, here.platform, here.device_key_id)


class Staff(Who):
    """A signed-in staff member with this role (any role, if none is named). An `admin` may do everything."""

    audience, caller_type, scheme, guessable = "staff", StaffCaller, "staff_token", True

    def __init__(self, role: str | None = None) -> None:
        self.role = None if role is None else staff.known_role(role)

    def bucket(self, request: AnyRequest) -> Bucket:
        secret = staff.well_formed(bearer(request, "session token"))
        return Bucket(f"staff:{crypto.hash_secret(secret).hex()[:32]}", settings().requests_per_minute)

    def authenticate(self, session: Session, request: AnyRequest, now: datetime) -> StaffCaller:
        here, member = staff.current(session, bearer(request, "session token"), now=now)
        if self.role is not None and member.role not in (self.role, "admin"):
            raise RoleMissing(f"This needs the role {self.role}; yours is {member.role}.", role=self.role)
        return StaffCaller(member.id, here.id, member.role)


def stranger(request: AnyRequest) -> Stranger:
    """The caller of an open route."""
    return Stranger(request.client.host if request.client else "unknown")


def bearer(request: AnyRequest, what: str) -> str:
    """
    The token of the Authorization header (RFC 6750).

    :raises SignInFirst: there is none
    """
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not token.strip():
        raise SignInFirst(f"Send your {what} as `Authorization: Bearer …`.")
    return token.strip()

"""API keys of an organization."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints
from sqlalchemy import select
from sqlalchemy.orm import Session

from api import paging
from api.auth import keys
from api.auth.callers import Buyer, BuyerCaller
from api.auth.models import ApiKey
from api.edge import delete, get, post
from api.paging import Cursor, Limit
from api.schemas import KeyId, Model, Page, Timestamp
from infra.errors import Forbidden


class BeyondYourKey(Forbidden):
    """A key cannot give more than it has."""


class KeyDraft(Model):
    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]
    scopes: Annotated[list[str], Field(min_length=1, max_length=50)]
    mode: Literal["live", "test"] = "test"


class KeyView(Model):
    object: Literal["api_key"] = "api_key"
    id: KeyId
    name: str
    mode: Literal["live", "test"]
    scopes: list[str]
    hint: Annotated[str, Field(description="the last characters of the secret")]
    created_at: Timestamp
    rotated_at: Timestamp | None
    previous_secret_until: Annotated[Timestamp | None, Field(description="how long the secret before it stays good")]
    last_used_at: Annotated[Timestamp | None, Field(description="to the minute")]


class NewKeyView(KeyView):
    secret: Annotated[str, Field(description="shown only now")]


@get("/v1/keys", who=Buyer("keys:read"), summary="List API keys")
def list_keys(session: Session, caller: BuyerCaller, cursor: Cursor | None = None, limit: Limit = 20) -> Page[KeyView]:
    """Keys that are not revoked, newest first."""
    mine = select(ApiKey).where(ApiKey.organization_id == caller.organization_id, ApiKey.revoked_at.is_(None))
    return paging.page(session, mine, ApiKey.id, cursor, limit).shown(_view)


@post("/v1/keys", who=Buyer("keys:write"), summary="Create an API key")
def create(session: Session, caller: BuyerCaller, now: datetime, data: KeyDraft) -> NewKeyView:
    """The new key has at most the scopes of the key that makes it, and a test key makes only test keys."""
    wanted = keys.known_scopes(data.scopes)
    if beyond := sorted(wanted - caller.scopes):
        raise BeyondYourKey(f"Yours lacks {', '.join(beyond)}.", scopes=beyond)
    if caller.mode == "test" and data.mode == "live":
        raise BeyondYourKey("A test key makes only test keys.")
    key, secret = keys.issue(session, caller.organization_id, data.name, wanted, data.mode, now)
    return _with_secret(key, secret)


@post("/v1/keys/{key_id:str}/rotate", who=Buyer("keys:write"), status=200, summary="Give a key a new secret")
def rotate(session: Session, caller: BuyerCaller, now: datetime, key_id: KeyId) -> NewKeyView:
    """The present secret stays good for 24 hours more."""
    key = keys.of(session, caller.organization_id, key_id, lock=True)
    _may_touch(caller, key)
    secret = keys.rotate(session, key, now=now)
    return _with_secret(key, secret)


@delete("/v1/keys/{key_id:str}", who=Buyer("keys:write"), summary="Revoke a key")
def revoke(session: Session, caller: BuyerCaller, now: datetime, key_id: KeyId) -> None:
    """It stops working at once, and so does its former secret."""
    key = keys.of(session, caller.organization_id, key_id, lock=True)
    if caller.mode == "test" and key.mode == "live":
        raise BeyondYourKey("A test key cannot revoke a live key.")
    keys.revoke(key, now=now)


def _may_touch(caller: BuyerCaller, key: ApiKey) -> None:
    """Who rotates a key learns its secret, so the same limits hold as for making one."""
    if beyond := sorted(set(key.scopes) - caller.scopes):
        raise BeyondYourKey(f"Yours lacks {', '.join(beyond)}.", scopes=beyond)
    if caller.mode == "test" and key.mode == "live":
        raise BeyondYourKey("A test key cannot rotate a live key.")


def _members(key: ApiKey) -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "mode": key.mode,
        "scopes": list(key.scopes),
        "hint": key.hint,
        "created_at": key.created_at,
        "rotated_at": key.rotated_at,
        "previous_secret_until": key.previous_until,
        "last_used_at": key.last_used_at,
    }


def _view(key: ApiKey) -> KeyView:
    return KeyView.model_validate(_members(key))


def _with_secret(key: ApiKey, secret: str) -> NewKeyView:
    return NewKeyView.model_validate({**_members(key), "secret": secret})

"""The whole application on the real services, and people who call it."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from email import message_from_bytes, policy
from types import SimpleNamespace
from typing import Any

import pytest
from litestar.testing import TestClient
from sqlalchemy import select

from api import app
from api.auth import background, codes, keys
from infra import clock, db, ids, mail
from infra.outbox import Event
from jobs import organizations

Client = TestClient[Any]
INSTALL = "install-0001"


@dataclass(frozen=True)
class Person:
    """Somebody who calls, with the header that shows who they are."""

    id: Any
    headers: dict[str, str]
    tokens: dict[str, Any]


@pytest.fixture
def client(database: str) -> Iterator[Client]:
    """The whole application."""
    with TestClient(app.build(), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def serve(database: str) -> Callable[..., AbstractContextManager[Client]]:
    """An application of nothing but the given routes: `with serve(handler) as client`."""

    def act(*handlers: Any) -> AbstractContextManager[Client]:
        module: Any = SimpleNamespace(**{f"handler_{place}": handler for place, handler in enumerate(handlers)})
        return TestClient(app.build([module]), raise_server_exceptions=False)

    return act


@pytest.fixture
def buyer(database: str) -> Person:
    """An organization's live key with every scope."""
    return _buyer()


@pytest.fixture
def make_buyer(database: str) -> Callable[..., Person]:
    """Another organization with a key: `make_buyer(scopes=["jobs:read"], mode="test")`."""
    return _buyer


def _buyer(name: str = "Acme", scopes: Any = keys.SCOPES, mode: Any = "live") -> Person:
    with db.transaction() as session:
        organization = organizations.found(session, name=name, now=clock.now())
        key, secret = keys.issue(session, organization.id, "first", scopes, mode, clock.now())
    return Person(organization.id, bearer(secret), {"secret": secret, "key_id": ids.show("key", key.id)})


@pytest.fixture
def sign_in_body(client: Client) -> Callable[..., dict[str, Any]]:
    """What the app sends once the worker has typed the code in."""

    def act(email: str = "ana@example.org", install_id: str = INSTALL, **more: Any) -> dict[str, Any]:
        assert client.post("/v1/worker/auth/codes", json={"email": email}).status_code == 202
        device = {"install_id": install_id, "platform": "ios"}
        return {"email": email, "code": _mailed_code(email), "device": device, **more}

    return act


@pytest.fixture
def sign_in(client: Client, sign_in_body: Callable[..., dict[str, Any]]) -> Callable[..., Person]:
    """Sign a worker in with the code from the mail."""

    def act(*who: str, **more: Any) -> Person:
        answer = client.post("/v1/worker/auth/tokens", json=sign_in_body(*who, **more))
        assert answer.status_code == 201, answer.text
        tokens = answer.json()
        return Person(ids.read("wkr", tokens["worker_id"]), bearer(tokens["access_token"]), tokens)

    return act


@pytest.fixture
def mailed_code(database: str) -> Callable[[str], str]:
    """The newest code mailed to an address."""
    return _mailed_code


def _mailed_code(email: str) -> str:
    """Do what the worker process does with the newest request for a code, and read the mail."""
    with db.transaction() as session:
        requested = select(Event.id).where(Event.type == codes.REQUESTED).order_by(Event.id.desc()).limit(1)
        event_id = session.scalars(requested).one()
    background.send_code(event_id)
    newest = max(mail.folder().glob("*.eml"))
    found = message_from_bytes(newest.read_bytes(), policy=policy.default)
    assert found["To"] == email.lower()
    match = re.search(r"\b\d{6}\b", found.get_content())
    assert match is not None
    return match.group()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}

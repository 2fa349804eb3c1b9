"""Every route says who may call it, and means it."""

import re

import pytest
from litestar import get as litestar_get
from litestar.testing import TestClient

from api import app, openapi
from api.auth.callers import Anyone
from api.declared import BadRoute
from api.edge import Endpoint, get

# What needs no credentials. Whoever adds to this list says why here.
OPEN = {
    ("GET", "/health/live"),  # asked by machines that hold no credentials
    ("GET", "/health/ready"),
    ("GET", "/metrics"),  # figures without people; not passed on by the public proxy
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
    ("POST", "/v1/worker/auth/codes"),  # how one gets credentials
    ("POST", "/v1/worker/auth/tokens"),
    ("POST", "/v1/worker/auth/refresh"),
    ("POST", "/v1/staff/auth/sessions"),
}
ENDPOINTS = openapi.endpoints_of(app.build())


def test_only_the_listed_routes_are_open() -> None:
    assert {(e.method, e.path) for e in ENDPOINTS if isinstance(e.who, Anyone)} == OPEN


def test_names_are_unique() -> None:
    names = [endpoint.name for endpoint in ENDPOINTS]
    assert len(names) == len(set(names))


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("endpoint", [e for e in ENDPOINTS if not isinstance(e.who, Anyone)], ids=lambda e: e.name)
def test_refuses_strangers_before_looking_at_anything(endpoint: Endpoint, configure: object) -> None:
    configure(anonymous_requests_per_minute=1_000)  # type: ignore[operator]
    path = re.sub(r"{\w+:\w+}", "whatever", endpoint.path)
    with TestClient(app.build()) as client:
        for headers in ({}, {"Authorization": "Bearer fw_live_nobody"}, {"Authorization": "Basic YTpi"}):
            answer = client.request(endpoint.method, path, headers=headers)
            assert answer.status_code == 401, answer.text
            assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_handler_that_does_not_say_who_stops_the_start() -> None:
    @litestar_get("/sneaked-in", sync_to_thread=False)
    def sneaked_in() -> None: ...

    from types import SimpleNamespace

    with pytest.raises(BadRoute, match="who may call"):
        app.build([SimpleNamespace(sneaked_in=sneaked_in)])


def test_who_is_one_of_ours() -> None:
    with pytest.raises(BadRoute, match="who may call"):
        get("/x", who="anyone", summary="x")  # type: ignore[arg-type]

"""A house for every journey, and a look at its books afterwards."""

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn

from api import app, limits, wiring
from infra import outbox
from tests.journeys.house import House


@pytest.fixture(scope="session")
def address(database: str) -> Iterator[str]:
    """The API, answering on a port of its own as long as the tests run."""
    server = uvicorn.Server(uvicorn.Config(app.build(), log_config=None, access_log=False))
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)


@pytest.fixture
def house(
    address: str,
    database: str,
    configure: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Iterator[House]:
    """
    The whole house. After every journey the books balance, every slot is where the assignments say, no background
    function was given up, and no request was answered with a 5xx.
    """
    configure(anonymous_requests_per_minute=100_000)  # all of a journey's people call from one address
    monkeypatch.setattr(outbox, "_listeners", outbox._listeners)
    monkeypatch.setattr(outbox, "_ring", outbox._ring)
    monkeypatch.setattr(limits, "_silent_until", 0.0)
    wiring.wire()
    broken: list[str] = []

    def note(response: httpx.Response) -> None:
        if response.status_code >= 500:
            response.read()
            broken.append(f"{response.request.method} {response.request.url}: {response.status_code} {response.text}")

    pool = httpx.Limits(max_connections=256, max_keepalive_connections=256)
    with httpx.Client(base_url=address, timeout=60, event_hooks={"response": [note]}, limits=pool) as http:
        house = House(http, tmp_path)
        yield house
        house.stop_processes()
        assert broken == []
        assert house.inconsistencies() == []

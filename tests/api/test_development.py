"""`footwork up`: it never takes another program's answers for its own."""

import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from api import development
from api.development import House, NotReady, PortTaken
from infra.embedded.processes import Command, Group


@pytest.fixture
def taken() -> Iterator[int]:
    """The port of a stranger who says that all is well."""

    class Fine(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Quietly."""

    with HTTPServer(("127.0.0.1", 0), Fine) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_a_taken_port_is_named_before_anything_starts(taken: int, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with (
        pytest.raises(PortTaken, match=f"Port {taken} .*--port"),
        development.running(data, port=taken, report=Console(quiet=True)),
    ):
        pass
    assert not data.exists()


def test_up_says_so_in_one_line(taken: int, tmp_path: Path) -> None:
    said = Console(width=40)
    with said.capture() as captured:
        assert development.up(tmp_path / "data", taken, said) == 1
    assert "--port" in captured.get()
    assert captured.get().count("\n") == 1


def test_a_strangers_answer_is_not_ours(taken: int, tmp_path: Path) -> None:
    roles = Group(lambda _: None)
    supervisor: Any = SimpleNamespace(poll=list)
    house = House(f"http://127.0.0.1:{taken}", supervisor, roles, {})
    ended = Command([sys.executable, "-c", "print('address in use'); raise SystemExit(3)"], {})
    house.children["serve"] = roles.start("serve", ended, tmp_path / "serve.log")
    house.children["serve"].wait(10)
    with pytest.raises(NotReady, match="exit code 3") as said:
        development._await_ready(house)
    roles.stop()
    assert "address in use" in str(said.value)


def test_a_port_somebody_just_left_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = cast(int, server.getsockname()[1])
        with socket.create_connection(("127.0.0.1", port)):
            server.accept()[0].close()  # who closes first leaves the rest of a connection behind
    development._require_free(port)

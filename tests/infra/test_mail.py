"""Mail lands in a folder in development, and goes by SMTP where a server is named."""

import socketserver
import threading
from collections.abc import Callable, Iterator
from email import message_from_bytes, policy
from typing import Any

import pytest

from infra import db, mail


class _Conversation(socketserver.StreamRequestHandler):
    """As much of RFC 5321 as one client needs, without extensions."""

    server: Any

    def handle(self) -> None:
        self._say("220 ready")
        for line in self.rfile:
            word = line.split()[0].upper() if line.split() else b""
            if word == b"DATA":
                self._say("354 go on")
                lines = []
                while (text := self.rfile.readline()) not in (b".\r\n", b""):
                    lines.append(text)
                self.server.got.append(b"".join(lines))
                self._say(self.server.verdict)
            elif word == b"QUIT":
                self._say("221 bye")
                return
            else:
                self._say("250 ok")

    def _say(self, text: str) -> None:
        self.wfile.write(text.encode() + b"\r\n")


@pytest.fixture
def server() -> Iterator[Any]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Conversation) as server:
        server.daemon_threads = True
        server.got, server.verdict = [], "250 taken"  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_lands_in_the_folder(configure: Callable[..., None], tmp_path: Any) -> None:
    configure(data_folder=str(tmp_path))
    mail.send(to="ana@example.org", subject="Grüße", text="Zeile eins\n")
    mail.send(to="ben@example.org", subject="Two", text="two\n")
    first, second = (message_from_bytes(p.read_bytes(), policy=policy.default) for p in sorted(mail.folder().iterdir()))
    assert (first["To"], first["Subject"], first.get_content()) == ("ana@example.org", "Grüße", "Zeile eins\n")
    assert second["To"] == "ben@example.org"
    assert first["Message-ID"].endswith("@footwork.example>")


def test_goes_to_the_server_that_is_named(configure: Callable[..., None], server: Any, tmp_path: Any) -> None:
    configure(data_folder=str(tmp_path), smtp_url=f"smtp://127.0.0.1:{server.server_address[1]}")
    mail.send(to="ana@example.org", subject="One", text="one\n")
    (got,) = server.got
    assert message_from_bytes(got, policy=policy.default)["To"] == "ana@example.org"
    assert not mail.folder().exists()


def test_a_refusal_is_raised_so_that_it_is_tried_again(configure: Callable[..., None], server: Any) -> None:
    configure(smtp_url=f"smtp://127.0.0.1:{server.server_address[1]}")
    server.verdict = "451 later"
    with pytest.raises(OSError, match="451"):
        mail.send(to="ana@example.org", subject="One", text="one\n")


def test_no_header_can_be_smuggled_in(configure: Callable[..., None], tmp_path: Any) -> None:
    configure(data_folder=str(tmp_path))
    with pytest.raises(ValueError, match=r"[Hh]eader|linefeed"):
        mail.send(to="ana@example.org\nBcc: eve@example.org", subject="One", text="one\n")


def test_not_inside_a_transaction(database: str) -> None:
    with pytest.raises(db.NetworkInTransaction), db.transaction():
        mail.send(to="ana@example.org", subject="One", text="one\n")

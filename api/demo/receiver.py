"""A buyer's server: takes webhooks, keeps them as they came, and verifies them as the buyer would."""

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from api.demo.phone import Json


@dataclass(frozen=True)
class Letter:
    """One request that came in."""

    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> Json:
        found: Json = json.loads(self.body)
        return found


@dataclass
class Receiver:
    """What came in, by message id: a receiver drops what it knows already, as the standard asks."""

    url: str
    letters: dict[str, Letter] = field(default_factory=dict)
    _came: threading.Condition = field(default_factory=threading.Condition, repr=False)

    def take(self, letter: Letter) -> None:
        with self._came:
            self.letters.setdefault(letter.headers.get("webhook-id", ""), letter)
            self._came.notify_all()

    def wait_for(self, types: dict[str, int], seconds: float) -> bool:
        """Whether at least so many of each type of event come within so many seconds."""
        with self._came:
            return self._came.wait_for(
                lambda: all(self.counts().get(type, 0) >= count for type, count in types.items()), seconds
            )

    def counts(self) -> dict[str, int]:
        """How many of each type of event came."""
        types = [letter.event["type"] for letter in self.letters.values()]
        return {type: types.count(type) for type in sorted(set(types))}

    def about(self, type: str, subject: str) -> Letter | None:
        """The letter of this type about this subject."""
        for letter in self.letters.values():
            if letter.event["type"] == type and letter.event["data"]["subject"] == subject:
                return letter
        return None


@contextmanager
def listening() -> Iterator[Receiver]:
    """A receiver on a free port of this machine, until the block ends."""

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("content-length", "0"))
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.take(Letter(headers, self.rfile.read(length)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """The report shows what came; nothing goes to the terminal meanwhile."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    receiver = Receiver(f"http://127.0.0.1:{server.server_port}/footwork")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()


def is_genuine(letter: Letter, secret: str) -> bool:
    """What the official library of the standard says (https://www.standardwebhooks.com)."""
    from standardwebhooks import Webhook, WebhookVerificationError

    try:
        Webhook(secret).verify(letter.body, letter.headers)
    except WebhookVerificationError:
        return False
    return True


def is_genuine_by_other_form(letter: Letter, secret: str) -> bool:
    """`t=…,v1=…`, verified in the few lines that a buyer without a library writes."""
    parts = [part.partition("=") for part in letter.headers.get("footwork-signature", "").split(",")]
    moment = next((value for name, _, value in parts if name == "t"), "")
    ours = hmac.new(secret.encode(), f"{moment}.".encode() + letter.body, hashlib.sha256).hexdigest()
    return any(name == "v1" and hmac.compare_digest(value, ours) for name, _, value in parts)


def tampered(letter: Letter) -> Letter:
    """The same, saying the opposite."""
    return Letter(letter.headers, letter.body.replace(b"submission.approved", b"submission.rejected"))

"""The buyer's server hears what happened, signed, and only what concerns this buyer."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from standardwebhooks import Webhook

from tests.journeys import photos
from tests.journeys.house import House


class Receiver(ThreadingHTTPServer):
    """A buyer's server. It refuses as often as it was told, then takes everything."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.refuse = 0
        self.got: list[tuple[dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
        refused = self.server.refuse > 0
        self.server.refuse -= refused
        self.send_response(503 if refused else 200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def receiver(configure: Callable[..., None]) -> Iterator[Receiver]:
    configure(webhook_private_addresses=True)
    with Receiver() as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


def test_webhook_is_delivered_signed(house: House, receiver: Receiver) -> None:
    buyer, other, ana = house.buyer("Acme"), house.buyer("Bolt"), house.worker("gold")
    endpoint = buyer.call("POST", "/v1/webhook-endpoints", {"url": receiver.url})
    job = buyer.post_job(files_needed=1, price_per_file_cents=50)
    elsewhere = other.post_job(files_needed=1, price_per_file_cents=50)
    submission = house.verdict(ana, ana.send(job["id"], photos.photo("coffee")))
    house.verdict(ana, ana.send(elsewhere["id"], photos.photo("rocket")))

    letters = {}
    for headers, body in receiver.got:
        letter = Webhook(endpoint["secret"]).verify(body, headers)
        assert letter == json.loads(body)
        letters[letter["type"]] = letter
    assert set(letters) == {
        "job.published", "job.filled", "submission.scored", "submission.approved", "job.completed",
    }  # fmt: skip
    assert len(receiver.got) == len(letters), "each once, and nothing of the other buyer"
    told = letters["submission.approved"]["data"]
    assert (told["submission"], told["job"], told["price_cents"]) == (submission["id"], job["id"], 50)
    assert told["stars"] == submission["stars"]
    assert ana.email not in str(receiver.got)
    deliveries = buyer.call("GET", f"/v1/webhook-endpoints/{endpoint['id']}/deliveries")["data"]
    assert {delivery["state"] for delivery in deliveries} == {"delivered"}


def test_webhook_that_was_refused_comes_again_with_the_same_id(house: House, receiver: Receiver) -> None:
    buyer = house.buyer()
    buyer.call("POST", "/v1/webhook-endpoints", {"url": receiver.url, "event_types": ["job.published"]})
    receiver.refuse = 1
    buyer.post_job()
    house.work()
    assert len(receiver.got) == 1
    house.pass_time(59)
    house.ring_clock()
    assert len(receiver.got) == 1, "after a minute, not before"
    house.pass_time(2)
    house.ring_clock()
    first, second = receiver.got
    assert first[0]["webhook-id"] == second[0]["webhook-id"]
    assert first[1] == second[1], "the same bytes"

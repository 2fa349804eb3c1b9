"""Storage that hangs: it may hold a few threads for a few seconds, never all of them."""

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from infra import blobs
from infra.blobs import STATS_AT_ONCE, StorageAway


@pytest.fixture
def hanging_storage(configure: Callable[..., None]) -> Iterator[None]:
    """It takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        configure(s3_endpoint=f"http://127.0.0.1:{server.getsockname()[1]}")
        blobs.prepare()  # making a client takes longer than some of what is measured here
        yield


def stat() -> float:
    """How long it took to be refused."""
    start = time.monotonic()
    with pytest.raises(StorageAway) as refused:
        blobs.stat("some/key")
    assert refused.value.members["retry_after"] == 5
    return time.monotonic() - start


def test_a_request_does_not_wait_for_long(hanging_storage: None) -> None:
    assert stat() < 4


def test_a_few_wait_and_the_others_are_refused_at_once(hanging_storage: None) -> None:
    with ThreadPoolExecutor(16) as threads:
        waited = sorted(threads.map(lambda _: stat(), range(16)))
    assert waited[-1] < 5
    assert sum(seconds > 1.5 for seconds in waited) == STATS_AT_ONCE


def test_it_is_asked_again_once_the_waiting_is_over(hanging_storage: None) -> None:
    with ThreadPoolExecutor(2 * STATS_AT_ONCE) as threads:
        list(threads.map(lambda _: stat(), range(2 * STATS_AT_ONCE)))
    assert stat() > 1.5, "every place is free again, so storage was asked"


def test_many_at_once_are_served_while_storage_is_well(services: object) -> None:
    blobs.put("some/key", b"abc", "text/plain")
    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(lambda _: blobs.stat("some/key"), range(16)))
    blobs.delete("some/key")
    assert [it.size for it in found if it] == [3] * 16

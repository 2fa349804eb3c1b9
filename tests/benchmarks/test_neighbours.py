"""
Look-up against a linear scan, in one run: `pytest tests/benchmarks/test_neighbours.py -s`, HASHES=10000000 for more.

The scan is the fastest that numpy gives on one core (blocks that fit the cache, XOR, `np.bitwise_count`); a plain
`np.bitwise_count(words ^ query).sum(axis=1)` stands beside it. Hashes are random, errors are spread evenly: for the index
beyond its exact radius that is the worst case, attacks on real photographs are kinder (tests/benchmarks/test_matching.py).
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from ingest.neighbours import Index, Rows, extend, index, nominate_among, search

COUNT = int(os.environ.get("HASHES", "1000000"))
QUERIES = 30  # planted
TIMED = 11  # of them

FIRST_QUERY = """
import os, time
from pathlib import Path
from ingest.neighbours import Index
query = [os.urandom(32) for _ in range(8)]
start = time.perf_counter()
Index.open(Path({path!r})).nominate(query, radius=31)
print((time.perf_counter() - start) * 1000)
"""


@pytest.fixture(scope="module")
def stored() -> Rows:
    rng = np.random.default_rng(1)
    return Rows(rng.integers(0, 256, (COUNT, 32), dtype=np.uint8), np.arange(1, COUNT + 1))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("index") / "pdq.index"


@pytest.fixture(scope="module")
def built(stored: Rows, path: Path) -> Index:
    start = time.perf_counter()
    one = Index.build(path, stored, watermark=COUNT)
    seconds = time.perf_counter() - start
    print(f"\n\n{COUNT:,} hashes: built in {seconds:.1f} s, {path.stat().st_size / COUNT:.0f} bytes a hash\n")
    return one


def planted(stored: Rows, bits: int, rng: np.random.Generator, variants: int) -> tuple[int, list[bytes]]:
    """The id of a stored hash, and a query that has it among its variants with so many bits changed."""
    place = int(rng.integers(COUNT))
    changed = np.unpackbits(stored.hashes[place])
    changed[rng.choice(256, bits, replace=False)] ^= 1
    query = [rng.bytes(32) for _ in range(variants)]
    query[int(rng.integers(variants))] = np.packbits(changed).tobytes()
    return int(stored.ids[place]), query


def words_of(query: list[bytes]) -> npt.NDArray[np.uint64]:
    return np.frombuffer(b"".join(query), np.uint64).reshape(-1, 4)


def milliseconds(
    works: dict[str, Callable[[list[bytes]], object]], queries: list[list[bytes]]
) -> dict[str, list[float]]:
    """Times of each, sorted; in turns, so that a busy machine is busy for all, and each finds the cache as others left it."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for query in [queries[0], *queries]:
        for name, work in works.items():
            start = time.perf_counter()
            work(query)
            taken[name].append((time.perf_counter() - start) * 1000)
    return {name: sorted(times[1:]) for name, times in taken.items()}


@pytest.mark.parametrize("variants", [1, 8])
def test_look_up_against_a_linear_scan(built: Index, stored: Rows, variants: int) -> None:
    rng = np.random.default_rng(2)
    words = search.as_words(stored.hashes)
    wanted = [planted(stored, int(rng.integers(32)), rng, variants) for _ in range(QUERIES)]
    queries = [query for _, query in wanted]
    taken = milliseconds(
        {
            "look-up": lambda query: built.nominate(query, radius=31),
            "scan in blocks": lambda query: search.scan(words, words_of(query), 31),
            "plain scan": lambda query: [
                (np.bitwise_count(words ^ one).sum(axis=1) <= 31).any() for one in words_of(query)
            ],
        },
        queries[:TIMED],
    )
    for id_, query in wanted:
        near = search.scan(words, words_of(query), 31)
        assert {one.id for one in built.nominate(query, radius=31)} == set(stored.ids[near.positions]) >= {id_}
    medians = {name: statistics.median(times) for name, times in taken.items()}
    print(f"{variants} variant(s), radius 31, recall 1 of {QUERIES}; medians of {TIMED}, ms, and ratio to the look-up:")
    for name, median in medians.items():
        print(f"  {name:15} {median:8.2f} {median / medians['look-up']:8.1f} x   (worst {taken[name][-1]:.2f})")
    ratio = medians["scan in blocks"] / medians["look-up"]
    assert ratio > 3


def test_the_first_look_up_of_a_fresh_process(built: Index, path: Path) -> None:
    script = FIRST_QUERY.format(path=str(path))
    taken = [float(subprocess.check_output([sys.executable, "-c", script])) for _ in range(5)]
    print(f"fresh process, open and first look-up of 8 variants: {statistics.median(taken):.1f} ms")
    assert len(built) == COUNT


def test_nominations_to_88(built: Index, stored: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    As the gate asks: 8 variants, radius 88. Both roads, though only one is taken at this size.

    The nearest 1,000, not 20: among 10^7 hashes some 20 strangers lie within 88 bits of one of 8 random variants.
    """
    rng = np.random.default_rng(3)
    table: dict[int, dict[str, float]] = {}
    for road, limit in (("scan", COUNT), ("chunks", 0)):
        monkeypatch.setattr(index, "SCAN_LIMIT", limit)
        for bits in (31, 43, 52, 64, 76, 88):
            wanted = [planted(stored, bits, rng, 8) for _ in range(QUERIES if road == "chunks" else 5)]
            recall = [id_ in {one.id for one in built.nominate(query, k=1000)} for id_, query in wanted]
            table.setdefault(bits, {})[road] = statistics.mean(recall)
            assert bits > built.exact_to() or all(recall)
        taken = milliseconds({road: built.nominate}, [query for _, query in wanted])
        print(f"8 variants, radius 88, by {road}: {statistics.median(taken[road]):.1f} ms")
    print(
        "recall at distance: " + ", ".join(f"{d}: {row['scan']:.2f} / {row['chunks']:.2f}" for d, row in table.items())
    )


def test_insert(built: Index, stored: Rows, path: Path) -> None:
    """A new hash stands in the delta from its commit on; now and then the delta is written into the file."""
    rng = np.random.default_rng(4)
    delta = Rows(rng.integers(0, 256, (5000, 32), dtype=np.uint8), np.arange(5000) + COUNT + 1)
    queries = [[rng.bytes(32) for _ in range(8)] for _ in range(20)]
    taken = milliseconds({"delta": lambda query: nominate_among(delta, query)}, queries)["delta"]
    start = time.perf_counter()
    young = zip(delta.ids.tolist(), map(bytes, delta.hashes), strict=True)
    assert extend(path, young, watermark=COUNT + 5000)
    seconds = time.perf_counter() - start
    assert len(Index.open(path)) == COUNT + 5000
    print(
        f"delta of 5,000: searched for 8 variants in {statistics.median(taken):.2f} ms, written to the file in {seconds:.1f} s"
    )
    assert statistics.median(taken) < 5

"""The index finds exactly what looking at every hash finds, whoever writes beside the reader and whatever crashed before."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.neighbours import (
    BrokenIndex,
    Index,
    Nomination,
    Rows,
    extend,
    gather,
    index,
    merge,
    nominate_among,
    rebuild,
)

Hashes = npt.NDArray[np.uint8]

COUNT = 20_000


@pytest.fixture(scope="module")
def stored() -> Rows:
    return Rows(np.random.default_rng(1).integers(0, 256, (COUNT, 32), dtype=np.uint8), np.arange(COUNT) * 3 + 7)


@pytest.fixture(scope="module")
def built(stored: Rows, tmp_path_factory: pytest.TempPathFactory) -> Index:
    return Index.build(tmp_path_factory.mktemp("index") / "pdq.index", stored, watermark=int(stored.ids.max()))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pdq.index"


def pairs(rows: Rows) -> Iterator[tuple[int, bytes]]:
    return ((int(id_), pdq.tobytes()) for pdq, id_ in zip(rows.hashes, rows.ids, strict=True))


def flipped(pdq: Hashes, bits: int, rng: np.random.Generator) -> bytes:
    """The hash with so many bits changed, anywhere."""
    changed = np.unpackbits(pdq)
    changed[rng.choice(256, bits, replace=False)] ^= 1
    return np.packbits(changed).tobytes()


def by_looking_at_all(rows: Rows, variants: list[bytes], k: int, radius: int) -> list[tuple[int, int]]:
    """(id, distance) by the plainest code there is."""
    nearest = {
        id_: min((int.from_bytes(pdq) ^ int.from_bytes(variant)).bit_count() for variant in variants)
        for id_, pdq in pairs(rows)
    }
    return sorted(((id_, d) for id_, d in nearest.items() if d <= radius), key=lambda pair: (pair[1], pair[0]))[:k]


def found(nominations: list[Nomination]) -> list[tuple[int, int]]:
    return [(one.id, one.distance) for one in nominations]


@pytest.mark.parametrize("radius", [0, 10, 31, 43, 60, 88])
def test_every_hash_within_the_radius_is_nominated(built: Index, stored: Rows, radius: int) -> None:
    rng = np.random.default_rng(radius)
    assert built.exact_to() >= radius
    for place in rng.choice(COUNT, 60, replace=False):
        assert found(built.nominate([flipped(stored.hashes[place], radius, rng)], radius=radius))[0] == (
            stored.ids[place],
            radius,
        )


@pytest.mark.parametrize("radius", [31, 88, 100])
def test_nominations_are_those_of_a_plain_search(stored: Rows, radius: int, path: Path) -> None:
    rows = Rows(stored.hashes[:500], stored.ids[:500])
    few = Index.build(path, rows, watermark=10_000)
    rng = np.random.default_rng(3)
    for _ in range(5):
        variants = [flipped(rows.hashes[place], int(rng.integers(90)), rng) for place in rng.choice(500, 8)]
        assert found(few.nominate(variants, k=5, radius=radius)) == by_looking_at_all(rows, variants, 5, radius)


def test_the_chunks_find_what_the_scan_finds(built: Index, stored: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the limit for scanning, wide searches stay exact as far as they say."""
    rng = np.random.default_rng(5)
    variants = [flipped(stored.hashes[place], int(rng.integers(44)), rng) for place in rng.choice(COUNT, 8)]
    scanned = built.nominate(variants, radius=88)
    monkeypatch.setattr(index, "SCAN_LIMIT", 0)
    assert built.exact_to() == 43
    probed = built.nominate(variants, radius=88)
    assert [one for one in probed if one.distance <= 43] == [one for one in scanned if one.distance <= 43]
    assert len([one for one in probed if one.distance <= 43]) == 8


def test_the_variant_that_matched_is_told(built: Index, stored: Rows) -> None:
    rng = np.random.default_rng(6)
    variants = [rng.bytes(32) for _ in range(8)]
    variants[5] = flipped(stored.hashes[77], 12, rng)
    assert built.nominate(variants, radius=31) == [Nomination(id=int(stored.ids[77]), distance=12, variant=5)]


def test_nearest_first_each_id_once_and_no_more_than_asked_for(built: Index, stored: Rows) -> None:
    rng = np.random.default_rng(7)
    variants = [flipped(stored.hashes[9], bits, rng) for bits in (30, 4, 18)]
    variants += [flipped(stored.hashes[place], 20, rng) for place in (100, 200, 300)]
    assert found(built.nominate(variants)) == [
        (int(stored.ids[place]), d) for place, d in ((9, 4), (100, 20), (200, 20), (300, 20))
    ]
    assert len(built.nominate(variants, k=2)) == 2


def test_a_thousand_copies_of_one_hash_give_the_first_ones(path: Path) -> None:
    same = Rows(np.tile(np.arange(32, dtype=np.uint8), (1000, 1)), np.arange(1000)[::-1].copy())
    assert found(Index.build(path, same, 999).nominate([bytes(range(32))], k=3)) == [(0, 0), (1, 0), (2, 0)]


def test_the_complement_of_a_hash_is_not_its_neighbour(path: Path) -> None:
    """256 differing bits do not fit into the scan's eight-bit sums."""
    pdq = np.random.default_rng(8).integers(0, 256, (1, 32), dtype=np.uint8)
    one = Index.build(path, Rows(pdq, np.array([1])), 1)
    assert one.nominate([(~pdq).tobytes()]) == []
    assert found(one.nominate([(~pdq).tobytes()], radius=256)) == [(1, 256)]


def test_young_rows_are_found_in_the_delta(built: Index, stored: Rows) -> None:
    rng = np.random.default_rng(9)
    young = Rows(rng.integers(0, 256, (50, 32), dtype=np.uint8), np.arange(50) + 100_000)
    query = [flipped(young.hashes[3], 25, rng), flipped(stored.hashes[3], 10, rng)]
    assert found(built.nominate(query, delta=young)) == [(int(stored.ids[3]), 10), (100_003, 25)]
    assert found(nominate_among(young, query)) == [(100_003, 25)]
    assert merge(built.nominate(query), nominate_among(young, query)) == built.nominate(query, delta=young)


def test_a_row_in_index_and_delta_counts_once(built: Index, stored: Rows) -> None:
    again = Rows(stored.hashes[:5], stored.ids[:5])
    assert found(built.nominate([stored.hashes[2].tobytes()], delta=again)) == [(int(stored.ids[2]), 0)]


def test_before_the_first_build_everything_is_delta(path: Path, stored: Rows) -> None:
    nothing = Index.open(path)
    assert (len(nothing), nothing.watermark) == (0, 0)
    assert nothing.nominate([stored.hashes[0].tobytes()]) == []
    assert found(nothing.nominate([stored.hashes[0].tobytes()], delta=stored)) == [(7, 0)]
    assert Index.build(path, gather([]), 12).nominate([bytes(32)]) == []


def test_an_index_survives_the_process(path: Path, stored: Rows) -> None:
    assert rebuild(path, pairs(stored), watermark=123)
    again = Index.open(path)
    assert (len(again), again.watermark) == (COUNT, 123)
    assert (again.rows.hashes == stored.hashes).all()
    assert found(again.nominate([stored.hashes[-1].tobytes()])) == [(int(stored.ids[-1]), 0)]


def test_extending_keeps_what_was_there_and_ignores_what_it_has(path: Path, stored: Rows) -> None:
    old, new = Rows(stored.hashes[:100], stored.ids[:100]), Rows(stored.hashes[100:150], stored.ids[100:150])
    rebuild(path, pairs(old), watermark=int(old.ids.max()))
    extend(path, [*pairs(old), *pairs(new)], watermark=int(new.ids.max()))
    extended = Index.open(path)
    assert (len(extended), extended.watermark) == (150, int(new.ids.max()))
    assert [extended.nominate([pdq.tobytes()])[0].id for pdq in stored.hashes[:150]] == stored.ids[:150].tolist()


def test_extending_nothing_builds_the_first(path: Path) -> None:
    assert extend(path, [(5, bytes(32))], watermark=5)
    assert found(Index.open(path).nominate([bytes(32)])) == [(5, 0)]


def test_readers_keep_the_generation_they_opened(path: Path, stored: Rows) -> None:
    reader = Index.build(path, stored, watermark=1)
    Index.build(path, Rows(stored.hashes[:1], stored.ids[:1]), watermark=2)
    assert found(reader.nominate([stored.hashes[55].tobytes()])) == [(int(stored.ids[55]), 0)]
    assert Index.open(path).nominate([stored.hashes[55].tobytes()]) == []


def test_a_build_cut_short_leaves_the_old_index(path: Path, stored: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    Index.build(path, stored, watermark=1)

    def power_cut(_handle: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as cut:
        cut.setattr(os, "fsync", power_cut)
        with pytest.raises(KeyboardInterrupt):
            rebuild(path, [], watermark=2)
    assert len(Index.open(path)) == COUNT
    assert rebuild(path, pairs(stored), watermark=3)
    assert {file.name for file in path.parent.iterdir()} == {"pdq.index", "pdq.index.lock"}


@pytest.mark.parametrize(
    "damage", [b"", b"FWPDQ 0\n" + bytes(5000), b"FWPDQ 1\n{}" + bytes(4086), b"FWPDQ 1\nnonsense" + bytes(4080)]
)
def test_a_file_of_another_kind_is_named(path: Path, damage: bytes) -> None:
    path.write_bytes(damage)
    with pytest.raises(BrokenIndex, match="rebuild it"):
        Index.open(path)
    assert rebuild(path, [(1, bytes(32))], watermark=1)
    assert len(Index.open(path)) == 1


def test_a_file_cut_short_is_named(path: Path, stored: Rows) -> None:
    Index.build(path, stored, watermark=1)
    os.truncate(path, path.stat().st_size - 4096)
    with pytest.raises(BrokenIndex, match="should have"):
        Index.open(path)


def test_one_writer_at_a_time_and_a_dead_one_does_not_block(path: Path) -> None:
    with path.with_name("pdq.index.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert not rebuild(path, [(1, bytes(32))], watermark=1)
        assert not extend(path, [(1, bytes(32))], watermark=1)
    died = f"import fcntl, os; fcntl.flock(open({str(path)!r} + '.lock', 'w'), fcntl.LOCK_EX); os._exit(1)"
    subprocess.run([sys.executable, "-c", died], check=False)
    assert rebuild(path, [(1, bytes(32))], watermark=1)


def test_a_hash_of_another_length_is_refused(path: Path) -> None:
    with pytest.raises(ValueError, match="row 4: a PDQ hash has 32 bytes, this one has 31"):
        rebuild(path, [(3, bytes(32)), (4, bytes(31))], watermark=4)


def _ask(path: Path, query: bytes, times: int) -> set[tuple[int, int]]:
    """In another process: always the newest generation."""
    return {found(Index.open(path).nominate([query]))[0] for _ in range(times)}


def test_processes_search_while_another_replaces_the_index(path: Path, stored: Rows) -> None:
    rows = Rows(stored.hashes[:3000], stored.ids[:3000])
    Index.build(path, rows, watermark=0)
    query, expected = rows.hashes[1234].tobytes(), (int(rows.ids[1234]), 0)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as readers:
        asked = [readers.submit(_ask, path, query, 100) for _ in range(2)]
        for generation in range(1, 15):
            assert rebuild(path, pairs(rows), watermark=generation)
        assert [answer.result() for answer in asked] == [{expected}, {expected}]
    assert Index.open(path).watermark == 14


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_error_pattern_within_31_bits_is_found(built: Index, stored: Rows, data: st.DataObject) -> None:
    """Exactness does not depend on where the bits fall, on borders of chunks in particular."""
    place = data.draw(st.integers(0, COUNT - 1))
    start = data.draw(st.integers(0, 225))
    errors = data.draw(st.sets(st.integers(start, min(255, start + 40)) | st.integers(0, 255), max_size=31))
    bits = np.unpackbits(stored.hashes[place])
    bits[list(errors)] ^= 1
    assert built.nominate([np.packbits(bits).tobytes()], radius=31)[0].id == stored.ids[place]

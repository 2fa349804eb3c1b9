"""
What matching finds and whom it accuses: `PHOTOS=folder pytest tests/benchmarks/test_matching.py -s`

Every photograph of the folder is stored; every attack on every photograph goes the gate's way: hashed, nominated by the
index, verified by geometry. Then every pair of different photographs. Without PHOTOS, on the 17 photographs in the wheels
of scikit-image and scikit-learn, which say little about rare events: the bounds beside the rates say how little.

Bounds are Wilson's, 95 %; for no event in n trials the upper one is about 3.8 / n.
"""

import itertools
import statistics
import time
from collections import defaultdict
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ingest.geometry import Overlap, Picture, compare
from ingest.hashes import fingerprint, grey_copy, load_grey, trimmed
from ingest.neighbours import Index, Nomination, gather
from ingest.neighbours.chunks import CHUNKS, MAX_KEY_BITS, keys
from ingest.neighbours.index import WIDE_FLIPS
from tests.ingest.attacks import ATTACKS
from tests.ingest.photographs import collection, stereo_pair

REJECT_DISTANCE, REJECT_CORRELATION, REVIEW_CORRELATION = 31, 0.5, 0.3  # near-duplicates.md, recommendation 3
Z = 1.96


@dataclass(frozen=True)
class Outcome:
    """How far one attacked copy came, against its own original."""

    nomination: Nomination | None
    in_chunks: bool  # the index would have nominated it without scanning, among more hashes than it scans
    overlap: Overlap

    @property
    def verified(self) -> bool:
        return self.nomination is not None and self.overlap.correlation >= REVIEW_CORRELATION

    @property
    def rejected(self) -> bool:
        return (
            self.nomination is not None
            and self.nomination.distance <= REJECT_DISTANCE
            and self.overlap.correlation >= REJECT_CORRELATION
        )


@pytest.fixture(scope="module")
def photos() -> dict[str, Image.Image]:
    return collection()


def wilson(events: int, trials: int) -> tuple[float, float]:
    """95 % bounds of a rate (Wilson, JASA 1927)."""
    share, spread = events / trials, Z * sqrt(events * (trials - events) / trials + Z * Z / 4)
    middle = share * trials + Z * Z / 2
    return (middle - spread) / (trials + Z * Z), (middle + spread) / (trials + Z * Z)


def shares_a_chunk(query: tuple[bytes, ...], stored: bytes) -> bool:
    one = np.frombuffer(b"".join(query), np.uint8).reshape(-1, 32)
    other = np.frombuffer(stored, np.uint8).reshape(1, 32)
    return any(
        bool((np.bitwise_count(keys(one, chunk, MAX_KEY_BITS) ^ keys(other, chunk, MAX_KEY_BITS)) <= WIDE_FLIPS).any())
        for chunk in range(CHUNKS)
    )


def test_recall_per_attack(photos: dict[str, Image.Image], tmp_path: Path) -> None:
    pictures = {name: trimmed(photo) for name, photo in photos.items()}
    telling = {name: found for name, picture in pictures.items() if (found := fingerprint(picture)).telling}
    stored = {name: Picture(load_grey(grey_copy(pictures[name]))) for name in telling}
    numbered = list(telling)
    rows = gather((number, telling[name].pdq) for number, name in enumerate(numbered))
    index = Index.build(tmp_path / "pdq.index", rows, len(rows.ids))

    outcomes = defaultdict(list)
    for number, name in enumerate(numbered):
        for group, attacks in ATTACKS.items():
            for attack in attacks.values():
                copy = trimmed(attack(photos[name]))
                found = fingerprint(copy)
                nominations = {one.id: one for one in index.nominate(found.variants)}
                nomination = nominations.get(number)
                variant = nomination.variant if nomination else None
                overlap = compare(load_grey(grey_copy(copy)), stored[name], variant)
                in_chunks = nomination is not None and shares_a_chunk(found.variants, telling[name].pdq)
                outcomes[group].append(Outcome(nomination, in_chunks, overlap))

    print(f"\n\n{len(telling)} photographs ({len(photos) - len(telling)} too flat to tell), {len(rows.ids)} stored\n")
    print("| attack | copies | hash <= 31 | hash <= 88 | same, by chunks | geometry >= 0.3 | >= 0.5 | rejected", end="")
    print(" | rejected or to a human (95 %) |\n|---|---|---|---|---|---|---|---|---|")
    for group, of_group in outcomes.items():
        n = len(of_group)
        caught = sum(one.verified or one.rejected for one in of_group)
        low, high = wilson(caught, n)
        columns = [
            sum(one.nomination is not None and one.nomination.distance <= REJECT_DISTANCE for one in of_group),
            sum(one.nomination is not None for one in of_group),
            sum(one.in_chunks for one in of_group),
            sum(one.overlap.correlation >= REVIEW_CORRELATION for one in of_group),
            sum(one.overlap.correlation >= REJECT_CORRELATION for one in of_group),
            sum(one.rejected for one in of_group),
        ]
        shares = " | ".join(f"{column / n:.3f}" for column in columns)
        print(f"| {group} | {n} | {shares} | {caught / n:.3f} ({low:.3f} to {high:.3f}) |")
    for group in ("recode", "mirror, 90"):
        assert sum(one.rejected for one in outcomes[group]) >= 0.9 * len(outcomes[group])


def test_false_matches_over_all_honest_pairs(photos: dict[str, Image.Image]) -> None:
    pictures = {name: trimmed(photo) for name, photo in photos.items()}
    found = {name: fingerprint(picture) for name, picture in pictures.items()}
    names = [name for name in pictures if found[name].telling]
    greys = {name: Picture(load_grey(grey_copy(pictures[name]))) for name in names}
    counts = dict.fromkeys(("hash <= 31", "hash <= 88", "to a human", "rejected"), 0)
    pairs = 0
    for i, one in enumerate(names):
        for other in names[:i]:
            distances = [
                (int.from_bytes(v) ^ int.from_bytes(found[other].pdq)).bit_count() for v in found[one].variants
            ]
            nearest = int(np.argmin(distances))
            pairs += 1
            if distances[nearest] > 88:
                continue
            correlation = compare(greys[one], greys[other], nearest).correlation
            near = distances[nearest] <= REJECT_DISTANCE
            counts["hash <= 88"] += 1
            counts["hash <= 31"] += near
            counts["rejected"] += near and correlation >= REJECT_CORRELATION
            counts["to a human"] += correlation >= REVIEW_CORRELATION and not (
                near and correlation >= REJECT_CORRELATION
            )
            if correlation >= REVIEW_CORRELATION:
                print(f"look at {one} and {other}: {distances[nearest]} bits, correlation {correlation:.2f}")
    print(
        f"\n\n{pairs:,} honest pairs, 8 variants each\n\n| outcome | pairs | upper bound of the rate (95 %) |\n|---|---|---|"
    )
    for outcome, count in counts.items():
        print(f"| {outcome} | {count} | {wilson(count, pairs)[1]:.1e} |")
    assert counts["rejected"] <= 1e-3 * pairs


def test_two_honest_captures_of_one_scene() -> None:
    left, right = map(trimmed, stereo_pair())
    one, other = fingerprint(left), fingerprint(right)
    bits = min((int.from_bytes(v) ^ int.from_bytes(other.pdq)).bit_count() for v in one.variants)
    overlap = compare(load_grey(grey_copy(left)), load_grey(grey_copy(right)))
    print(f"\n\nthe stereo pair: {bits} bits, correlation {overlap.correlation:.2f}, {overlap.inliers} inliers")
    assert bits > REJECT_DISTANCE


def test_what_a_pair_costs(photos: dict[str, Image.Image]) -> None:
    greys = [load_grey(grey_copy(trimmed(photo))) for photo in photos.values()]
    strangers, copies = [], []
    for one, other in itertools.pairwise(greys):
        query = Picture(one)  # its features are found once for all nominations
        compare(query, greys[0])
        strangers.append(seconds_to_compare(query, Picture(other)))
        copies.append(seconds_to_compare(Picture(one), Picture(one), 0))
    print(f"\n\na stranger is dismissed in {statistics.median(strangers) * 1000:.0f} ms", end=", ")
    print(f"an aligned copy verified in {statistics.median(copies) * 1000:.1f} ms")
    assert statistics.median(copies) < statistics.median(strangers)


def seconds_to_compare(one: Picture, other: Picture, variant: int | None = None) -> float:
    start = time.perf_counter()
    compare(one, other, variant)
    return time.perf_counter() - start

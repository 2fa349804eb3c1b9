"""Index: the stored hashes of one machine, ready to be asked for neighbours."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from ingest.neighbours import layout, search
from ingest.neighbours.chunks import CHUNKS, flips_for
from ingest.neighbours.rows import HASH_BYTES, Rows

MAX_RADIUS = 88  # beyond it one honest pair in 10^4 is a neighbour
NEAREST = 20

# Up to so many hashes a wide search looks at all of them (about 40 ms per 10^6 and query of 8 variants) and misses none.
SCAN_LIMIT = 2_000_000
# Beyond, chunks with up to three flips find them: all to radius 43, most to 64, the nearest of what lies beyond.
WIDE_FLIPS = 3


@dataclass(frozen=True, slots=True)
class Nomination:
    """A stored hash near the query's; a hash alone accuses nobody, geometry must look at the pictures."""

    id: int
    distance: int  # bits of 256
    variant: int  # which variant of the query: place in `geometry.DIHEDRAL`


class Index:
    """
    One generation of the index, immutable. Many threads and processes may ask it at once.

    ``watermark`` is the largest seq it was built to contain; rows younger than that are the caller's delta.
    """

    def __init__(self, contents: layout.Layout) -> None:
        self._contents = contents
        self.watermark = contents.watermark

    @classmethod
    def build(cls, path: Path, rows: Rows, watermark: int) -> Self:
        """Write a new generation to ``path``, in one step, and open it."""
        layout.write(path, rows, watermark)
        return cls(layout.read(path))

    @classmethod
    def open(cls, path: Path) -> Self:
        """
        The newest generation, or an empty index when none was built yet. Costs microseconds; open it per function.

        :raises BrokenIndex: the file is damaged and must be rebuilt
        """
        try:
            return cls(layout.read(path))
        except FileNotFoundError:
            return cls(layout.empty())

    def __len__(self) -> int:
        return len(self._contents.ids)

    @property
    def rows(self) -> Rows:
        """What it contains."""
        return Rows(self._contents.words.view(np.uint8), self._contents.ids)

    def exact_to(self) -> int:
        """The largest radius within which `nominate` misses nothing."""
        return 256 if len(self) <= SCAN_LIMIT else CHUNKS * (WIDE_FLIPS + 1) - 1

    def nominate(
        self, variants: Sequence[bytes], k: int = NEAREST, radius: int = MAX_RADIUS, delta: Rows | None = None
    ) -> list[Nomination]:
        """
        The ``k`` nearest stored hashes within ``radius`` bits of any variant, nearest first, each id once.

        Exact to `exact_to`; the delta is always searched exactly.
        """
        query = _query(variants)
        found = _identified(self._search(query, radius), self._contents.ids)
        young = [] if delta is None else nominate_among(delta, variants, k, radius)
        return merge(_nearest(found, k), young, k)

    def _search(self, query: npt.NDArray[np.uint8], radius: int) -> search.Hits:
        most_flips = flips_for(radius)
        if most_flips > WIDE_FLIPS and len(self) <= SCAN_LIMIT:
            return search.scan(self._contents.words, search.as_words(query), radius)
        return search.probe(self._contents, query, radius, min(most_flips, WIDE_FLIPS))


def nominate_among(
    rows: Rows, variants: Sequence[bytes], k: int = NEAREST, radius: int = MAX_RADIUS
) -> list[Nomination]:
    """The same of a few rows that stand in no index: 0.05 ms per thousand."""
    hits = search.scan(search.as_words(rows.hashes), search.as_words(_query(variants)), radius)
    return _nearest(_identified(hits, rows.ids), k)


def merge(some: Sequence[Nomination], others: Sequence[Nomination], k: int = NEAREST) -> list[Nomination]:
    """
    The ``k`` nearest of two answers to one query.

    Lets a caller ask the index before it takes a lock and only the delta under it: what the delta repeats counts once.
    """
    nearest: dict[int, Nomination] = {}
    for one in sorted([*some, *others], key=lambda one: (one.distance, one.id, one.variant)):
        nearest.setdefault(one.id, one)
    return list(nearest.values())[:k]


def _query(variants: Sequence[bytes]) -> npt.NDArray[np.uint8]:
    return np.frombuffer(b"".join(variants), np.uint8).reshape(-1, HASH_BYTES)


def _identified(hits: search.Hits, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Columns: distance, id, variant."""
    return np.stack([hits.distances, ids[hits.positions], hits.variants], axis=1)


def _nearest(found: npt.NDArray[np.int64], k: int) -> list[Nomination]:
    found = found[np.lexsort((found[:, 2], found[:, 1], found[:, 0]))]
    _, first = np.unique(found[:, 1], return_index=True)  # the first of an id is its nearest
    return [
        Nomination(id=int(id_), distance=int(distance), variant=int(variant))
        for distance, id_, variant in found[np.sort(first)[:k]]
    ]

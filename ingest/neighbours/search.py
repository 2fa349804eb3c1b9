"""Search: hits within a Hamming radius, by looking at every hash or at those that share a chunk with the query."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ingest.neighbours.chunks import CHUNKS, flips, keys
from ingest.neighbours.layout import Layout

BLOCK = 16_384  # hashes looked at together: 512 kB, which stay in the processor's cache for all variants of the query

Words = npt.NDArray[np.uint64]


class Hits(NamedTuple):
    """Parallel arrays; one hash may be hit through several variants and several chunks."""

    positions: npt.NDArray[np.int64]
    distances: npt.NDArray[np.int64]
    variants: npt.NDArray[np.int64]


def scan(words: Words, query: Words, radius: int) -> Hits:
    """Every pair within the radius. Exact, linear: about 5 ms for 10^6 hashes and one variant."""
    positions, variants = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    columns = np.empty((4, BLOCK), np.uint64)
    differing = np.empty(BLOCK, np.uint64)
    counted, total, near = np.empty(BLOCK, np.uint8), np.empty(BLOCK, np.uint8), np.empty(BLOCK, np.bool_)
    for start in range(0, len(words), BLOCK):
        n = min(BLOCK, len(words) - start)
        columns[:, :n] = words[start : start + n].T
        for variant, wanted in enumerate(query):
            for part in range(4):
                np.bitwise_xor(columns[part, :n], wanted[part], out=differing[:n])
                np.bitwise_count(differing[:n], out=counted[:n] if part else total[:n])
                if part:
                    np.add(total[:n], counted[:n], out=total[:n])
            np.less_equal(total[:n], min(radius, 255), out=near[:n])
            if near[:n].any():
                found = np.flatnonzero(near[:n])
                positions.append(found + start)
                variants.append(np.full(len(found), variant))
    # Eight bits count to 255: a hash that differs in all 256 looks equal until it is measured again.
    return _measured(words, query, np.concatenate(positions), np.concatenate(variants), radius)


def probe(layout: Layout, hashes: npt.NDArray[np.uint8], radius: int, most_flips: int) -> Hits:
    """
    Pairs within the radius that differ in at most ``most_flips`` bits of some chunk.

    Exact while the radius is below 11 x (most_flips + 1); beyond it hashes are missed.
    """
    query_keys = np.stack([keys(hashes, chunk, layout.bits) for chunk in range(CHUNKS)], axis=1)  # [variant, chunk]
    wanted = query_keys[:, :, None] ^ flips(layout.bits, most_flips)  # [variant, chunk, flip]
    chunk_starts = np.arange(CHUNKS, dtype=np.int64) * layout.offsets.shape[1]
    buckets = (wanted + chunk_starts[:, None]).reshape(-1)
    offsets = layout.offsets.reshape(-1)
    starts = offsets[buckets].astype(np.int64)
    sizes = offsets[buckets + 1].astype(np.int64) - starts
    filled = np.flatnonzero(sizes)
    starts, sizes = starts[filled], sizes[filled]
    variants, chunks = np.divmod(filled // wanted.shape[2], CHUNKS)
    # Expand every bucket [start, start + size) into its places without a Python loop.
    places = np.arange(sizes.sum()) + np.repeat(starts + chunks * len(layout.ids) - (np.cumsum(sizes) - sizes), sizes)
    positions = layout.positions.reshape(-1)[places].astype(np.int64)
    return _measured(layout.words, as_words(hashes), positions, np.repeat(variants, sizes), radius)


def as_words(hashes: npt.NDArray[np.uint8]) -> Words:
    return np.ascontiguousarray(hashes).view(np.uint64)


def _measured(
    words: Words, query: Words, positions: npt.NDArray[np.int64], variants: npt.NDArray[np.int64], radius: int
) -> Hits:
    """The candidates that truly lie within the radius, with their distance."""
    distances = np.bitwise_count(words[positions] ^ query[variants]).sum(axis=1, dtype=np.int64)
    near = distances <= radius
    return Hits(positions[near], distances[near], variants[near])

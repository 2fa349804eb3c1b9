"""
Chunks: the keys under which a hash is filed, and the keys under which to look for one that differs a little.

Multi-index hashing (Norouzi, Punjani, Fleet: Fast Exact Search in Hamming Space with Multi-Index Hashing, TPAMI 2014):
cut the 256 bits into 11 chunks. Two hashes that differ in at most 31 bits differ in at most 31 // 11 = 2 bits of some
chunk, so looking up every chunk of the query with 0, 1 and 2 bits flipped finds them all.

Chunks are runs of neighbouring bits. PDQ's bits go row by row through the frequencies, and attacks spare some rows: a
crop that moves 80 of 256 bits still left one chunk within 2 flips in 31 % of cases, within 5 % when bits were dealt out evenly.
"""

from functools import cache
from itertools import combinations

import numpy as np
import numpy.typing as npt

CHUNKS = 11
STARTS = tuple(round(i * 256 / CHUNKS) for i in range(CHUNKS))  # first bit of every chunk
MAX_KEY_BITS = 23  # the shortest chunk; shorter keys are exact too, they only file more hashes together
MIN_KEY_BITS = 8


def key_bits(count: int) -> int:
    """Width of the keys for so many hashes: two to four buckets per hash, at most 176 bytes of table per hash."""
    return min(MAX_KEY_BITS, max(MIN_KEY_BITS, count.bit_length() + 1))


def keys(hashes: npt.NDArray[np.uint8], chunk: int, bits: int) -> npt.NDArray[np.uint32]:
    """The first ``bits`` bits of one chunk of every hash."""
    first_byte = min(STARTS[chunk] // 8, 28)
    window = np.ascontiguousarray(hashes[:, first_byte : first_byte + 4]).view(">u4")[:, 0].astype(np.uint32)
    shift = 32 - (STARTS[chunk] - 8 * first_byte) - bits
    return (window >> np.uint32(shift)) & np.uint32((1 << bits) - 1)


@cache
def flips(bits: int, most: int) -> npt.NDArray[np.uint32]:
    """Masks of ``bits`` bits with at most ``most`` of them set."""
    masks = [sum(1 << bit for bit in chosen) for n in range(most + 1) for chosen in combinations(range(bits), n)]
    return np.array(masks, dtype=np.uint32)


def flips_for(radius: int) -> int:
    """Flips per chunk that find every hash within the radius: pigeonhole."""
    return radius // CHUNKS

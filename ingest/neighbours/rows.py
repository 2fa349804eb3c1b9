"""Rows: hashes and their ids side by side, as the database hands them out."""

from array import array
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

HASH_BYTES = 32


class Rows(NamedTuple):
    """``hashes`` uint8 [N, 32] and ``ids`` int64 [N]; an id is the ``seq`` of the row in PostgreSQL."""

    hashes: npt.NDArray[np.uint8]
    ids: npt.NDArray[np.int64]


def gather(rows: Iterable[tuple[int, bytes]]) -> Rows:
    """
    Read (seq, pdq) pairs into arrays: 40 bytes a row and no Python object kept.

    :raises ValueError: a hash is not 32 bytes long
    """
    ids, hashes = array("q"), bytearray()
    for seq, pdq in rows:
        if len(pdq) != HASH_BYTES:
            raise ValueError(f"row {seq}: a PDQ hash has {HASH_BYTES} bytes, this one has {len(pdq)}")
        ids.append(seq)
        hashes += pdq
    return Rows(
        np.frombuffer(hashes, dtype=np.uint8).reshape(-1, HASH_BYTES),
        np.frombuffer(ids, dtype=np.int64) if ids else np.empty(0, dtype=np.int64),
    )

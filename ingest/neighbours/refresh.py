"""Refresh: a new generation of the index from the rows of the truth, by one process of a machine at a time."""

import fcntl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ingest.neighbours.index import Index
from ingest.neighbours.rows import Rows, gather


def rebuild(path: Path, rows: Iterable[tuple[int, bytes]], watermark: int) -> bool:
    """
    Replace the index by one of all (seq, pdq) rows up to the watermark.

    The watermark must lie below every seq that a running transaction may still commit, or that row is never found:
    identity columns hand out numbers before the commit. Taking it from rows older than the longest transaction is enough.

    :returns: False when another process of this machine is at it
    """
    with _sole_writer(path) as alone:
        if alone:
            Index.build(path, gather(rows), watermark)
        return alone


def extend(path: Path, rows: Iterable[tuple[int, bytes]], watermark: int) -> bool:
    """
    Add the rows between the index's watermark and this one; the rest stays. A `rebuild` now and then drops deleted rows.

    :returns: False when another process of this machine is at it
    :raises BrokenIndex: only a `rebuild` helps
    """
    with _sole_writer(path) as alone:
        if alone:
            index = Index.open(path)
            new = gather((seq, pdq) for seq, pdq in rows if seq > index.watermark)
            old = index.rows
            together = Rows(np.concatenate([old.hashes, new.hashes]), np.concatenate([old.ids, new.ids]))
            Index.build(path, together, max(watermark, index.watermark))
        return alone


@contextmanager
def _sole_writer(path: Path) -> Iterator[bool]:
    """The lock ends with its holder, however that ends."""
    with path.with_name(path.name + ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True

"""
Layout: the index as a file, little-endian, every section on a page boundary.

    header      4,096 bytes: magic, then JSON with count, watermark and key bits, padded with zeros
    words       uint64 [count, 4]         the hashes, for scanning and for measuring what the chunks nominate
    ids         int64  [count]            seq of the row in PostgreSQL
    offsets     uint32 [11, 2^bits + 1]   where the bucket of each key begins in ``positions``
    positions   uint32 [11, count]        rows of ``words``, by chunk and key

A file is never changed: it is written beside the old one and renamed over it. Readers that hold the old one keep it until
they close it.
"""

import json
import math
import mmap
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from ingest.neighbours.chunks import CHUNKS, key_bits, keys
from ingest.neighbours.rows import Rows

MAGIC = b"FWPDQ 1\n"
PAGE = 4096


class BrokenIndex(Exception):
    """The index file is not one this program wrote, or not the whole of it."""


@dataclass(frozen=True, slots=True)
class Layout:
    watermark: int  # every row of the truth with seq up to here is in the file
    bits: int
    words: npt.NDArray[np.uint64]
    ids: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.uint32]
    positions: npt.NDArray[np.uint32]


class Section(NamedTuple):
    kind: str
    shape: tuple[int, ...]
    start: int  # byte of the file
    end: int


def write(path: Path, rows: Rows, watermark: int) -> None:
    """
    Write a whole new file and put it in the place of the old one; a crash at any point leaves the old one.

    Chunk by chunk, so that building takes 40 bytes of memory a hash beside the rows.
    """
    count, bits = len(rows.ids), key_bits(len(rows.ids))
    words, ids, offsets, positions = _sections(count, bits)
    unfinished = path.with_name(path.name + ".new")
    with unfinished.open("wb") as file:
        header = MAGIC + json.dumps({"count": count, "watermark": watermark, "bits": bits}).encode()
        file.write(header.ljust(PAGE, b"\0"))
        _write(file, words.start, np.ascontiguousarray(rows.hashes))
        _write(file, ids.start, rows.ids.astype("<i8"))
        for chunk in range(CHUNKS):
            of_chunk, in_order = _file_by_key(rows.hashes, chunk, bits)
            _write(file, offsets.start + chunk * of_chunk.nbytes, of_chunk)
            _write(file, positions.start + chunk * in_order.nbytes, in_order)
        file.truncate(positions.end)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    _sync_folder(path.parent)


def read(path: Path) -> Layout:
    """
    Map a file into memory; nothing is read until it is searched, and processes share what is.

    :raises FileNotFoundError: there is none
    :raises BrokenIndex: another format, or cut short
    """
    with path.open("rb") as file:
        count, watermark, bits = _read_header(path, file.read(PAGE))
        sections = _sections(count, bits)
        if os.fstat(file.fileno()).st_size != sections[-1].end:
            raise BrokenIndex(f"{path} should have {sections[-1].end} bytes: rebuild it from the database")
        memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    arrays: list[npt.NDArray[Any]] = [
        np.frombuffer(memory, dtype=kind, count=math.prod(shape), offset=start).reshape(shape)
        for kind, shape, start, _end in sections
    ]
    return Layout(watermark, bits, *arrays)


def empty() -> Layout:
    """What a machine knows before its first index: nothing, so that every row is delta."""
    bits = key_bits(0)
    return Layout(
        watermark=0,
        bits=bits,
        words=np.empty((0, 4), np.uint64),
        ids=np.empty(0, np.int64),
        offsets=np.zeros((CHUNKS, (1 << bits) + 1), np.uint32),
        positions=np.empty((CHUNKS, 0), np.uint32),
    )


def _file_by_key(
    hashes: npt.NDArray[np.uint8], chunk: int, bits: int
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    """Bucket offsets and positions of one chunk. Sorting key and position as one number is ten times faster than argsort."""
    of_hash = keys(hashes, chunk, bits)
    pairs = of_hash.astype(np.uint64) << np.uint64(32) | np.arange(len(hashes), dtype=np.uint64)
    pairs.sort()
    offsets = np.zeros((1 << bits) + 1, dtype="<u4")
    np.cumsum(np.bincount(of_hash, minlength=1 << bits), out=offsets[1:])
    return offsets, pairs.astype("<u4")


def _sections(count: int, bits: int) -> list[Section]:
    shapes: list[tuple[str, tuple[int, ...]]] = [
        ("<u8", (count, 4)),
        ("<i8", (count,)),
        ("<u4", (CHUNKS, (1 << bits) + 1)),
        ("<u4", (CHUNKS, count)),
    ]
    sections, start = [], PAGE
    for kind, shape in shapes:
        pages = -(-math.prod(shape) * np.dtype(kind).itemsize // PAGE)
        sections.append(Section(kind, shape, start, start + pages * PAGE))
        start += pages * PAGE
    return sections


def _write(file: BinaryIO, start: int, array: npt.NDArray[Any]) -> None:
    file.seek(start)
    file.write(array.data)


def _read_header(path: Path, header: bytes) -> tuple[int, int, int]:
    if len(header) != PAGE or not header.startswith(MAGIC):
        raise BrokenIndex(f"{path} is no index of this version: rebuild it from the database")
    try:
        fields = json.loads(header[len(MAGIC) :].rstrip(b"\0"))
        return int(fields["count"]), int(fields["watermark"]), int(fields["bits"])
    except (ValueError, KeyError) as unreadable:
        raise BrokenIndex(f"{path} has an unreadable header: rebuild it from the database") from unreadable


def _sync_folder(folder: Path) -> None:
    """Makes the rename itself survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""
Neighbours: which stored hashes lie within a Hamming radius of a picture's.

PostgreSQL holds the truth, one row per hash. What stands here is a cache that can be rebuilt from it at any time: a
memory-mapped file per machine that many processes read at once, and a delta, the rows younger than the file, scanned
linearly. ``index.nominate(variants, k, radius)`` is the whole interface; docs/matching.md has the measurements.
"""

from ingest.neighbours.index import Index, Nomination, merge, nominate_among
from ingest.neighbours.layout import BrokenIndex
from ingest.neighbours.refresh import extend, rebuild
from ingest.neighbours.rows import Rows, gather

__all__ = ["BrokenIndex", "Index", "Nomination", "Rows", "extend", "gather", "merge", "nominate_among", "rebuild"]

"""Breakage: why a file cannot be taken, as a stable code with the measured value and the limit."""

from dataclasses import dataclass
from enum import StrEnum


class Code(StrEnum):
    TOO_LARGE = "too_large"
    SIZE_MISMATCH = "size_mismatch"
    HASH_MISMATCH = "hash_mismatch"
    UNKNOWN_TYPE = "unknown_type"
    TYPE_MISMATCH = "type_mismatch"
    TRUNCATED = "truncated"
    UNDECODABLE = "undecodable"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_MANY_FRAMES = "too_many_frames"
    TOO_MANY_SCANS = "too_many_scans"
    METADATA_BOMB = "metadata_bomb"
    POLYGLOT = "polyglot"
    MEMORY_LIMIT = "memory_limit"
    TIMED_OUT = "timed_out"  # said by whoever holds the clock, never by the pure probe


@dataclass(frozen=True, slots=True)
class Broken:
    """
    ``measured`` and ``limit`` are in the unit the code implies: bytes, pixels, frames, a format's name, a hash.
    ``detail`` is one sentence a worker can act on.
    """

    code: Code
    detail: str
    measured: int | str | None = None
    limit: int | str | None = None

    def as_json(self) -> dict[str, int | str | None]:
        return {"code": self.code.value, "measured": self.measured, "limit": self.limit, "detail": self.detail}


class Unreadable(Exception):
    """Carries a breakage from deep inside a container to the probe's door. Never leaves `probe.inspect`."""

    def __init__(self, code: Code, detail: str, measured: int | str | None = None, limit: int | str | None = None):
        super().__init__(detail)
        self.broken = Broken(code, detail, measured, limit)

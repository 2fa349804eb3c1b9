"""
Exif: the dozen tags that matter to gates, read from the TIFF structure without following anything twice.

CIPA DC-008 (Exif 3.0) for the tags, TIFF 6.0 for the structure. Three directories are read, each once, at most
`MAX_ENTRIES` entries of each; links between directories are not followed, so nothing can recurse. Whatever does not parse
is left out: malformed Exif is common in honest photographs and never a reason to refuse one.
"""

import re
import struct
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Final

MAX_ENTRIES: Final = 256
MAX_TEXT: Final = 64

_SIZES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_FORMATS: Final = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d"}
_TIME = re.compile(r"(\d{4})[:-](\d\d)[:-](\d\d)[ T](\d\d):(\d\d):(\d\d)")
_OFFSET = re.compile(r"[+-]\d\d:\d\d")


@dataclass(frozen=True, slots=True)
class Exif:
    """
    ``taken_at`` is the camera's local time without zone, ISO 8601; ``utc_offset`` its zone where the camera wrote one.
    ``gps_at`` is satellite time, UTC. Position in degrees, WGS 84; ``position_error_m`` in metres. ``exposure_s`` in seconds,
    ``focal_length_mm`` in millimetres. ``malformed`` says that something in the block could not be read.
    """

    orientation: int = 1
    make: str | None = None
    model: str | None = None
    software: str | None = None
    taken_at: str | None = None
    utc_offset: str | None = None
    exposure_s: float | None = None
    f_number: float | None = None
    iso: int | None = None
    focal_length_mm: float | None = None
    latitude: float | None = None
    longitude: float | None = None
    position_error_m: float | None = None
    gps_at: str | None = None
    malformed: bool = False

    def as_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Exif":
        return cls(**data)


def read(block: bytes | None) -> Exif:
    """Parse a TIFF block as stored in APP1 (behind ``Exif\\0\\0``), eXIf, WebP's EXIF or HEIF. Never raises."""
    if not block:
        return Exif()
    tiff = _Tiff(block)
    main = tiff.directory(tiff.start)
    photo = tiff.directory(tiff.link(main.get(0x8769)))
    gps = tiff.directory(tiff.link(main.get(0x8825)))
    orientation = tiff.number(main.get(0x0112))
    iso = tiff.number(photo.get(0x8827))
    exif = Exif(
        orientation=int(orientation) if orientation is not None and orientation in range(1, 9) else 1,
        make=tiff.text(main.get(0x010F)),
        model=tiff.text(main.get(0x0110)),
        software=tiff.text(main.get(0x0131)),
        taken_at=_time(tiff.text(photo.get(0x9003)) or tiff.text(main.get(0x0132))),
        utc_offset=_offset(tiff.text(photo.get(0x9011)) or tiff.text(photo.get(0x9010))),
        exposure_s=tiff.number(photo.get(0x829A)),
        f_number=tiff.number(photo.get(0x829D)),
        iso=int(iso) if iso and iso > 0 else None,
        focal_length_mm=tiff.number(photo.get(0x920A)),
        position_error_m=tiff.number(gps.get(0x001F)),
        gps_at=_gps_time(tiff.text(gps.get(0x001D)), tiff.numbers(gps.get(0x0007))),
    )
    latitude = _degrees(tiff.numbers(gps.get(0x0002)), tiff.text(gps.get(0x0001)), negative="S", most=90)
    longitude = _degrees(tiff.numbers(gps.get(0x0004)), tiff.text(gps.get(0x0003)), negative="W", most=180)
    # Both or neither; zero-zero is what devices write that have no fix.
    if latitude is not None and longitude is not None and (latitude, longitude) != (0, 0):
        exif = replace(exif, latitude=latitude, longitude=longitude)
    return replace(exif, malformed=tiff.malformed)


@dataclass(frozen=True, slots=True)
class _Entry:
    kind: int
    count: int
    raw: bytes


class _Tiff:
    """A block of TIFF with bounds on every read; remembers whether anything was out of bounds."""

    def __init__(self, block: bytes):
        self.block = block
        self.malformed = False
        self.order = {b"II": "<", b"MM": ">"}.get(block[:2], "")
        self.start = 0
        if self.order and len(block) >= 8 and struct.unpack_from(self.order + "H", block, 2)[0] == 42:
            self.start = struct.unpack_from(self.order + "I", block, 4)[0]
        else:
            self.malformed = True

    def directory(self, at: int | None) -> dict[int, _Entry]:
        if not at:
            return {}
        if at + 2 > len(self.block):
            self.malformed = True
            return {}
        (count,) = struct.unpack_from(self.order + "H", self.block, at)
        self.malformed |= count > MAX_ENTRIES
        entries: dict[int, _Entry] = {}
        for index in range(min(count, MAX_ENTRIES)):
            here = at + 2 + 12 * index
            if here + 12 > len(self.block):
                self.malformed = True
                break
            tag, kind, number = struct.unpack_from(self.order + "HHI", self.block, here)
            size = _SIZES.get(kind, 0) * number
            where = here + 8 if size <= 4 else struct.unpack_from(self.order + "I", self.block, here + 8)[0]
            if kind not in _SIZES or where + size > len(self.block):
                self.malformed = True
                continue
            entries.setdefault(tag, _Entry(kind, number, self.block[where : where + min(size, 1024)]))
        return entries

    def link(self, entry: _Entry | None) -> int | None:
        value = self.number(entry)
        return int(value) if value is not None and value > 0 else None

    def text(self, entry: _Entry | None) -> str | None:
        if entry is None or entry.kind not in (2, 7):
            return None
        text = entry.raw.split(b"\x00", 1)[0].decode("utf-8", "replace")
        return "".join(letter for letter in text if letter.isprintable()).strip()[:MAX_TEXT] or None

    def number(self, entry: _Entry | None) -> float | None:
        values = self.numbers(entry)
        return values[0] if values else None

    def numbers(self, entry: _Entry | None) -> tuple[float, ...]:
        """At most three values, all of them finite, or none."""
        if entry is None or entry.kind in (2, 7):
            return ()
        count = min(entry.count, 3)
        if entry.kind in (5, 10):
            pairs = struct.unpack_from(f"{self.order}{2 * count}{'I' if entry.kind == 5 else 'i'}", entry.raw)
            if not all(pairs[1::2]):
                return ()
            return tuple(top / bottom for top, bottom in zip(pairs[::2], pairs[1::2], strict=True))
        values = struct.unpack_from(f"{self.order}{count}{_FORMATS[entry.kind]}", entry.raw)
        return values if all(abs(value) < 2**32 for value in values) else ()


def _time(text: str | None) -> str | None:
    found = _TIME.match(text or "")
    if not found:
        return None
    iso = "{}-{}-{}T{}:{}:{}".format(*found.groups())
    try:
        return datetime.fromisoformat(iso).isoformat()
    except ValueError:
        return None


def _offset(text: str | None) -> str | None:
    return text if text and _OFFSET.fullmatch(text) else None


def _gps_time(date: str | None, time: tuple[float, ...]) -> str | None:
    if not date or len(time) != 3 or not all(0 <= part < 61 for part in time):
        return None
    local = _time(f"{date} {int(time[0]):02}:{int(time[1]):02}:{int(time[2]):02}")
    return f"{local}+00:00" if local else None


def _degrees(parts: tuple[float, ...], reference: str | None, *, negative: str, most: int) -> float | None:
    if len(parts) != 3 or not all(part >= 0 for part in parts):
        return None
    value = parts[0] + parts[1] / 60 + parts[2] / 3600
    if value > most:
        return None
    return round(-value if (reference or "").upper() == negative else value, 7)

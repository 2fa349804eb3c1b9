"""
Containers: dimensions, frames, metadata and the end of a picture, read from its structure before a pixel is decoded.

Each reader walks the file once, checks what a decoder would trip or blow up on, and cuts out ``pixels``: the stream without
metadata and trailer. The decoder sees only that, so comments, profiles and previews are never parsed by it.
"""

import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ingest.breakage import Code, Unreadable
from ingest.formats import Photo

# Walked segments or chunks. A phone's panorama with depth data has some 200; libpng cuts 50 MB into 6,400.
MAX_SEGMENTS: Final = 2_000
MAX_CHUNKS: Final = 65_536
# Scans of a progressive JPEG; libjpeg writes 10. Thousands of tiny ones keep a decoder busy for hours.
MAX_SCANS: Final = 64
# Each scan is decoded over the whole picture (2 ms a megapixel): what libjpeg writes for the largest picture that is taken.
MAX_SCANNED_PIXELS: Final = 10 * 120_000_000
# All compressed texts and profiles of a PNG, inflated: the delivered file must not blow up in a buyer's software either.
# The largest ICC profiles in use are about 3 MB.
MAX_INFLATED: Final = 8 * 1024 * 1024
MAX_DEFLATED_CHUNKS: Final = 1_024

_CUT_OFF: Final = "The file ends before the picture does. Upload it again."
_INFLATES: Final = "The photo carries text or a colour profile that unpacks to an enormous size."
_DAMAGED: Final = "The file is damaged: {}. Take or export the photo again."


@dataclass(frozen=True, slots=True)
class Still:
    """
    One picture in its container. Width and height as stored, before any rotation.

    ``metadata`` is everything inside the container that is not pixels; ``end`` the offset of the first byte behind it.
    """

    width: int
    height: int
    frames: int
    pixels: bytes
    metadata: bytes
    exif: bytes | None
    end: int


def read(photo: Photo, data: bytes) -> Still:
    """:raises Unreadable: truncated, undecodable, metadata_bomb or too_many_scans"""
    return _READERS[photo](data)


# -- JPEG: ITU-T T.81 annex B ---------------------------------------------------------------------------------------------

_SOI, _EOI, _SOS, _APP0, _APP1, _APP14, _APP15, _COM = 0xD8, 0xD9, 0xDA, 0xE0, 0xE1, 0xEE, 0xEF, 0xFE
_FRAME_HEADERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_TABLES = {0xC4, 0xCC, 0xDB, 0xDC, 0xDD}  # Huffman, arithmetic, quantisation, number of lines, restart interval
# In entropy-coded data FF is followed by 00 (stuffing) or a restart marker; FF FF is fill. Anything else is a marker.
_MARKER_IN_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
# Between segments stray bytes and fill are skipped, as every decoder does.
_MARKER = re.compile(rb"\xff[^\x00\xff]")


def _read_jpeg(data: bytes) -> Still:
    pixels, metadata = [data[:2]], list[bytes]()
    exif: bytes | None = None
    size: tuple[int, int] | None = None
    at, scans = 2, 0
    for _ in range(MAX_SEGMENTS):
        at = _find(_MARKER, data, at)
        marker = data[at + 1]
        if marker == _EOI:
            break
        body = _segment(data, at, marker)
        after = at + 4 + len(body)
        if marker in _FRAME_HEADERS:
            if size or len(body) < 6:
                raise Unreadable(Code.UNDECODABLE, _DAMAGED.format("its frame header is wrong"))
            height, width = struct.unpack_from(">HH", body, 1)
            size = width, height
        elif marker == _SOS:
            scans += 1
            _check_scans(scans, size)
            after = _find(_MARKER_IN_SCAN, data, after)
        elif marker == _APP1 and body.startswith(b"Exif\x00\x00"):
            exif = exif or body[6:]
        elif marker not in _TABLES and not _APP0 <= marker <= _APP15 and marker != _COM:
            raise Unreadable(Code.UNDECODABLE, _DAMAGED.format(f"marker FF{marker:02X} in the wrong place"))
        is_metadata = marker == _COM or (_APP0 <= marker <= _APP15 and not _tells_colours(marker, body))
        (metadata if is_metadata else pixels).append(data[at:after])
        at = after
    else:
        raise Unreadable(Code.METADATA_BOMB, "The photo has too many metadata segments.", MAX_SEGMENTS, MAX_SEGMENTS)
    if not size or not scans:
        raise Unreadable(Code.UNDECODABLE, _DAMAGED.format("it holds no picture"))
    pixels.append(data[at : at + 2])
    return Still(*size, 1, b"".join(pixels), b"".join(metadata), exif, at + 2)


def _tells_colours(marker: int, body: bytes) -> bool:
    """JFIF and Adobe segments tell a decoder the colour space; every other application segment is metadata."""
    return (marker == _APP0 and body.startswith(b"JFIF\x00")) or (marker == _APP14 and body.startswith(b"Adobe"))


def _check_scans(scans: int, size: tuple[int, int] | None) -> None:
    if not size:
        raise Unreadable(Code.UNDECODABLE, _DAMAGED.format("its frame header is missing"))
    most = min(MAX_SCANS, max(1, MAX_SCANNED_PIXELS // max(1, size[0] * size[1])))
    if scans > most:
        raise Unreadable(Code.TOO_MANY_SCANS, "The photo is coded in an unusual number of passes.", scans, most)


def _find(marker: re.Pattern[bytes], data: bytes, at: int) -> int:
    found = marker.search(data, at)
    if not found:
        raise Unreadable(Code.TRUNCATED, _CUT_OFF, len(data))
    return found.start()


def _segment(data: bytes, at: int, marker: int) -> bytes:
    length = int.from_bytes(data[at + 2 : at + 4], "big")
    if at + 4 > len(data) or at + 2 + length > len(data):
        raise Unreadable(Code.TRUNCATED, _CUT_OFF, len(data))
    if length < 2:
        raise Unreadable(Code.UNDECODABLE, _DAMAGED.format(f"segment FF{marker:02X} has no length"))
    return data[at + 4 : at + 2 + length]


# -- PNG: W3C PNG, third edition, sections 5 and 11 -----------------------------------------------------------------------

_FOR_PIXELS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}


def _read_png(data: bytes) -> Still:
    pixels, metadata = [data[:8]], list[bytes]()
    exif: bytes | None = None
    size: tuple[int, int] | None = None
    at, frames = 8, 1
    deflated = _Deflated()
    for _ in range(MAX_CHUNKS):
        if at + 12 > len(data):
            raise Unreadable(Code.TRUNCATED, _CUT_OFF, len(data))
        length, kind = struct.unpack_from(">I4s", data, at)
        after = at + 12 + length
        if after > len(data):
            raise Unreadable(Code.TRUNCATED, _CUT_OFF, len(data))
        body = data[at + 8 : after - 4]
        if (kind == b"IHDR") != (at == 8):
            raise Unreadable(Code.UNDECODABLE, _DAMAGED.format("its header is not where it belongs"))
        if kind in _FOR_PIXELS:
            if zlib.crc32(body, zlib.crc32(kind)) != int.from_bytes(data[after - 4 : after], "big"):
                raise Unreadable(Code.UNDECODABLE, _DAMAGED.format(f"the checksum of {kind.decode()} is wrong"))
            pixels.append(data[at:after])
        else:
            metadata.append(data[at:after])
            deflated.inflate(kind, body)
        if kind == b"IHDR":
            if length != 13:
                raise Unreadable(Code.UNDECODABLE, _DAMAGED.format("its header has the wrong length"))
            size = struct.unpack_from(">II", body)
        elif kind == b"acTL" and length >= 4:
            frames = int.from_bytes(body[:4], "big")
        elif kind == b"eXIf":
            exif = exif or body
        at = after
        if kind == b"IEND":
            break
    else:
        raise Unreadable(Code.METADATA_BOMB, "The photo is cut into too many chunks.", MAX_CHUNKS, MAX_CHUNKS)
    assert size is not None
    return Still(*size, frames, b"".join(pixels), b"".join(metadata), exif, at)


class _Deflated:
    """
    The compressed texts and profiles of one file, inflated against one budget.

    What is damaged counts as far as it inflates: thousands of chunks that break at their end cost as much as whole ones.
    """

    _PIECE = 64 * 1024

    def __init__(self) -> None:
        self.chunks = 0
        self.inflated = 0

    def inflate(self, kind: bytes, body: bytes) -> None:
        """:raises Unreadable: metadata_bomb"""
        stream = _deflated(kind, body)
        if stream is None:
            return
        self.chunks += 1
        if self.chunks > MAX_DEFLATED_CHUNKS:
            raise Unreadable(Code.METADATA_BOMB, _INFLATES, self.chunks, MAX_DEFLATED_CHUNKS)
        inflater = zlib.decompressobj()
        for start in range(0, len(stream), self._PIECE):
            piece = stream[start : start + self._PIECE]
            while piece and not inflater.eof:
                try:
                    self._count(len(inflater.decompress(piece, self._PIECE)))
                except zlib.error:
                    self._count(self._PIECE)  # how far it came is not told
                    return
                piece = inflater.unconsumed_tail

    def _count(self, more: int) -> None:
        self.inflated += more
        if self.inflated > MAX_INFLATED:
            raise Unreadable(Code.METADATA_BOMB, _INFLATES, f"more than {MAX_INFLATED}", MAX_INFLATED)


def _deflated(kind: bytes, body: bytes) -> bytes | None:
    """The compressed part of a chunk of text or a profile; None for other chunks."""
    if kind in (b"zTXt", b"iCCP"):
        return body[body.find(b"\x00") + 2 :]
    if kind == b"iTXt" and body[body.find(b"\x00") + 1 :][:1] == b"\x01":
        return body.split(b"\x00", 4)[-1]
    return None


# -- WebP: RFC 9649 -------------------------------------------------------------------------------------------------------


def _read_webp(data: bytes) -> Still:
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise Unreadable(Code.TRUNCATED, _CUT_OFF, len(data), end)
    metadata: list[bytes] = []
    exif: bytes | None = None
    sizes: list[tuple[int, int]] = []
    at, frames = 12, 0
    for _ in range(MAX_SEGMENTS):
        if at + 8 > end:
            break
        kind, length = struct.unpack_from("<4sI", data, at)
        body = data[at + 8 : at + 8 + length]
        if len(body) < length or at + 8 + length > end:
            raise Unreadable(Code.TRUNCATED, _CUT_OFF, len(data), at + 8 + length)
        if kind in (b"VP8 ", b"VP8L", b"VP8X"):
            sizes.append(_webp_size(kind, body))
        elif kind == b"ANMF":
            frames += 1
        elif kind != b"ANIM" and kind != b"ALPH":
            metadata.append(body)
        if kind == b"EXIF":
            exif = exif or body.removeprefix(b"Exif\x00\x00")
        at += 8 + length + length % 2
    else:
        raise Unreadable(Code.METADATA_BOMB, "The photo is cut into too many chunks.", MAX_SEGMENTS, MAX_SEGMENTS)
    if not sizes:
        raise Unreadable(Code.UNDECODABLE, _DAMAGED.format("it holds no picture"))
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    return Still(width, height, max(frames, 1), data[:end], b"".join(metadata), exif, end)


def _webp_size(kind: bytes, body: bytes) -> tuple[int, int]:
    if len(body) < 10 and not (kind == b"VP8L" and len(body) >= 5):
        raise Unreadable(Code.UNDECODABLE, _DAMAGED.format("its header is too short"))
    if kind == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", body, 6)
    return width & 0x3FFF, height & 0x3FFF


# -- HEIF: ISO/IEC 14496-12 section 4.2 (boxes), ISO/IEC 23008-12 section 6.5.3 (ispe) ------------------------------------


_HEIF_BOXES = {b"ftyp", b"meta", b"mdat", b"moov", b"moof", b"free", b"skip", b"uuid", b"idat"}


def _read_heif(data: bytes) -> Still:
    meta = b""
    at = 0
    for _ in range(MAX_SEGMENTS):
        kind, after = _box(data, at)
        if not kind:
            break
        if after > len(data):
            if kind not in _HEIF_BOXES:
                break  # a trailer whose first letters look like a box
            raise Unreadable(Code.TRUNCATED, _CUT_OFF, len(data), after)
        if kind == b"meta":
            meta = meta or data[at:after]
        at = after
    else:
        raise Unreadable(Code.METADATA_BOMB, "The photo is cut into too many boxes.", MAX_SEGMENTS, MAX_SEGMENTS)
    # Every size in the file counts: tiles, previews and depth maps are stored beside the picture, none is larger than it.
    sizes = [struct.unpack_from(">II", meta, found.end()) for found in re.finditer(rb"ispe\0{4}(?=.{8})", meta, re.S)]
    if not sizes:
        raise Unreadable(Code.UNDECODABLE, _DAMAGED.format("it names no picture size"))
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    return Still(width, height, 1, data[:at], b"", None, at)


def _box(data: bytes, at: int) -> tuple[bytes, int]:
    """Kind and end of the box at an offset; no kind where no box stands."""
    header = data[at : at + 16]
    kind = header[4:8]
    if len(kind) < 4 or not re.fullmatch(rb"[A-Za-z0-9 ]{4}", kind):
        return b"", at
    size = int.from_bytes(header[:4], "big")
    if size == 0:
        return kind, len(data)
    if size == 1:
        size = int.from_bytes(header[8:16], "big")
        return (kind, at + size) if size >= 16 else (b"", at)
    return (kind, at + size) if size >= 8 else (b"", at)


_READERS: Final[dict[Photo, Callable[[bytes], Still]]] = {
    "JPEG": _read_jpeg,
    "PNG": _read_png,
    "WEBP": _read_webp,
    "HEIF": _read_heif,
}

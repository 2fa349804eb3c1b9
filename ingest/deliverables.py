"""
Deliverables: what a buyer receives of a photo. The same pixels without what the camera wrote beside them: place, serial
numbers, names, previews, films. The original stays where it is, as evidence.

JPEG, PNG and WebP lose metadata and trailer and no pixel; what says how to show the pixels stays: colour profile and
orientation, the latter alone in a new Exif block. HEIF keeps its metadata inside its index of boxes, where nothing can be cut
out without moving everything else, so it is delivered as a JPEG of the upright picture, at quality 95.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Final

from ingest import containers, formats, probe
from ingest.formats import Photo

QUALITY: Final = 95

_ICC: Final = b"ICC_PROFILE\x00"
_PNG_KEPT: Final = {
    *(b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"acTL", b"fcTL"),
    *(b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP", b"sBIT", b"mDCV", b"cLLI"),
}
_WEBP_KEPT: Final = {b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF", b"ICCP"}
_WEBP_HAS_EXIF, _WEBP_HAS_XMP = 0x08, 0x04


def media_type(photo: Photo) -> str:
    """What a photo of this format is delivered as."""
    return formats.MEDIA_TYPES["JPEG" if photo == "HEIF" else photo][0]


def make(photo: Photo, data: bytes, orientation: int) -> bytes:
    """
    The copy for the buyer, of a file that `probe.inspect` took.

    :param orientation: as Exif counts, 1 to 8; what `probe.Facts` has
    """
    if photo == "HEIF":
        return _jpeg_of_heif(data)
    still = containers.read(photo, data)
    exif = _orientation(orientation) if orientation != 1 else b""
    if photo == "JPEG":
        return _jpeg(still.pixels, still.metadata, exif)
    return _png(data[: still.end], exif) if photo == "PNG" else _webp(data[: still.end], exif)


def _orientation(value: int) -> bytes:
    """TIFF 6.0 section 2: one directory with one entry."""
    return struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, 0x0112, 3, 1, value, 0, 0)


def _jpeg(pixels: bytes, metadata: bytes, exif: bytes) -> bytes:
    """JFIF wants to come first, everything else is free (JFIF 1.02, page 5)."""
    at = 2
    if pixels[2:4] == b"\xff\xe0":
        at += 2 + int.from_bytes(pixels[4:6], "big")
    block = b"Exif\x00\x00" + exif
    orientation = struct.pack(">BBH", 0xFF, 0xE1, len(block) + 2) + block if exif else b""
    profile = b"".join(one for one in _segments(metadata) if one[1] == 0xE2 and one.startswith(_ICC, 4))
    return pixels[:at] + orientation + profile + pixels[at:]


def _segments(metadata: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(metadata):
        after = at + 2 + int.from_bytes(metadata[at + 2 : at + 4], "big")
        yield metadata[at:after]
        at = after


def _png(data: bytes, exif: bytes) -> bytes:
    kept, at = [data[:8]], 8
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind in _PNG_KEPT:
            kept.append(data[at : at + 12 + length])
        if kind == b"IHDR" and exif:
            kept.append(struct.pack(">I4s", len(exif), b"eXIf") + exif + struct.pack(">I", zlib.crc32(b"eXIf" + exif)))
        at += 12 + length
    return b"".join(kept)


def _webp(data: bytes, exif: bytes) -> bytes:
    kept, at = [b"WEBP"], 12
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        body = data[at + 8 : at + 8 + length]
        if kind == b"VP8X":
            flags = body[0] & ~(_WEBP_HAS_EXIF | _WEBP_HAS_XMP) | (_WEBP_HAS_EXIF if exif else 0)
            body = bytes([flags]) + body[1:]
        if kind in _WEBP_KEPT:
            kept.append(_riff(kind, body))
        at += 8 + length + length % 2
    if exif:
        kept.append(_riff(b"EXIF", exif))
    return _riff(b"RIFF", b"".join(kept))


def _riff(kind: bytes, body: bytes) -> bytes:
    return struct.pack("<4sI", kind, len(body)) + body + bytes(len(body) % 2)


def _jpeg_of_heif(data: bytes) -> bytes:
    image = probe.open_photo("HEIF", data)
    stream = io.BytesIO()
    profile = image.info.get("icc_profile")
    picture = image if image.mode == "RGB" else image.convert("RGB")
    picture.info.clear()  # Pillow would write what it finds there
    picture.save(stream, "JPEG", quality=QUALITY, icc_profile=profile)
    return stream.getvalue()

"""
Polyglots: pictures that are also an archive, a program, a document or a web page to another reader.

Bytes behind a picture are no offence: cameras and phones put previews (CIPA DC-007 Multi-Picture Format), gain maps (Ultra
HDR), films (Motion Photo, an MP4 behind the JPEG) and editor data (Samsung's SEF blocks) there. So a trailer is accepted
unless it holds something another program would open or run:

- ZIP (also JAR, APK, DOCX): a reader looks for the end record in the last 65,557 bytes of any file (PKWARE APPNOTE 4.3.16);
  counted only when that record points at a real central directory.
- PDF: readers accept the header within the first 1,024 bytes (ISO 32000-1, annex H, note 13); behind the picture anywhere.
- RAR and 7-Zip anywhere behind the picture, programs and scripts directly behind it (after zero padding).
- Markup that runs (script, HTML, PHP, SVG) behind the picture or in its uncompressed metadata; SVG alone is allowed in
  metadata, where C2PA manifests keep icons.
"""

import re
import struct

from ingest.containers import Still

_ZIP_END = b"PK\x05\x06"
_ZIP_TAIL = 65_557
_PDF = re.compile(rb"%PDF-[12]\.\d")
_ARCHIVE = re.compile(rb"Rar!\x1a\x07[\x00\x01]|7z\xbc\xaf\x27\x1c\x00")
_PROGRAMS = (
    (b"\x7fELF", "ELF program"),
    (b"MZ", "Windows program"),
    (b"\xcf\xfa\xed\xfe", "macOS program"),
    (b"\xca\xfe\xba\xbe", "Java program"),
    (b"\x1f\x8b\x08", "gzip archive"),
    (b"\xfd7zXZ\x00", "xz archive"),
    (b"#!", "script"),
)
# A tag in lower case and what must follow it. Found by its bytes and looked at only there: one expression over 50 MB of
# well-chosen trailer takes a minute.
_MARKUP = (
    (b"<script", re.compile(rb"[\s>]")),
    (b"<!doctype", re.compile(rb"\s++html")),
    (b"<html", re.compile(rb"[\s>]")),
    (b"<iframe", re.compile(rb"[\s>]")),
    (b"<?php", re.compile(rb"\s")),
)
_SVG = ((b"<svg", re.compile(rb"\s[^>]{0,500}xmlns")),)
# Beginnings of one tag that are looked at. By chance a file has none; whoever writes more is hiding one.
_MOST_BEGINNINGS = 64


def find(data: bytes, still: Still) -> str | None:
    """What else the file is, by name, or None."""
    if _is_zip(data):
        return "ZIP archive"
    if _PDF.search(data, 0, 1024) or _PDF.search(data, still.end):
        return "PDF document"
    if _ARCHIVE.search(data, still.end):
        return "archive"
    trailer = data[still.end : still.end + 4096].lstrip(b"\x00")
    for signature, name in _PROGRAMS:
        if trailer.startswith(signature):
            return name
    behind = data[still.end :].lower()
    if _runs(_MARKUP + _SVG, behind) or _runs(_MARKUP, still.metadata.lower()):
        return "web page or script"
    return None


def _runs(tags: tuple[tuple[bytes, re.Pattern[bytes]], ...], text: bytes) -> bool:
    return any(_stands(beginning, rest, text) for beginning, rest in tags)


def _stands(beginning: bytes, rest: re.Pattern[bytes], text: bytes) -> bool:
    at = text.find(beginning)
    for _ in range(_MOST_BEGINNINGS):
        if at < 0:
            return False
        if rest.match(text, at + len(beginning)):
            return True
        at = text.find(beginning, at + len(beginning))
    return at >= 0


def _is_zip(data: bytes) -> bool:
    at = data.rfind(_ZIP_END, max(0, len(data) - _ZIP_TAIL))
    if at < 0 or at + 22 > len(data):
        return False
    length, _offset = struct.unpack_from("<II", data, at + 12)
    return 0 < length <= at and data.startswith(b"PK\x01\x02", at - length)

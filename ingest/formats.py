"""Formats: what a file is, by its first bytes. Names and extensions are never asked."""

from typing import Final, Literal, TypeGuard

Photo = Literal["JPEG", "PNG", "WEBP", "HEIF"]

# What may be declared for a format; the first is what we call it ourselves.
MEDIA_TYPES: Final[dict[Photo, tuple[str, ...]]] = {
    "JPEG": ("image/jpeg", "image/jpg"),
    "PNG": ("image/png",),
    "WEBP": ("image/webp",),
    "HEIF": ("image/heic", "image/heif"),
}

# Offset, bytes, name. Only to call what we refuse by its name.
_SIGNATURES: Final[tuple[tuple[int, bytes, str], ...]] = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"GIF87a", "GIF"),
    (0, b"GIF89a", "GIF"),
    (0, b"BM", "BMP"),
    (0, b"II*\x00", "TIFF"),
    (0, b"MM\x00*", "TIFF"),
    (0, b"%PDF-", "PDF"),
    (0, b"%!PS", "PostScript"),
    (0, b"PK\x03\x04", "ZIP"),
    (0, b"PK\x05\x06", "ZIP"),
    (0, b"Rar!\x1a\x07", "RAR"),
    (0, b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"\x7fELF", "ELF program"),
    (0, b"MZ", "Windows program"),
    (0, b"#!", "script"),
    (0, b"8BPS", "PSD"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\x00\x00\x00\x0cJXL \r\n\x87\n", "JPEG XL"),
    (0, b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (0, b"ID3", "MP3"),
    (0, b"OggS", "Ogg"),
    (0, b"\x1aE\xdf\xa3", "Matroska"),
    (8, b"WAVE", "WAV"),
    (8, b"AVI ", "AVI"),
)

_HEVC_BRANDS: Final = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_HEIF_BRANDS: Final = _HEVC_BRANDS | {b"mif1", b"mif2", b"msf1"}
_AVIF_BRANDS: Final = {b"avif", b"avis"}


def sniff(data: bytes) -> str:
    """The format's name: one of `Photo`, the name of something else we know, "empty" or "unknown"."""
    if not data:
        return "empty"
    if data[4:8] == b"ftyp":
        return _brand(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    for offset, signature, name in _SIGNATURES:
        if data.startswith(signature, offset):
            return name
    return _markup(data)


def is_photo(name: str) -> TypeGuard[Photo]:
    return name in MEDIA_TYPES


def _brand(data: bytes) -> str:
    """ISO/IEC 14496-12 section 4.3: major brand, minor version, compatible brands; HEIF brands from ISO/IEC 23008-12."""
    end = min(int.from_bytes(data[:4], "big"), 256)
    major = data[8:12]
    brands = {major} | {data[at : at + 4] for at in range(16, end, 4)}
    if major in _AVIF_BRANDS or (brands & _AVIF_BRANDS and not brands & _HEVC_BRANDS):
        return "AVIF"
    if major in _HEIF_BRANDS:
        return "HEIF"
    if major == b"crx ":
        return "Canon RAW"
    return "QuickTime" if major == b"qt  " else "MP4"


def _markup(data: bytes) -> str:
    head = data[:512].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if head.startswith((b"<!doctype html", b"<html", b"<script", b"<head", b"<body", b"<iframe")):
        return "HTML"
    if head.startswith(b"<svg") or (head.startswith(b"<?xml") and b"<svg" in head):
        return "SVG"
    if head.startswith(b"<?php"):
        return "PHP"
    if head.startswith(b"<?xml"):
        return "XML"
    return "unknown"

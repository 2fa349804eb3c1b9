"""
Files made to hurt whoever opens them, and odd ones that honest phones make.

It imports nothing of the application: `from tests import hostile`.
"""

import io
import random
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files as package_files

import pillow_heif
from PIL import Image

MEDIA_TYPES = {
    "jpeg": "image/jpeg",
    "progressive": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "heic": "image/heic",
}

Verdict = frozenset[str]
FINE = "fine"  # stands among the codes where the file may be taken


@dataclass(frozen=True)
class File:
    """``expected``: the codes it may be refused with, and/or `FINE`."""

    name: str
    data: bytes
    media_type: str
    expected: Verdict


def corpus() -> Iterator[File]:
    for part in PARTS:
        yield from part()


def _file(name: str, data: bytes, media_type: str, *expected: str) -> File:
    return File(name, data, media_type, frozenset(expected))


# -- good pictures to start from -------------------------------------------------------------------------------------------


@cache
def photograph(width: int = 320, height: int = 214) -> Image.Image:
    with package_files("sklearn.datasets.images").joinpath("china.jpg").open("rb") as stream:
        return Image.open(stream).convert("RGB").resize((width, height), Image.Resampling.LANCZOS)


@cache
def encoded(kind: str) -> bytes:
    if kind == "heic":
        return _heic(photograph())
    options: dict[str, dict[str, object]] = {
        "jpeg": {"format": "JPEG", "quality": 85},
        "progressive": {"format": "JPEG", "quality": 85, "progressive": True},
        "png": {"format": "PNG"},
        "webp": {"format": "WEBP", "quality": 80},
    }
    return saved(photograph(), **options[kind])


def saved(image: Image.Image, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, **options)  # type: ignore[arg-type]
    return stream.getvalue()


def _heic(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    pillow_heif.from_pillow(image).save(stream, quality=60)
    return stream.getvalue()


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def with_segments(*segments: bytes) -> bytes:
    jpeg = encoded("jpeg")
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_chunks(*chunks: bytes) -> bytes:
    """Directly behind IHDR."""
    png = encoded("png")
    return png[:33] + b"".join(chunks) + png[33:]


def blank_png(width: int, height: int) -> bytes:
    """One bit a pixel, all black: a hundred megapixels in 12 kB."""
    row = bytes(1 + (width + 7) // 8)
    squeeze = zlib.compressobj(9)
    pixels = b"".join(squeeze.compress(row) for _ in range(height)) + squeeze.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


# -- what phones send ------------------------------------------------------------------------------------------------------


def honest() -> Iterator[File]:
    for kind, media_type in MEDIA_TYPES.items():
        yield _file(f"good {kind}", encoded(kind), media_type, FINE)
    jpeg = encoded("jpeg")
    film = struct.pack(">I4s4sI4s", 20, b"ftyp", b"mp42", 0, b"isom") + struct.pack(">I4s", 50_008, b"mdat")
    film += random.Random(1).randbytes(50_000)
    trailers = {
        "second picture (Multi-Picture Format)": jpeg,
        "film (Motion Photo)": film,
        "editor data (Samsung)": b"\x00\x00\x01\x0aImage_UTC_Data1700000000000SEFHj\x00\x00\x00SEFT",
        "zero padding": bytes(4096),
    }
    for name, trailer in trailers.items():
        yield _file(f"jpeg with {name} behind", jpeg + trailer, "image/jpeg", FINE)
    yield _file("jpeg as image/jpg", jpeg, "image/jpg", FINE)
    yield _file("heic as image/heif", encoded("heic"), "image/heif", FINE)
    xmp = (
        b'http://ns.adobe.com/xap/1.0/\x00<?xpacket begin=""?><x:xmpmeta xmlns:x="adobe:ns:meta/"/><?xpacket end="w"?>'
    )
    yield _file("jpeg with XMP", with_segments(segment(0xE1, xmp)), "image/jpeg", FINE)
    icon = segment(0xEB, b'JP<svg width="1" xmlns="http://www.w3.org/2000/svg"></svg>')
    yield _file("jpeg with an icon in its provenance", with_segments(icon), "image/jpeg", FINE)
    yield _file("grey jpeg", saved(photograph().convert("L"), format="JPEG"), "image/jpeg", FINE)
    yield _file("cmyk jpeg", saved(photograph().convert("CMYK"), format="JPEG"), "image/jpeg", FINE)
    for mode in ("1", "P", "L", "LA", "RGBA", "I;16"):
        picture = photograph().convert("L").convert(mode) if mode == "I;16" else photograph().convert(mode)
        yield _file(f"png in mode {mode}", saved(picture, format="PNG"), "image/png", FINE)
    yield _file(
        "lossless webp with alpha",
        saved(photograph().convert("RGBA"), format="WEBP", lossless=True),
        "image/webp",
        FINE,
    )
    grey_end = photograph().copy()
    grey_end.paste((128, 128, 128), (0, 150, 320, 214))
    for progressive in (False, True):
        data = saved(grey_end, format="JPEG", quality=90, progressive=progressive)
        yield _file(f"jpeg that truly ends in grey, progressive={progressive}", data, "image/jpeg", FINE)
    for side in (1, 7, 16, 65):
        yield _file(f"tiny png {side}", saved(photograph(side, side), format="PNG"), "image/png", FINE)
        yield _file(f"tiny jpeg {side}", saved(photograph(side, side), format="JPEG"), "image/jpeg", FINE)
    yield _file("black jpeg", saved(Image.new("RGB", (800, 600)), format="JPEG"), "image/jpeg", FINE)
    yield _file("white jpeg", saved(Image.new("RGB", (800, 600), "white"), format="JPEG"), "image/jpeg", FINE)
    yield _file(
        "mid-grey jpeg", saved(Image.new("RGB", (800, 600), (128, 128, 128)), format="JPEG"), "image/jpeg", FINE
    )
    yield _file("very wide png", saved(Image.new("L", (20_000, 3), 90), format="PNG"), "image/png", FINE)


# -- cut off, mislabelled ---------------------------------------------------------------------------------------------------


def truncated() -> Iterator[File]:
    for kind, media_type in MEDIA_TYPES.items():
        data = encoded(kind)
        for share in range(25):
            length = len(data) * share // 25
            codes = ("truncated", "undecodable") if length > 16 else ("truncated", "undecodable", "unknown_type")
            yield _file(f"{kind} cut at {length}", data[:length], media_type, *codes)
        yield _file(f"{kind} without its last byte", data[:-1], media_type, "truncated", "undecodable")
    jpeg = encoded("jpeg")
    for share in (30, 50, 70, 90):
        data = jpeg[: len(jpeg) * share // 100].rstrip(b"\xff") + b"\xff\xd9"
        yield _file(f"jpeg cut at {share} % and closed", data, "image/jpeg", "truncated")


def wrong_types() -> Iterator[File]:
    avif = saved(photograph(64, 64), format="AVIF")
    strangers = {
        "empty": b"",
        "text": b"hello, this is no photo at all",
        "html": b"<!DOCTYPE html><html><script>alert(1)</script></html>",
        "svg": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
        "pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
        "zip": zip_archive(),
        "mp4": struct.pack(">I4s4sI4s", 20, b"ftyp", b"isom", 0, b"mp42"),
        "gif": saved(photograph(32, 32).convert("P"), format="GIF"),
        "bmp": saved(photograph(32, 32), format="BMP"),
        "tiff": saved(photograph(32, 32), format="TIFF"),
        "avif": avif,
        "program": b"\x7fELF\x02\x01\x01" + bytes(64),
        "php": b"<?php system($_GET[0]); ?>",
    }
    for name, data in strangers.items():
        yield _file(f"{name} as jpeg", data, "image/jpeg", "unknown_type")
    yield _file("gif as itself", strangers["gif"], "image/gif", "unknown_type")
    for kind in ("png", "webp", "heic"):
        yield _file(f"{kind} as jpeg", encoded(kind), "image/jpeg", "type_mismatch")
    yield _file("jpeg as png", encoded("jpeg"), "image/png", "type_mismatch")
    yield _file("jpeg as heic", encoded("jpeg"), "image/heic", "type_mismatch")


# -- bombs ------------------------------------------------------------------------------------------------------------------


def bombs() -> Iterator[File]:
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    png = encoded("png")
    yield _file("png of 50,000 x 50,000", png[:8] + chunk(b"IHDR", header) + png[33:], "image/png", "too_many_pixels")
    yield _file("png bomb of 400 megapixels", blank_png(20_000, 20_000), "image/png", "too_many_pixels")
    yield _file("png of one endless row", blank_png(1_000_000, 1), "image/png", "too_many_pixels")
    yield _file("png within the limit, 100 megapixels in 12 kB", blank_png(10_000, 10_000), "image/png", FINE)
    jpeg = bytearray(encoded("jpeg"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 65_500, 65_500)
    yield _file("jpeg of 65,500 x 65,500", bytes(jpeg), "image/jpeg", "too_many_pixels")
    canvas = b"VP8X" + struct.pack("<I", 10) + b"\x00" * 4 + b"\xfe\xff\x00" * 2
    still = encoded("webp")[12:]
    yield _file("webp canvas of 65,535 x 65,535", _riff(canvas + still), "image/webp", "too_many_pixels")
    lossless = bytearray(saved(photograph(64, 64), format="WEBP", lossless=True))
    lossless[21:25] = struct.pack("<I", 0x3FFF | 0x3FFF << 14)
    yield _file("lossless webp of 16,384 x 16,384", bytes(lossless), "image/webp", "too_many_pixels")
    heic = encoded("heic")
    size = struct.pack(">II", 320, 214)
    assert size in heic
    yield _file(
        "heic of 60,000 x 60,000",
        heic.replace(size, struct.pack(">II", 60_000, 60_000)),
        "image/heic",
        "too_many_pixels",
    )

    nothing = zlib.compress(bytes(64 * 1024 * 1024), 9)
    several = zlib.compress(bytes(1024 * 1024), 9)
    yield _file(
        "png with a text of 64 MB", with_chunks(chunk(b"zTXt", b"k\x00\x00" + nothing)), "image/png", "metadata_bomb"
    )
    yield _file(
        "png with a profile of 64 MB", with_chunks(chunk(b"iCCP", b"p\x00\x00" + nothing)), "image/png", "metadata_bomb"
    )
    text = chunk(b"iTXt", b"k\x00\x01\x00\x00\x00" + nothing)
    yield _file("png with an international text of 64 MB", with_chunks(text), "image/png", "metadata_bomb")
    texts = [chunk(b"zTXt", b"k\x00\x00" + several)] * 500
    yield _file("png with 500 texts of 1 MB", with_chunks(*texts), "image/png", "metadata_bomb")
    breaking = zlib.compress(bytes(8_000_000), 9)[:-4] + b"\xff" * 4
    texts = [chunk(b"zTXt", b"k\x00\x00" + breaking)] * 6_400
    yield _file("png with 6,400 texts that break at 8 MB", with_chunks(*texts), "image/png", "metadata_bomb")
    texts = [chunk(b"zTXt", b"k\x00\x00" + zlib.compress(b""))] * 60_000
    yield _file("png with 60,000 empty texts", with_chunks(*texts), "image/png", "metadata_bomb")
    yield _file("png in 100,000 chunks", with_chunks(*[chunk(b"teSt", b"")] * 100_000), "image/png", "metadata_bomb")
    yield _file(
        "jpeg in 100,000 segments", with_segments(*[segment(0xFE, b"")] * 100_000), "image/jpeg", "metadata_bomb"
    )
    fill = encoded("jpeg")[:2] + b"\xff" * 20_000_000 + encoded("jpeg")[2:]
    yield _file("jpeg with 20 MB of fill", fill, "image/jpeg", FINE)
    yield _file("jpeg with 5,000 scans", _many_scans(5_000), "image/jpeg", "too_many_scans", "metadata_bomb")
    large = saved(Image.new("RGB", (12_000, 10_000), (90, 40, 30)), format="JPEG", progressive=True)
    yield _file("progressive jpeg of 120 megapixels", large, "image/jpeg", FINE)
    yield _file("jpeg of 120 megapixels in 64 scans", _repeat_last_scan(large, 54), "image/jpeg", "too_many_scans")
    for beginning in (b"<svg ", b"<", b"<script", b"<!doctype ", b"%PDF-", b"Rar!\x1a\x07", b"PK\x05\x06"):
        behind = beginning * (45_000_000 // len(beginning))
        name = f"jpeg with 45 MB of {beginning!r} behind"
        yield _file(name, encoded("jpeg") + behind, "image/jpeg", FINE, "polyglot")
    boxes = struct.pack(">I4s", 8, b"free") * 100_000
    yield _file("heic in 100,000 boxes", heic + boxes, "image/heic", "metadata_bomb")
    yield _file(
        "webp in 100,000 chunks", _riff(still + b"teSt\x00\x00\x00\x00" * 100_000), "image/webp", "metadata_bomb"
    )

    frames = [photograph(64, 64), photograph(64, 64).rotate(90)]
    yield _file(
        "animated png",
        saved(frames[0], format="PNG", save_all=True, append_images=frames[1:]),
        "image/png",
        "too_many_frames",
    )
    yield _file(
        "animated webp",
        saved(frames[0], format="WEBP", save_all=True, append_images=frames[1:]),
        "image/webp",
        "too_many_frames",
    )
    count = chunk(b"acTL", struct.pack(">II", 0xFFFFFFFF, 0))
    yield _file("png that announces four billion frames", with_chunks(count), "image/png", "too_many_frames")


def _riff(body: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def _many_scans(count: int) -> bytes:
    return _repeat_last_scan(encoded("progressive"), count)


def _repeat_last_scan(jpeg: bytes, count: int) -> bytes:
    """A progressive JPEG whose last scan is repeated: each repetition is decoded over the whole picture."""
    last = jpeg.rindex(b"\xff\xda")
    return jpeg[:-2] + jpeg[last:-2] * count + jpeg[-2:]


# -- damaged ----------------------------------------------------------------------------------------------------------------


def damaged() -> Iterator[File]:
    jpeg, png = encoded("jpeg"), encoded("png")
    frame = jpeg.index(b"\xff\xc0")
    end_of_frame = frame + 2 + int.from_bytes(jpeg[frame + 2 : frame + 4], "big")
    flat = jpeg[: frame + 5] + bytes(2) + jpeg[frame + 7 :]
    yield _file("jpeg without height", flat, "image/jpeg", "undecodable")
    twice = jpeg[:end_of_frame] + jpeg[frame:end_of_frame] + jpeg[end_of_frame:]
    yield _file("jpeg with two frame headers", twice, "image/jpeg", "undecodable")
    yield _file("jpeg of nothing but its ends", b"\xff\xd8\xff\xd9", "image/jpeg", "undecodable")
    yield _file("jpeg without tables", jpeg[:2] + jpeg[frame:], "image/jpeg", FINE, "undecodable")
    data = bytearray(png)
    data[len(png) // 2] ^= 0xFF
    yield _file("png with a wrong byte", bytes(data), "image/png", "undecodable")
    header = png[16:29]
    empty = png[:8] + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    yield _file("png with too few pixels", empty, "image/png", "truncated", "undecodable")
    yield _file("png without pixels", png[:33] + chunk(b"IEND", b""), "image/png", "truncated", "undecodable")
    yield _file("png without header", png[:8] + png[33:], "image/png", "undecodable")
    short = png[:8] + chunk(b"IHDR", header[:8]) + png[33:]
    yield _file("png with a short header", short, "image/png", "undecodable")
    for kind, start in {
        "jpeg": b"\xff\xd8\xff\xe0",
        "png": b"\x89PNG\r\n\x1a\n",
        "webp": b"RIFF\xf8\x0f\x00\x00WEBPVP8 ",
        "heic": b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic",
    }.items():
        noise = random.Random(kind).randbytes(4096)
        yield _file(
            f"{kind} of noise",
            start + noise,
            MEDIA_TYPES[kind],
            "undecodable",
            "truncated",
            "polyglot",
            "too_many_pixels",
        )

    def tagged(tiff: bytes) -> bytes:
        return with_segments(segment(0xE1, b"Exif\x00\x00" + tiff))

    def directory(*entries: tuple[int, int, int, int]) -> bytes:
        body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
        return b"II*\x00\x08\x00\x00\x00" + struct.pack("<H", len(entries)) + body + bytes(4)

    blocks = {
        "empty": b"",
        "noise": random.Random(2).randbytes(2000),
        "header only": b"II*\x00\x08\x00\x00\x00",
        "directory outside": b"II*\x00\xff\xff\xff\x7f",
        "65,535 entries": b"MM\x00*\x00\x00\x00\x08\xff\xff" + bytes(600),
        "directory that is its own sub-directory": directory((0x8769, 4, 1, 8), (0x8825, 4, 1, 8)),
        "text of 4 GB": directory((0x010F, 2, 0xFFFFFFFF, 8)),
        "numbers beyond counting": directory((0x0112, 12, 0xFFFFFFFF, 8)),
        "unknown kind": directory((0x0112, 99, 1, 8)),
        "orientation 77": directory((0x0112, 3, 1, 77)),
        "orientation as a fraction by zero": directory((0x0112, 5, 1, 40)) + bytes(64),
    }
    for name, block in blocks.items():
        yield _file(f"jpeg with exif: {name}", tagged(block), "image/jpeg", FINE)


# -- two things at once -----------------------------------------------------------------------------------------------------


@cache
def zip_archive() -> bytes:
    import zipfile

    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", "Main-Class: Evil")
    return stream.getvalue()


def polyglots() -> Iterator[File]:
    trailers = {
        "zip": zip_archive(),
        "zip with a comment": zip_archive()[:-2] + struct.pack("<H", 5) + b"hello",
        "html": b"<html><body onload=alert(1)>",
        "script": b"  */<script >alert(1)</script>",
        "php": b"<?php system($_GET[0]); ?>",
        "svg": b'<svg onload="alert(1)" xmlns="http://www.w3.org/2000/svg"/>',
        "pdf": b"%PDF-1.4\n1 0 obj",
        "program": bytes(32) + b"\x7fELF\x02\x01\x01" + bytes(64),
        "shell": b"#!/bin/sh\nrm -rf ~\n",
        "rar": b"Rar!\x1a\x07\x01\x00" + bytes(32),
        "7z": b"7z\xbc\xaf\x27\x1c\x00\x04" + bytes(32),
    }
    for kind, media_type in MEDIA_TYPES.items():
        for name, trailer in trailers.items():
            yield _file(f"{kind} with {name} behind", encoded(kind) + trailer, media_type, "polyglot")
    film = struct.pack(">I4s", 8 + 4000, b"mdat") + bytes(4000 - len(zip_archive())) + zip_archive()
    yield _file("jpeg with a zip inside the film behind", encoded("jpeg") + film, "image/jpeg", "polyglot")
    comments = {"pdf": b"%PDF-1.4\n", "script": b"*/ <script>alert(1)</script>", "php": b"<?php system($_GET[0]); ?>"}
    for name, comment in comments.items():
        yield _file(f"jpeg with {name} as comment", with_segments(segment(0xFE, comment)), "image/jpeg", "polyglot")
        text = chunk(b"tEXt", b"Comment\x00" + comment)
        yield _file(f"png with {name} as text", with_chunks(text), "image/png", "polyglot")


# -- chance -----------------------------------------------------------------------------------------------------------------

_ANYTHING = (
    *(FINE, "truncated", "undecodable", "unknown_type", "type_mismatch", "too_many_pixels", "too_many_frames"),
    *("too_many_scans", "metadata_bomb", "polyglot"),
)


def fuzzed(each: int = 30) -> Iterator[File]:
    """Good files with bytes flipped, removed, repeated or swapped. Any answer is right; an exception is not."""
    for kind, media_type in MEDIA_TYPES.items():
        for number in range(each):
            chance = random.Random(f"{kind} {number}")
            data = bytearray(encoded(kind))
            reach = min(len(data), 600) if number % 2 else len(data)  # every other one in the headers
            for _ in range(chance.choice((1, 4, 30))):
                at = chance.randrange(reach)
                match chance.randrange(4):
                    case 0:
                        data[at] ^= 1 << chance.randrange(8)
                    case 1:
                        del data[at : at + chance.randrange(1, 40)]
                    case 2:
                        data[at:at] = data[at : at + chance.randrange(1, 40)]
                    case _:
                        data[at : at + 4] = chance.choice((b"\xff\xff\xff\xff", bytes(4), b"\x7f\xff\xff\xff"))
                reach = min(reach, len(data))
            yield _file(f"{kind} fuzzed {number}", bytes(data), media_type, *_ANYTHING)


PARTS = (honest, truncated, wrong_types, bombs, damaged, polyglots, fuzzed)

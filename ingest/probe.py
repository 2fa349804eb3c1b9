"""
Probe: one pass over a file that arrived. Bytes in, facts or a breakage out; no session, no network, no clock.

Nothing is allocated before the container's own header says how large it will get, nothing is decoded twice, and the decoder
sees only what it needs for pixels (see `containers`). For JPEG the decode is luminance only, at full size: libjpeg then
reads every coded bit, as for colour, and saves half the time on what no gate looks at.

Limits of seconds and address space are the work horse's: see `infra.queue`.
"""

import hashlib
import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import cv2
import numpy as np
from PIL import Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from ingest import containers, exif, formats, measures, polyglots
from ingest.breakage import Broken, Code, Unreadable
from ingest.exif import Exif
from ingest.formats import Photo
from ingest.measures import Measures

PROBER: Final = "probe/1"

# What decoders raise on hostile bytes. Named, so that a time-out raised into the decode passes through.
_DECODER_ERRORS: Final = (
    *(OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, EOFError, RuntimeError),
    *(struct.error, zlib.error, cv2.error),
)

_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class Declared:
    """What the client said before it uploaded; ``sha256`` in hex."""

    size: int
    sha256: str
    media_type: str


@dataclass(frozen=True, slots=True)
class Limits:
    """The defaults let 108-megapixel phones through and keep one decode under 2 GB."""

    max_bytes: int = 50 * 1024 * 1024
    max_pixels: int = 120_000_000
    max_side: int = 32_768
    max_frames: int = 1


@dataclass(frozen=True, slots=True)
class Facts:
    """
    What is known about a photo from its bytes. ``width`` and ``height`` upright, after the rotation Exif or HEIF asks for;
    ``trailer`` counts the bytes behind the picture (previews, gain maps, motion photos).
    """

    format: Photo
    media_type: str
    size: int
    sha256: str
    width: int
    height: int
    orientation: int
    trailer: int
    exif: Exif
    measures: Measures
    prober: str = PROBER

    def as_json(self) -> dict[str, Any]:
        return {
            "format": self.format,
            "media_type": self.media_type,
            "size": self.size,
            "sha256": self.sha256,
            "width": self.width,
            "height": self.height,
            "orientation": self.orientation,
            "trailer": self.trailer,
            "exif": self.exif.as_json(),
            "measures": self.measures.as_json(),
            "prober": self.prober,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Facts":
        return cls(**data | {"exif": Exif.from_json(data["exif"]), "measures": Measures.from_json(data["measures"])})


@dataclass(frozen=True, slots=True)
class Inspected:
    """``image``: the photo upright and grey, longest side at most `measures.WORKING_SIDE`, for hashes and copies."""

    facts: Facts
    image: Image.Image


def inspect(path: Path, *, declared: Declared, limits: Limits) -> Inspected | Broken:
    """Check a file against what was declared, decode it fully, and measure it."""
    try:
        return _inspect(path, declared, limits)
    except Unreadable as unreadable:
        return unreadable.broken
    except MemoryError:
        return Broken(Code.MEMORY_LIMIT, "The photo needs more memory to open than a photo may.")


def _inspect(path: Path, declared: Declared, limits: Limits) -> Inspected:
    data = _read(path, declared, limits)
    photo = _recognise(data, declared)
    still = containers.read(photo, data)
    _check_extent(still.width, still.height, still.frames, limits)
    if other := polyglots.find(data, still):
        raise Unreadable(Code.POLYGLOT, f"The file is a photo and a {other} at once. Upload the photo alone.", other)
    decoded = _decode(photo, still, limits)
    tags = exif.read(_heif_exif(decoded) if photo == "HEIF" else still.exif)
    grey = _grey(decoded)
    if photo == "JPEG" and not _is_complete(still.pixels, grey):
        raise Unreadable(Code.TRUNCATED, "The lower part of the photo is missing. Upload it again.", len(data))
    working = measures.working_copy(grey)
    # libheif has already turned the picture; its Exif orientation only repeats what was done.
    orientation = 1 if photo == "HEIF" else tags.orientation
    width, height = grey.size if orientation < 5 else grey.size[::-1]
    facts = Facts(
        format=photo,
        media_type=formats.MEDIA_TYPES[photo][0],
        size=len(data),
        sha256=declared.sha256.lower(),
        width=width,
        height=height,
        orientation=orientation,
        trailer=len(data) - still.end,
        exif=tags,
        measures=measures.measure(grey, working),
    )
    return Inspected(facts, working.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else working)


def _read(path: Path, declared: Declared, limits: Limits) -> bytes:
    size = path.stat().st_size
    if size > limits.max_bytes:
        raise Unreadable(Code.TOO_LARGE, "The file is larger than a photo may be.", size, limits.max_bytes)
    if size != declared.size:
        raise Unreadable(
            Code.SIZE_MISMATCH, "The file has another size than announced. Upload it again.", size, declared.size
        )
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != declared.sha256.lower():
        raise Unreadable(
            Code.HASH_MISMATCH, "The file changed on its way. Upload it again.", digest, declared.sha256.lower()
        )
    return data


def _recognise(data: bytes, declared: Declared) -> Photo:
    name = formats.sniff(data)
    if not formats.is_photo(name):
        wanted = ", ".join(formats.MEDIA_TYPES)
        raise Unreadable(Code.UNKNOWN_TYPE, f"Photos are taken as {wanted}; this file is {name}.", name, wanted)
    if declared.media_type.lower() not in formats.MEDIA_TYPES[name]:
        raise Unreadable(
            Code.TYPE_MISMATCH, f"The file is {name}, announced as {declared.media_type}.", name, declared.media_type
        )
    if name == "HEIF" and _heif_class() is None:
        raise Unreadable(Code.UNKNOWN_TYPE, "HEIC photos are not taken here. Set the camera to JPEG.", "HEIF")
    return name


def _check_extent(width: int, height: int, frames: int, limits: Limits) -> None:
    if not width or not height:
        raise Unreadable(Code.UNDECODABLE, "The photo has no width or no height.", f"{width} x {height}")
    if width * height > limits.max_pixels:
        raise Unreadable(
            Code.TOO_MANY_PIXELS, "The photo has more pixels than can be taken.", width * height, limits.max_pixels
        )
    if max(width, height) > limits.max_side:
        raise Unreadable(
            Code.TOO_MANY_PIXELS, "The photo is longer than can be taken.", max(width, height), limits.max_side
        )
    if frames > limits.max_frames:
        raise Unreadable(
            Code.TOO_MANY_FRAMES, "The file is an animation. A single photo is wanted.", frames, limits.max_frames
        )


def _decode(photo: Photo, still: containers.Still, limits: Limits) -> Image.Image:
    """Every pixel. The format's own class is called, so no other decoder is ever tried."""
    try:
        image = open_photo(photo, still.pixels)
        _check_extent(*image.size, 1, limits)
        image.load()
    except _DECODER_ERRORS as error:
        code = Code.TRUNCATED if "truncated" in str(error) else Code.UNDECODABLE
        raise Unreadable(code, f"The photo cannot be opened: {error}"[:200]) from error
    return image


def open_photo(photo: Photo, pixels: bytes) -> Image.Image:
    """By the format's own class, JPEG as luminance; nothing is decoded yet."""
    stream = io.BytesIO(pixels)
    if photo == "JPEG":
        image = JpegImagePlugin.JpegImageFile(stream)
        image.draft("L", image.size)
        return image
    if photo == "PNG":
        return PngImagePlugin.PngImageFile(stream)
    if photo == "WEBP":
        return WebPImagePlugin.WebPImageFile(stream)
    heif = _heif_class()
    assert heif is not None
    return heif(stream)


def _heif_class() -> Callable[[BinaryIO], Image.Image] | None:
    """None where the extra is not installed: its wheel carries x265, which is GPL."""
    try:
        from pillow_heif.as_plugin import HeifImageFile
    except ImportError:
        return None
    return cast(Callable[[BinaryIO], Image.Image], HeifImageFile)


def _grey(image: Image.Image) -> Image.Image:
    """Luma at 8 bits; what is transparent looks white, as on a page."""
    if image.mode == "L":
        return image
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("L", image.size, 255)
        white.paste(image.convert("L"), mask=image.getchannel("A"))
        return white
    return image.convert("L")


def _heif_exif(image: Image.Image) -> bytes | None:
    block = image.info.get("exif")
    return block.removeprefix(b"Exif\x00\x00") if isinstance(block, bytes) else None


def _is_complete(pixels: bytes, grey: Image.Image) -> bool:
    """
    Whether a JPEG that ends properly also holds all of its picture.

    When coded data runs out before the end marker, libjpeg warns where nobody hears it and paints the rest mid-grey. A
    photograph that truly ends in mid-grey is told apart by adding noise to the coded data: what is complete ignores it.
    """
    last_block = grey.crop(((grey.width - 1) // 8 * 8, (grey.height - 1) // 8 * 8, *grey.size))
    if last_block.getextrema() != (128, 128):
        return True
    disturbance = hashlib.shake_128(b"disturb").digest(4096).replace(b"\xff", b"\x00")
    return _small(pixels) == _small(pixels[:-2] + disturbance + pixels[-2:])


def _small(pixels: bytes) -> bytes:
    image = JpegImagePlugin.JpegImageFile(io.BytesIO(pixels))
    image.draft("L", (max(1, image.width // 8), max(1, image.height // 8)))
    return image.tobytes()

"""Real photographs as phones send them, and what people do to them."""

import io
from functools import cache

import pillow_heif
from PIL import Image, ImageFilter, ImageOps

from api.demo.phone import Photo
from tests.ingest.photographs import everyday

# Of 451 x 300 pixels and more, worth 4 or 5 stars, and none like another.
SCENES = (
    "astronaut", "coffee", "chelsea", "rocket", "china", "flower", "motorcycle", "camera", "gravel", "coins"
)  # fmt: skip


@cache
def picture(name: str) -> Image.Image:
    return everyday()[name].convert("RGB")


@cache
def photo(name: str) -> Photo:
    """A photograph as the camera wrote it."""
    return jpeg(picture(name))


SERIAL_NUMBER = b"SN-4711-0815"


def tagged(name: str) -> Photo:
    """With the place and the camera's serial number beside the picture."""
    exif = Image.Exif()
    exif[0x010F] = "Camera works"
    exif.get_ifd(0x8769)[0xA431] = SERIAL_NUMBER.decode()
    exif.get_ifd(0x8825).update({1: "N", 2: (30.0, 16.0, 2.0), 3: "W", 4: (97.0, 44.0, 35.0)})
    stream = io.BytesIO()
    picture(name).save(stream, "JPEG", quality=92, exif=exif)
    return Photo(stream.getvalue())


def mirrored(name: str) -> Photo:
    """Turned round and compressed anew, so that not one byte is the same."""
    return jpeg(ImageOps.mirror(picture(name)), quality=80)


def small(name: str, side: int = 200) -> Photo:
    return jpeg(ImageOps.fit(picture(name), (side, side)))


def blurred(name: str, radius: float) -> Photo:
    """Out of focus. Coffee at 2.0 is worth 2 stars, at 3.0 one."""
    return jpeg(picture(name).filter(ImageFilter.GaussianBlur(radius)), quality=90)


def heic(name: str) -> Photo:
    """As an iPhone writes it."""
    stream = io.BytesIO()
    pillow_heif.from_pillow(picture(name)).save(stream, quality=85)
    return Photo(stream.getvalue(), "image/heic")


def jpeg(image: Image.Image, *, quality: int = 92) -> Photo:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Photo(stream.getvalue())

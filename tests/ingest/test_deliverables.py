"""What a buyer receives: every pixel, the right way up, in the right colours, and nothing that the camera wrote beside them."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms, ImageOps

from ingest import deliverables, probe
from ingest.breakage import Broken
from ingest.formats import MEDIA_TYPES, Photo
from tests import hostile

SECRETS = (b"SN-4711-0815", b"Camera works", b"adobe:ns:meta", b"a comment", b"behind the picture")
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">SN-4711-0815</x:xmpmeta>'
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def taken(photo: Photo, orientation: int = 6) -> bytes:
    """A photo with all that cameras and editors write beside it."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Camera works", orientation
    exif.get_ifd(0x8769)[0xA431] = "SN-4711-0815"
    exif.get_ifd(0x8825).update({1: "N", 2: (30.0, 16.0, 2.0), 3: "W", 4: (97.0, 44.0, 35.0)})
    picture = hostile.photograph()
    if photo == "HEIF":
        stream = io.BytesIO()
        pillow_heif.from_pillow(picture).save(stream, quality=90, exif=exif.tobytes(), xmp=XMP, icc_profile=PROFILE)
        return stream.getvalue()
    more: dict[str, object] = {"xmp": XMP} if photo == "WEBP" else {}
    if photo == "JPEG":
        more = {"comment": b"a comment", "xmp": XMP}
    data = hostile.saved(picture, format=photo, exif=exif, icc_profile=PROFILE, **more)
    if photo == "PNG":
        texts = hostile.chunk(b"tEXt", b"Comment\x00a comment") + hostile.chunk(
            b"iTXt", b"XML\x00\x00\x00\x00\x00" + XMP
        )
        data = data[:33] + texts + data[33:]
    return data + b"behind the picture"


def probed(folder: Path, data: bytes, media_type: str) -> probe.Facts:
    path = folder / "photo"
    path.write_bytes(data)
    declared = probe.Declared(len(data), hashlib.sha256(data).hexdigest(), media_type)
    found = probe.inspect(path, declared=declared, limits=probe.Limits())
    assert not isinstance(found, Broken), found
    return found.facts


def opened(data: bytes) -> Image.Image:
    pillow_heif.register_heif_opener()
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("photo", ["JPEG", "PNG", "WEBP"])
def test_the_copy_has_the_pixels_and_nothing_beside_them(tmp_path: Path, photo: Photo, orientation: int) -> None:
    original = taken(photo, orientation)
    facts = probed(tmp_path, original, MEDIA_TYPES[photo][0])
    assert facts.exif.latitude is not None
    assert all(secret in original for secret in (SECRETS[0], SECRETS[1], SECRETS[4]))

    copy = deliverables.make(photo, original, facts.orientation)
    assert [secret for secret in SECRETS if secret in copy] == []
    assert np.array_equal(np.asarray(opened(copy)), np.asarray(opened(original)))
    assert opened(copy).info["icc_profile"] == opened(original).info["icc_profile"]
    assert dict(opened(copy).getexif()) == ({0x0112: orientation} if orientation != 1 else {})
    after = probed(tmp_path, copy, deliverables.media_type(photo))
    assert (after.width, after.height, after.orientation) == (facts.width, facts.height, orientation)
    assert (after.exif.latitude, after.exif.make, after.trailer) == (None, None, 0)
    assert after.measures == facts.measures
    assert deliverables.make(photo, copy, orientation) == copy


def test_heic_is_delivered_as_an_upright_jpeg(tmp_path: Path) -> None:
    original = taken("HEIF")
    facts = probed(tmp_path, original, "image/heic")
    assert facts.exif.latitude is not None
    copy = deliverables.make("HEIF", original, facts.orientation)
    assert [secret for secret in SECRETS if secret in copy] == []
    delivered = opened(copy)
    assert (delivered.format, delivered.size) == ("JPEG", (facts.width, facts.height))
    assert dict(delivered.getexif()) == {}
    assert delivered.info["icc_profile"] == PROFILE
    upright = ImageOps.exif_transpose(opened(original)).convert("RGB")
    assert np.abs(np.asarray(delivered, dtype=int) - np.asarray(upright, dtype=int)).mean() < 3
    assert deliverables.media_type("HEIF") == "image/jpeg"


def test_every_photo_that_is_taken_can_be_delivered(tmp_path: Path) -> None:
    for file in hostile.honest():
        facts = probed(tmp_path, file.data, file.media_type)
        copy = deliverables.make(facts.format, file.data, facts.orientation)
        after = probed(tmp_path, copy, deliverables.media_type(facts.format))
        assert (after.width, after.height) == (facts.width, facts.height), file.name


def test_a_thumbnail_beside_the_picture_is_not_delivered() -> None:
    data = hostile.with_segments(hostile.segment(0xE0, b"JFXX\x00\x10" + b"SN-4711-0815"))
    assert SECRETS[0] not in deliverables.make("JPEG", data, 1)

"""What the probe finds out about good files, and in which order it refuses bad ones."""

import hashlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageOps

from ingest import probe
from ingest.breakage import Broken, Code
from ingest.probe import Declared, Facts, Inspected, Limits
from tests import hostile


def inspect(tmp_path: Path, data: bytes, media_type: str = "image/jpeg", **changes: Any) -> Inspected | Broken:
    path = tmp_path / "file"
    path.write_bytes(data)
    declared = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "media_type": media_type}
    limits = {name: changes.pop(name) for name in list(changes) if name.startswith("max_")}
    return probe.inspect(path, declared=Declared(**declared | changes), limits=Limits(**limits))


def facts(found: Inspected | Broken) -> Facts:
    assert isinstance(found, Inspected), found
    return found.facts


def broken(found: Inspected | Broken) -> Broken:
    assert isinstance(found, Broken), found
    return found


def jpeg(image: Image.Image, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", **options)
    return stream.getvalue()


def test_it_says_what_the_file_is(tmp_path: Path) -> None:
    data = hostile.encoded("jpeg")
    found = facts(inspect(tmp_path, data))
    assert (found.format, found.media_type, found.size) == ("JPEG", "image/jpeg", len(data))
    assert (found.width, found.height, found.orientation, found.trailer) == (320, 214, 1, 0)
    assert found.sha256 == hashlib.sha256(data).hexdigest()
    assert found.prober == probe.PROBER
    assert Facts.from_json(json.loads(json.dumps(found.as_json()))) == found


@pytest.mark.parametrize(
    ("kind", "media_type", "name"),
    [
        ("progressive", "image/jpeg", "JPEG"),
        ("png", "image/png", "PNG"),
        ("webp", "image/webp", "WEBP"),
        ("heic", "image/heic", "HEIF"),
    ],
)
def test_every_format_shows_the_same_photograph(tmp_path: Path, kind: str, media_type: str, name: str) -> None:
    found = inspect(tmp_path, hostile.encoded(kind), media_type)
    assert isinstance(found, Inspected)
    assert (found.facts.format, found.facts.media_type) == (name, media_type)
    assert (found.facts.width, found.facts.height) == (320, 214)
    difference = np.asarray(found.image, float) - np.asarray(hostile.photograph().convert("L"), float)
    assert np.abs(difference).mean() < 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_picture_is_turned_as_exif_says(tmp_path: Path, orientation: int) -> None:
    tags = Image.Exif()
    tags[0x0112] = orientation
    data = jpeg(hostile.photograph(), quality=95, exif=tags)
    found = inspect(tmp_path, data)
    assert isinstance(found, Inspected)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("L")
    assert (found.facts.width, found.facts.height) == upright.size == found.image.size
    assert found.facts.orientation == orientation
    assert np.abs(np.asarray(found.image, float) - np.asarray(upright, float)).mean() < 1.5


def test_heic_is_not_turned_twice(tmp_path: Path) -> None:
    tags = Image.Exif()
    tags[0x0112] = 6
    stream = io.BytesIO()
    pillow_heif.from_pillow(hostile.photograph()).save(stream, quality=60, exif=tags.tobytes())
    found = inspect(tmp_path, stream.getvalue(), "image/heic")
    assert isinstance(found, Inspected)
    expected = pillow_heif.open_heif(io.BytesIO(stream.getvalue())).size
    assert (found.facts.width, found.facts.height) == expected == found.image.size


def test_exif_of_every_container_is_read(tmp_path: Path) -> None:
    tags = Image.Exif()
    tags[0x010F] = "Footwork Phones"
    picture = hostile.photograph()
    for name, media_type in (("JPEG", "image/jpeg"), ("PNG", "image/png"), ("WEBP", "image/webp")):
        found = facts(inspect(tmp_path, hostile.saved(picture, format=name, exif=tags), media_type))
        assert found.exif.make == "Footwork Phones", name
    stream = io.BytesIO()
    pillow_heif.from_pillow(picture).save(stream, exif=tags.tobytes())
    assert facts(inspect(tmp_path, stream.getvalue(), "image/heic")).exif.make == "Footwork Phones"


def test_what_is_transparent_counts_as_white(tmp_path: Path) -> None:
    hidden = hostile.photograph().convert("RGBA")
    hidden.putalpha(0)
    found = inspect(tmp_path, hostile.saved(hidden, format="PNG"), "image/png")
    assert isinstance(found, Inspected)
    assert found.image.getextrema() == (255, 255)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    grey = np.asarray(hostile.photograph().convert("L"))
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    found = inspect(tmp_path, hostile.saved(deep, format="PNG"), "image/png")
    assert isinstance(found, Inspected)
    assert np.array_equal(np.asarray(found.image), grey)


def test_the_trailer_is_counted(tmp_path: Path) -> None:
    data = hostile.encoded("jpeg")
    assert facts(inspect(tmp_path, data + data)).trailer == len(data)


def test_a_large_picture_is_reduced_for_hashing(tmp_path: Path) -> None:
    found = inspect(tmp_path, jpeg(hostile.photograph().resize((3000, 2006))))
    assert isinstance(found, Inspected)
    assert (found.facts.width, found.facts.height) == (3000, 2006)
    assert found.image.size == (1024, 685)
    assert found.image.mode == "L"


def test_other_bytes_than_announced(tmp_path: Path) -> None:
    data = hostile.encoded("jpeg")
    other = broken(inspect(tmp_path, data, size=len(data) + 1))
    assert (other.code, other.measured, other.limit) == (Code.SIZE_MISMATCH, len(data), len(data) + 1)
    other = broken(inspect(tmp_path, data, sha256="0" * 64))
    assert (other.code, other.limit) == (Code.HASH_MISMATCH, "0" * 64)
    assert isinstance(inspect(tmp_path, data, sha256=hashlib.sha256(data).hexdigest().upper()), Inspected)


def test_limits_name_the_measured_value_and_the_limit(tmp_path: Path) -> None:
    data = hostile.encoded("jpeg")
    for limit, value, code, measured in (
        ("max_bytes", len(data) - 1, Code.TOO_LARGE, len(data)),
        ("max_pixels", 320 * 214 - 1, Code.TOO_MANY_PIXELS, 320 * 214),
        ("max_side", 319, Code.TOO_MANY_PIXELS, 320),
    ):
        refused = broken(inspect(tmp_path, data, **{limit: value}))
        assert (refused.code, refused.measured, refused.limit) == (code, measured, value)
        assert isinstance(inspect(tmp_path, data, **{limit: value + 1}), Inspected)


def test_a_file_over_the_limit_is_not_even_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("read"))
    assert broken(inspect(tmp_path, bytes(2000), max_bytes=1000)).code == Code.TOO_LARGE


def test_a_stranger_is_called_by_its_name(tmp_path: Path) -> None:
    refused = broken(inspect(tmp_path, b"GIF89a" + bytes(20), "image/gif"))
    assert refused.code == Code.UNKNOWN_TYPE
    assert refused.measured == "GIF"
    assert "GIF" in refused.detail


def test_heic_without_the_extra_is_refused_with_a_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif.as_plugin", None)
    refused = broken(inspect(tmp_path, hostile.encoded("heic"), "image/heic"))
    assert (refused.code, refused.measured) == (Code.UNKNOWN_TYPE, "HEIF")
    assert "JPEG" in refused.detail


def test_a_time_out_inside_the_decoder_is_not_swallowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Late(Exception):
        """As a work horse's alarm raises it: no kind that decoders raise."""

    def alarm(_: Image.Image) -> None:
        raise Late

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", alarm)
    with pytest.raises(Late):
        inspect(tmp_path, hostile.encoded("jpeg"))


def test_memory_running_out_is_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Image.Image) -> None:
        raise MemoryError

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", full)
    assert broken(inspect(tmp_path, hostile.encoded("jpeg"))).code == Code.MEMORY_LIMIT

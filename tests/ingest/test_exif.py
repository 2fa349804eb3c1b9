"""Exif as cameras write it, and as nobody should."""

import random
import struct
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from ingest import exif
from ingest.exif import Exif


def block(
    main: dict[int, Any] | None = None, photo: dict[int, Any] | None = None, gps: dict[int, Any] | None = None
) -> bytes:
    tags = Image.Exif()
    tags.update(main or {})
    tags.get_ifd(0x8769).update(photo or {})
    tags.get_ifd(0x8825).update(gps or {})
    return tags.tobytes().removeprefix(b"Exif\x00\x00")


def position(latitude: Any, south: str, longitude: Any, west: str) -> dict[int, Any]:
    return {0x0001: south, 0x0002: latitude, 0x0003: west, 0x0004: longitude}


def test_a_phones_tags() -> None:
    read = exif.read(
        block(
            {0x010F: "Apple", 0x0110: "iPhone 17", 0x0112: 6, 0x0131: "26.1", 0x0132: "2026:11:20 10:00:00"},
            {
                0x9003: "2026:11:20 09:59:58",
                0x9011: "-06:00",
                0x829A: IFDRational(1, 120),
                0x829D: IFDRational(16, 10),
                0x8827: 64,
                0x920A: IFDRational(24, 1),
            },
            position((30.0, 16.0, 1.2), "N", (97.0, 44.0, 34.08), "W")
            | {0x001D: "2026:11:20", 0x0007: (15.0, 59.0, 57.0), 0x001F: IFDRational(19, 4)},
        )
    )
    assert read == Exif(
        orientation=6,
        make="Apple",
        model="iPhone 17",
        software="26.1",
        taken_at="2026-11-20T09:59:58",
        utc_offset="-06:00",
        exposure_s=1 / 120,
        f_number=1.6,
        iso=64,
        focal_length_mm=24.0,
        latitude=30.267,
        longitude=-97.7428,
        position_error_m=4.75,
        gps_at="2026-11-20T15:59:57+00:00",
    )
    assert Exif.from_json(read.as_json()) == read


def test_the_southern_hemisphere() -> None:
    read = exif.read(block(gps=position((33.0, 51.0, 25.2), "S", (151.0, 12.0, 30.6), "E")))
    assert (read.latitude, read.longitude) == (-33.857, 151.2085)


@pytest.mark.parametrize(
    "gps",
    [
        position((0.0, 0.0, 0.0), "N", (0.0, 0.0, 0.0), "E"),
        position((91.0, 0.0, 0.0), "N", (10.0, 0.0, 0.0), "E"),
        position((10.0, 0.0, 0.0), "N", (181.0, 0.0, 0.0), "E"),
        position((10.0, 0.0), "N", (10.0, 0.0, 0.0), "E"),
        {0x0001: "N", 0x0002: (10.0, 0.0, 0.0)},
    ],
    ids=["no fix", "beyond the pole", "beyond the date line", "two numbers", "latitude alone"],
)
def test_half_a_position_is_none(gps: dict[int, Any]) -> None:
    read = exif.read(block(gps=gps))
    assert (read.latitude, read.longitude) == (None, None)


@pytest.mark.parametrize("text", ["0000:00:00 00:00:00", "2026:13:01 00:00:00", "    :  :     :  :  ", "yesterday"])
def test_a_time_that_is_none(text: str) -> None:
    assert exif.read(block(photo={0x9003: text})).taken_at is None


def test_fractions_by_zero_are_left_out() -> None:
    raw = block(photo={0x829A: IFDRational(1, 120)})
    assert exif.read(raw).exposure_s == pytest.approx(float(Fraction(1, 120)))
    assert exif.read(raw.replace(struct.pack("<II", 1, 120), bytes(8))).exposure_s is None


def test_nothing_is_not_malformed() -> None:
    assert exif.read(None) == exif.read(b"") == Exif()
    assert not exif.read(block({0x010F: "x"})).malformed
    assert exif.read(b"no tiff").malformed


def test_text_is_cut_and_cleaned() -> None:
    read = exif.read(block({0x010F: "a" * 500, 0x0110: "line\nbreak\x1b[31m"}))
    assert read.make == "a" * 64
    assert read.model == "linebreak[31m"


@given(st.binary(max_size=600))
def test_no_bytes_raise(noise: bytes) -> None:
    for start in (b"", b"II*\x00\x08\x00\x00\x00", b"MM\x00*\x00\x00\x00\x08"):
        exif.read(start + noise).as_json()


@given(st.randoms(use_true_random=False))
def test_no_damage_raises(chance: random.Random) -> None:
    data = bytearray(
        block(
            {0x010F: "Apple", 0x0112: 6},
            {0x9003: "2026:11:20 09:59:58", 0x829A: IFDRational(1, 120)},
            position((30.0, 16.0, 1.2), "N", (97.0, 44.0, 34.08), "W"),
        )
    )
    for _ in range(chance.randrange(1, 6)):
        data[chance.randrange(len(data))] = chance.randrange(256)
    read = exif.read(bytes(data))
    assert read.orientation in range(1, 9)
    assert read.latitude is None or -90 <= read.latitude <= 90
    assert read.longitude is None or -180 <= read.longitude <= 180

"""What fingerprints of real photographs survive, and what they cost in bits."""

import io

import imagehash
import numpy as np
import pytest
from PIL import Image, ImageOps

from ingest import pdq
from ingest.geometry import DIHEDRAL
from ingest.hashes import (
    GREY_SIDE,
    Box,
    Fingerprint,
    fingerprint,
    grey_copy,
    load_grey,
    trim,
    trimmed,
    working_copy,
)
from tests.ingest.attacks import ATTACKS, BLACK, WHITE, border, letterbox, screenshot
from tests.ingest.photographs import everyday, some

REJECT_DISTANCE = 31  # near-duplicates.md
TURNS = {
    0: None,
    1: Image.Transpose.ROTATE_90,
    2: Image.Transpose.ROTATE_180,
    3: Image.Transpose.ROTATE_270,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.FLIP_LEFT_RIGHT,
    6: Image.Transpose.TRANSPOSE,
    7: Image.Transpose.TRANSVERSE,
}


def bits_apart(one: bytes, other: bytes) -> int:
    return (int.from_bytes(one) ^ int.from_bytes(other)).bit_count()


def distance(query: Fingerprint, stored: Fingerprint) -> int:
    return min(bits_apart(variant, stored.pdq) for variant in query.variants)


def share_within(group: str, radius: int) -> float:
    distances = [
        distance(fingerprint(attack(photo)), stored)
        for photo in some().values()
        for stored in [fingerprint(photo)]
        for attack in ATTACKS[group].values()
    ]
    return float(np.mean(np.array(distances) <= radius))


@pytest.mark.parametrize("variant", range(8))
def test_a_variant_is_the_hash_of_the_turned_picture(variant: int) -> None:
    photo = everyday()["chelsea"]
    turned = photo if TURNS[variant] is None else photo.transpose(TURNS[variant])
    assert bits_apart(fingerprint(photo).variants[variant], fingerprint(turned).pdq) <= 4


@pytest.mark.parametrize("variant", range(8))
def test_variants_and_the_dihedral_table_tell_the_same_turns(variant: int) -> None:
    """A mark right of and above the centre lands where the table says."""
    picture = Image.new("L", (101, 101))
    picture.putpixel((70, 45), 255)  # 20 to the right, 5 up
    turned = picture if TURNS[variant] is None else picture.transpose(TURNS[variant])
    y, x = np.argwhere(np.asarray(turned) == 255)[0] - 50
    assert tuple(np.array(DIHEDRAL[variant]) @ (20, -5)) == (x, y)


@pytest.mark.parametrize(("width", "height"), [(4000, 3000), (1500, 2400)])
def test_pdq_of_the_small_copy_is_nearly_that_of_the_full_picture(width: int, height: int) -> None:
    full = everyday()["china"].resize((width, height), Image.Resampling.BICUBIC)
    points = pdq.sample(np.asarray(full.convert("L").resize((1152, 1152), Image.Resampling.BOX)))
    found = fingerprint(full)
    assert bits_apart(found.pdq, pdq.variants(points)[0]) <= 6
    assert abs(found.pdq_quality - pdq.quality(points)) <= 5


def test_a_draft_decoded_jpeg_has_the_same_hash() -> None:
    buffer = io.BytesIO()
    everyday()["flower"].resize((4000, 3000), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    full, draft = Image.open(buffer), Image.open(buffer)
    draft.draft("RGB", (1280, 1280))
    assert draft.size == (2000, 1500)
    assert bits_apart(fingerprint(full).pdq, fingerprint(draft).pdq) <= 4


def test_phash_is_the_one_of_imagehash_in_a_signed_number() -> None:
    for photo in everyday().values():
        theirs = int(str(imagehash.phash(photo.convert("L"))), 16)
        ours = fingerprint(photo).phash
        assert -(2**63) <= ours < 2**63
        assert ((ours % 2**64) ^ theirs).bit_count() <= 4


def test_one_picture_one_fingerprint() -> None:
    photo = everyday()["coffee"]
    first = fingerprint(photo)
    assert first == fingerprint(photo) == fingerprint(trimmed(photo))
    assert first.variants[0] == first.pdq
    assert len(first.variants) == 8
    assert {len(variant) for variant in first.variants} == {32}


@pytest.mark.parametrize(
    ("group", "radius", "at_least"),
    [
        ("recode", REJECT_DISTANCE, 0.95),
        ("tone", REJECT_DISTANCE, 0.9),
        ("mark", REJECT_DISTANCE, 0.9),
        ("mirror, 90", REJECT_DISTANCE, 1.0),
        ("screen", REJECT_DISTANCE, 0.9),
        ("crop 2", 88, 0.95),
        ("crop 5", 88, 0.5),
        ("rotate 1-3", 88, 0.75),
        ("combo", 88, 0.8),
    ],
)
def test_recall_of_the_hash(group: str, radius: int, at_least: float) -> None:
    assert share_within(group, radius) >= at_least


def test_different_photographs_are_far_apart() -> None:
    found = [fingerprint(photo) for photo in everyday().values()]
    assert all(distance(one, other) > 88 for one in found for other in found if one is not other)


@pytest.mark.parametrize("colour", [BLACK, WHITE, (128, 140, 90)])
def test_borders_are_trimmed_to_the_pixel(colour: tuple[int, int, int]) -> None:
    photo = everyday()["astronaut"]
    framed = border(0.1, colour)(photo)
    assert trim(np.asarray(framed.convert("L"))) == Box(51, 51, 563, 563)


def test_frames_in_frames_are_trimmed() -> None:
    photo = everyday()["coffee"]
    framed = screenshot(WHITE, BLACK)(letterbox(photo))
    picture = trimmed(framed)
    assert picture.width / picture.height == pytest.approx(photo.width / photo.height, rel=0.03)


def test_photographs_without_a_frame_stay_whole() -> None:
    for photo in everyday().values():
        grey = working_copy(photo)
        assert trim(grey) == Box(0, 0, grey.shape[1], grey.shape[0])


def test_a_bright_sky_that_fades_into_the_picture_is_no_frame() -> None:
    sky = np.linspace(255, 60, 400)[:, None] + np.zeros(500)
    assert trim(np.clip(sky + 20, 0, 255).astype(np.uint8)) == Box(0, 0, 500, 400)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (3000, 2), (64, 64), (63, 65)])
def test_any_size_has_a_fingerprint(size: tuple[int, int]) -> None:
    noise = Image.effect_noise(size, 90)
    assert len(fingerprint(noise).pdq) == 32
    assert max(load_grey(grey_copy(noise)).shape) <= GREY_SIDE


@pytest.mark.parametrize("level", [0, 127, 255])
def test_flat_pictures_tell_nothing(level: int) -> None:
    found = fingerprint(Image.new("L", (800, 600), level))
    assert not found.telling
    assert all(fingerprint(photo).telling for photo in everyday().values())


def test_a_grey_sheet_with_a_faint_gradient_tells_nothing() -> None:
    assert not fingerprint(ImageOps.autocontrast(Image.linear_gradient("L")).point(lambda v: 120 + v // 32)).telling


def test_the_grey_copy_is_small_and_true() -> None:
    photo = everyday()["china"]
    copy = grey_copy(photo)
    grey = load_grey(copy)
    assert len(copy) < 40_000
    assert grey.dtype == np.uint8
    assert max(grey.shape) == GREY_SIDE
    same = np.asarray(photo.convert("L").resize(grey.shape[::-1], Image.Resampling.BILINEAR))
    assert np.corrcoef(grey.ravel(), same.ravel())[0, 1] > 0.99

"""Copies are recognised whatever was done to them; strangers, and two honest captures of one scene, are not rejected."""

from functools import cache

import numpy as np
import pytest
from PIL import Image

from ingest.geometry import MIN_INLIERS, Overlap, Picture, compare
from ingest.hashes import Fingerprint, Grey, fingerprint, grey_copy, load_grey
from tests.ingest.attacks import ATTACKS, Attack, crop, recode, resize, turn
from tests.ingest.photographs import everyday, some, stereo_pair

REJECT, REVIEW = 0.5, 0.3  # near-duplicates.md


def grey(image: Image.Image) -> Grey:
    return load_grey(grey_copy(image))


@cache
def original(name: str) -> tuple[Picture, Fingerprint]:
    photo = everyday()[name]
    return Picture(grey(photo)), fingerprint(photo)


def nearest_variant(query: Fingerprint, stored: Fingerprint) -> int | None:
    """As the index would nominate it."""
    distances = [(int.from_bytes(v) ^ int.from_bytes(stored.pdq)).bit_count() for v in query.variants]
    return int(np.argmin(distances)) if min(distances) <= 88 else None


def correlations(attack: Attack) -> list[float]:
    found = []
    for name, photo in some().items():
        copy = attack(photo)
        picture, stored = original(name)
        found.append(compare(grey(copy), picture, nearest_variant(fingerprint(copy), stored)).correlation)
    return found


@pytest.mark.parametrize("group", ATTACKS)
def test_copies_verify(group: str) -> None:
    found = np.array([value for attack in ATTACKS[group].values() for value in correlations(attack)])
    assert (found >= REVIEW).mean() >= 0.95
    assert (found >= REJECT).mean() >= 0.9


def test_strangers_have_nothing_in_common() -> None:
    names = list(everyday())
    for i, one in enumerate(names):
        for other in names[:i]:
            assert compare(original(one)[0], original(other)[0]).correlation < REVIEW, (one, other)


@pytest.mark.parametrize("variant", range(8))
def test_strangers_do_not_match_because_a_hash_says_so(variant: int) -> None:
    assert compare(original("brick")[0], original("gravel")[0], variant).correlation < 0.15


def test_two_honest_captures_of_one_scene_are_not_rejected() -> None:
    left, right = map(grey, stereo_pair())
    overlap = compare(left, right, 0)
    assert overlap.correlation < 0.6
    assert compare(left, left, 0).correlation > 0.99


@pytest.mark.parametrize("way", [*Image.Transpose])
def test_turned_copies_are_found_without_a_hash_and_say_whether_mirrored(way: Image.Transpose) -> None:
    overlap = compare(grey(turn(way)(everyday()["coffee"])), original("coffee")[0])
    assert overlap.correlation >= REJECT
    assert overlap.inliers >= MIN_INLIERS
    assert overlap.mirrored == (
        way
        in {
            Image.Transpose.FLIP_LEFT_RIGHT,
            Image.Transpose.FLIP_TOP_BOTTOM,
            Image.Transpose.TRANSPOSE,
            Image.Transpose.TRANSVERSE,
        }
    )


def test_the_hash_aligns_what_has_too_few_features() -> None:
    """A quarter of the side, recoded: ORB finds little in it, the whole frames still lie on each other."""
    soft = resize(0.25, 0.25)(everyday()["rocket"])
    picture, stored = original("rocket")
    without = compare(grey(soft), picture)
    aligned = compare(grey(soft), picture, nearest_variant(fingerprint(soft), stored))
    assert without.correlation < REJECT <= aligned.correlation
    assert aligned.inliers == 0


def test_the_overlap_is_outlined_in_both_pictures() -> None:
    """The upper left 80 % of the picture: the whole of the copy is that part of the original."""
    overlap = compare(grey(crop(0.2, corner=True)(everyday()["china"])), original("china")[0])
    assert _extent(overlap.outline_a) == pytest.approx((0, 0, 1, 1), abs=0.02)
    assert _extent(overlap.outline_b) == pytest.approx((0, 0, 0.8, 0.8), abs=0.02)
    assert len(overlap.outline_a) == len(overlap.outline_b)


def test_outlines_of_a_mirrored_copy_lie_corner_on_corner() -> None:
    overlap = compare(grey(turn(Image.Transpose.FLIP_LEFT_RIGHT)(everyday()["chelsea"])), original("chelsea")[0], 5)
    for (ax, ay), (bx, by) in zip(overlap.outline_a, overlap.outline_b, strict=True):
        assert (1 - ax, ay) == pytest.approx((bx, by), abs=0.01)


def test_the_order_of_the_pair_does_not_matter_much() -> None:
    copy = Picture(grey(recode("JPEG", 30)(resize(0.4, 0.4)(everyday()["astronaut"]))))
    there, back = compare(copy, original("astronaut")[0]), compare(original("astronaut")[0], copy)
    assert there.correlation == pytest.approx(back.correlation, abs=0.15)


def test_the_same_pair_measures_the_same_every_time() -> None:
    copy, stored = grey(ATTACKS["rotate 5-10"]["10"](everyday()["coins"])), grey(everyday()["coins"])
    assert compare(copy, stored) == compare(copy, stored) == compare(Picture(copy), Picture(stored))


def flat(level: int) -> Grey:
    return np.full((288, 384), level, np.uint8)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (flat(128), flat(128)),
        (flat(0), flat(255)),
        (np.zeros((1, 384), np.uint8), flat(9)),
        (np.zeros((20, 20), np.uint8), np.zeros((20, 20), np.uint8)),
        (np.tile(np.array([[0, 255], [255, 0]], np.uint8).repeat(8, 0).repeat(8, 1), (18, 24)), flat(7)),
        (np.linspace(0, 255, 384).astype(np.uint8)[None].repeat(288, 0), flat(7)),
    ],
)
@pytest.mark.parametrize("variant", [None, 0, 3])
def test_pictures_of_nothing_match_nothing(one: Grey, other: Grey, variant: int | None) -> None:
    assert compare(one, other, variant) == Overlap(correlation=0.0)


def test_smooth_skies_do_not_match_each_other() -> None:
    """Two clear skies, one gradient, each with its own grain of the sensor."""
    rng = np.random.default_rng(7)
    sky = np.linspace(200, 120, 288)[:, None] + np.zeros(384)
    one, other = ((sky + rng.normal(0, 3, sky.shape)).astype(np.uint8) for _ in range(2))
    assert compare(one, other, 0).correlation < 0.1


def _extent(outline: tuple[tuple[float, float], ...]) -> tuple[float, float, float, float]:
    xs, ys = zip(*outline, strict=True)
    return min(xs), min(ys), max(xs), max(ys)

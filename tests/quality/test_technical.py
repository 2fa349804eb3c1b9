"""Stars fall as photographs get worse, and the worker is told what to do."""

import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFilter
from scipy.stats import spearmanr

from ingest.exif import Exif
from ingest.measures import Measures, measure, working_copy
from ingest.probe import Facts
from quality.scorers import DIMENSIONS, Brief, Rating, technical
from tests.ingest.photographs import everyday

SCENES = ("astronaut", "chelsea", "coffee", "china", "motorcycle")
GOOD = Measures(
    blur=0.3, noise=1.0, compression=9.0, mean=0.5, shade=0.1, light=0.9, shadows=0.0, highlights=0.01, contrast=0.8
)
BRIEF = Brief("Mailboxes", "Photos of mailboxes")


def rated(image: Image.Image) -> Rating:
    grey = image.convert("L")
    return technical.rate(measure(grey, working_copy(grey)))


def lit(image: Image.Image, factor: float) -> Image.Image:
    return image.point(lambda level: int(min(255, level * factor)))


def shaken(image: Image.Image, length: int) -> Image.Image:
    pixels = np.asarray(image.convert("L"), float)
    moved = [np.roll(pixels, step - length // 2, axis=1) for step in range(length)]
    return Image.fromarray(np.mean(moved, axis=0).astype(np.uint8))


def noisy(image: Image.Image, sigma: float) -> Image.Image:
    pixels = np.asarray(image.convert("L"), float)
    noise = np.random.default_rng(5).normal(0, sigma, pixels.shape)
    return Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8))


def recoded(image: Image.Image, quality: float) -> Image.Image:
    stream = io.BytesIO()
    image.convert("RGB").save(stream, "JPEG", quality=int(quality))
    return Image.open(stream)


def blurred(image: Image.Image, sigma: float) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(sigma))


Worsen = Callable[[Image.Image, float], Image.Image]
LADDERS: dict[str, tuple[Worsen, tuple[float, ...]]] = {
    "blurred": (blurred, (0, 1, 2, 3, 4, 6)),
    "blurred by shaking": (shaken, (1, 5, 9, 17, 25, 33)),
    "noisy": (noisy, (0, 8, 14, 20, 30, 45)),
    "too_dark": (lit, (1, 0.5, 0.3, 0.2, 0.1, 0.03)),
    "too_bright": (lit, (1, 2, 3, 5, 8, 20)),
    "compressed": (recoded, (95, 40, 20, 12, 8, 4)),
}


@pytest.mark.parametrize("scene", SCENES)
def test_a_good_photo_is_good(scene: str) -> None:
    rating = rated(everyday()[scene])
    assert rating.stars == 5
    assert (rating.reason, rating.feedback) == (None, None)


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("flaw", LADDERS)
def test_stars_fall_as_a_photo_gets_worse(scene: str, flaw: str) -> None:
    worsen, steps = LADDERS[flaw]
    ratings = [rated(worsen(everyday()[scene], step)) for step in steps]
    values = [rating.value for rating in ratings]
    assert spearmanr(range(len(steps)), values).statistic <= -0.9, values
    assert ratings[0].stars >= 4
    assert ratings[-1].stars <= 2
    assert ratings[-1].reason is not None
    assert ratings[-1].reason in (flaw, *flaw.split(), "no_contrast")


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_empty_picture_has_one_star(level: int) -> None:
    assert rated(Image.new("L", (1600, 1200), level)).stars == 1


@pytest.mark.parametrize(
    ("flaw", "change"),
    [
        ("blurred", {"blur": 0.7}),
        ("too_dark", {"light": 0.12}),
        ("too_bright", {"highlights": 0.8}),
        ("no_contrast", {"contrast": 0.06}),
        ("noisy", {"noise": 19.0}),
        ("compressed", {"compression": 2.0}),
    ],
)
def test_the_worker_hears_what_to_do(flaw: str, change: dict[str, float]) -> None:
    rating = technical.rate(replace(GOOD, **change))
    assert rating.stars <= 2
    assert rating.reason == flaw
    assert rating.feedback
    assert rating.measured == next(iter(change.values()))
    trait = next(trait for trait in technical.TRAITS if trait.reason == flaw)
    assert trait.stars(rating.limit) == 4


def test_a_small_flaw_is_named_without_calling_the_photo_bad() -> None:
    rating = technical.rate(replace(GOOD, blur=0.45))
    assert (rating.stars, rating.reason, rating.limit) == (4, "blurred", 0.36)
    assert rating.feedback is not None
    assert rating.feedback.startswith("Good")
    assert "hold still" in rating.feedback


def test_the_worst_flaw_counts() -> None:
    assert technical.rate(replace(GOOD, noise=8, blur=0.73)).reason == "blurred"
    assert technical.rate(replace(GOOD, noise=24, blur=0.5)).reason == "noisy"


def test_what_could_not_be_measured_says_nothing() -> None:
    assert technical.rate(replace(GOOD, blur=None, noise=None, compression=None)).stars == 5


@pytest.mark.parametrize("trait", technical.TRAITS, ids=lambda trait: trait.reason)
def test_the_table_is_in_order_and_reaches_both_ends(trait: technical.Trait) -> None:
    values, stars = zip(*trait.scale, strict=True)
    assert list(values) == sorted(values)
    assert sorted(stars) in (list(stars), list(stars)[::-1])
    assert {min(stars), max(stars)} == {1, 5}
    assert trait.stars(values[0] - 1) == stars[0]
    assert trait.stars(values[-1] + 1) == stars[-1]
    for value, expected in trait.scale:
        assert trait.stars(value) == pytest.approx(expected)


def test_it_judges_quality_and_abstains_on_the_rest() -> None:
    facts = Facts("JPEG", "image/jpeg", 1, "00", 4000, 3000, 1, 0, Exif(), GOOD)
    scores = technical.score(facts, BRIEF)
    assert set(scores.dimensions) == {"quality"}
    assert set(scores.dimensions) | set(scores.abstains) == set(DIMENSIONS)
    assert (scores.scorer, scores.version) == (technical.SCORER, technical.VERSION)
    assert scores.as_json()["dimensions"]["quality"]["stars"] == 5

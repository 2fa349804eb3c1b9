"""Each measure against pictures whose flaw is known because it was put there."""

import io
import json

import numpy as np
import pytest
from PIL import Image, ImageFilter

from ingest import measures
from ingest.measures import Measures, measure, working_copy
from tests.ingest.photographs import everyday

SCENES = ("astronaut", "chelsea", "coffee", "china", "flower", "motorcycle")
TEXTURES = ("grass", "gravel", "brick")


def measured(image: Image.Image) -> Measures:
    grey = image.convert("L")
    return measure(grey, working_copy(grey))


def noisy(image: Image.Image, sigma: float) -> Image.Image:
    pixels = np.asarray(image.convert("L"), float)
    noise = np.random.default_rng(7).normal(0, sigma, pixels.shape)
    return Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8))


def recoded(image: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.convert("RGB").save(stream, "JPEG", quality=quality)
    return Image.open(stream)


def blurred(image: Image.Image, sigma: float) -> Image.Image:
    """Sigma in pixels of the working copy."""
    return image.filter(ImageFilter.GaussianBlur(sigma * max(1, max(image.size) / measures.WORKING_SIDE)))


@pytest.mark.parametrize("scene", SCENES)
def test_blur_grows_with_the_blur(scene: str) -> None:
    values = [measured(blurred(everyday()[scene], sigma)).blur for sigma in (0, 1, 2, 3, 5)]
    assert values == sorted(values)
    assert values[0] < 0.36 < 0.73 < values[-1]


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("sigma", [8, 12, 20])
def test_heavy_blur_does_not_look_sharp_again(scene: str, sigma: float) -> None:
    assert measured(blurred(everyday()[scene], sigma)).blur > 0.73


def test_a_soft_background_is_no_blur() -> None:
    sharp = everyday()["coffee"].convert("L")
    soft = blurred(sharp, 5)
    subject = (200, 100, 400, 300)
    soft.paste(sharp.crop(subject), subject)
    assert measured(soft).blur < 0.45 < 0.7 < measured(blurred(sharp, 5)).blur


def test_the_same_picture_measures_the_same_at_every_size() -> None:
    scene = everyday()["china"].convert("L")
    small, large = (measured(blurred(scene.resize(size), 2)) for size in ((1280, 854), (3840, 2562)))
    assert small.blur == pytest.approx(large.blur, abs=0.05)
    assert small.contrast == pytest.approx(large.contrast, abs=0.02)


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("sigma", [10, 20, 40])
def test_noise_is_measured_in_levels(scene: str, sigma: float) -> None:
    assert 0.65 * sigma < measured(noisy(everyday()[scene], sigma)).noise < 1.05 * sigma


@pytest.mark.parametrize("scene", SCENES + TEXTURES)
def test_texture_is_no_noise(scene: str) -> None:
    assert measured(everyday()[scene]).noise < 1


@pytest.mark.parametrize("scene", SCENES)
def test_compression_falls_with_the_quality(scene: str) -> None:
    values = [measured(recoded(everyday()[scene], quality)).compression for quality in (95, 50, 20, 10, 5)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 8
    assert values[-1] < 3


def test_steps_nobody_sees_are_no_blocks() -> None:
    slope = np.linspace(120, 180, 1600)[np.newaxis, :] + np.linspace(0, 10, 1200)[:, np.newaxis]
    wall = Image.fromarray((slope + np.random.default_rng(1).normal(0, 0.6, slope.shape)).astype(np.uint8))
    assert measured(recoded(wall, 85)).compression > 9


def test_exposure_of_known_levels() -> None:
    levels = np.repeat(np.arange(0, 256, dtype=np.uint8), 256).reshape(256, 256)
    ramp = measured(Image.fromarray(levels))
    assert ramp.mean == pytest.approx(0.5, abs=0.001)
    assert (ramp.shade, ramp.light) == (pytest.approx(0.05, abs=0.005), pytest.approx(0.95, abs=0.005))
    assert (ramp.shadows, ramp.highlights) == (pytest.approx(6 / 256, abs=1e-4), pytest.approx(6 / 256, abs=1e-4))
    assert ramp.contrast == pytest.approx(0.98, abs=0.01)


@pytest.mark.parametrize(("level", "shadows", "highlights"), [(0, 1, 0), (255, 0, 1), (128, 0, 0)])
def test_nothing_to_see(level: int, shadows: float, highlights: float) -> None:
    empty = measured(Image.new("L", (2000, 1500), level))
    assert (empty.shadows, empty.highlights, empty.contrast) == (shadows, highlights, 0)
    assert empty.blur is None
    assert empty.compression == 10


@pytest.mark.parametrize("size", [(1, 1), (3, 900), (16, 16), (65, 65), (20_000, 2)])
def test_pictures_too_small_to_judge(size: tuple[int, int]) -> None:
    tiny = measured(everyday()["china"].resize(size))
    assert tiny.blur is None
    assert 0 < tiny.mean < 1
    assert Measures.from_json(json.loads(json.dumps(tiny.as_json()))) == tiny


def test_it_says_the_same_twice() -> None:
    assert measured(everyday()["rocket"]) == measured(everyday()["rocket"])

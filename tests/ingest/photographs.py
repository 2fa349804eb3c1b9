"""Real photographs out of the wheels of scikit-image and scikit-learn, or out of the folder in PHOTOS."""

import os
from functools import cache
from pathlib import Path

import skimage.data
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_images

EVERYDAY = ("astronaut", "brick", "camera", "chelsea", "coffee", "coins", "grass", "gravel", "rocket")
UNUSUAL = ("clock", "hubble_deep_field", "immunohistochemistry", "moon", "retina")


@cache
def everyday() -> dict[str, Image.Image]:
    """A dozen photographs of a dozen scenes."""
    photos = {name: Image.fromarray(getattr(skimage.data, name)()) for name in EVERYDAY}
    photos["motorcycle"] = stereo_pair()[0]
    photos["china"], photos["flower"] = map(Image.fromarray, load_sample_images().images)
    return photos


def some() -> dict[str, Image.Image]:
    """Six of them, from easy (astronaut) to hard (brick: one pattern all over), where a test does much to each."""
    return {name: everyday()[name] for name in ("astronaut", "brick", "chelsea", "china", "coffee", "rocket")}


@cache
def stereo_pair() -> tuple[Image.Image, Image.Image]:
    """Two honest captures of one scene, 19 cm apart: what two people before one mailbox hand in."""
    left, right, _disparity = skimage.data.stereo_motorcycle()
    return Image.fromarray(left), Image.fromarray(right)


def collection() -> dict[str, Image.Image]:
    """What the benchmarks run on: the folder in PHOTOS, at most 2,000 pixels wide, or all that the wheels have."""
    if folder := os.environ.get("PHOTOS"):
        files = sorted(
            path for path in Path(folder).rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"}
        )
        return {str(path.relative_to(folder)): _upright(path) for path in files}
    return everyday() | {name: Image.fromarray(getattr(skimage.data, name)()) for name in UNUSUAL}


def _upright(path: Path) -> Image.Image:
    image = Image.open(path)
    image.draft("RGB", (2000, 2000))
    image = ImageOps.exif_transpose(image).convert("RGB")
    image.thumbnail((2000, 2000))
    return image

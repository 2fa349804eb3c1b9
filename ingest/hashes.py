"""Hashes: what a picture looks like, in a few bytes that survive recoding, toning, mirroring and frames."""

import io
from dataclasses import dataclass
from typing import NamedTuple

import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image

from ingest import pdq

Grey = npt.NDArray[np.uint8]

MIN_PDQ_QUALITY = 50  # below it flat pictures (sky, walls, blank pages) collide: never look them up, never store them
WORKING_SIDE = 640  # pixels, longest side of the one grey copy that all hashes are computed from
GREY_SIDE = 384  # pixels, longest side of the copy kept for verification

# PDQ averages and samples 64 x 64 points. At 320 both its filter (3 taps) and its step (5 pixels) are odd, so every sample
# sits on the centre of its cell and the hash of a mirrored or turned picture is exactly the variant computed from the
# upright one. At 512, the usual size, they differ by 10 to 36 of the 31 bits that a match may cost.
PDQ_SIDE = 320

FLAT_TOLERANCE = 3  # grey levels that recoding moves a painted frame away from its colour
FLAT_SHARE = 0.9  # of the pixels of a frame's line; the rest may be icons or letters
STEP = 10  # grey levels: a frame ends abruptly, two lines further in the picture differs from it by more than this
STEP_SHARE = 0.25  # in so many of the pixels
MAX_FRAMES = 4  # one inside the other: a letterboxed picture in a screenshot has two
MIN_RUN = 0.15  # share of the side that lines between frames must fill to be picture and not a line of text
MIN_PICTURE = 64  # pixels of the working copy, either side; what is smaller was no picture


class Box(NamedTuple):
    """Pixels, right and lower edges exclusive, as Pillow counts them."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """
    The hashes of one picture, its frame trimmed.

    ``variants`` are PDQ hashes of the picture in the order of `geometry.DIHEDRAL`; the first is ``pdq`` itself. Store
    ``pdq``; ask the index with ``variants``. ``phash`` is ImageHash's 64 bits as a signed number, as PostgreSQL stores them.
    """

    pdq: bytes
    pdq_quality: int
    phash: int
    variants: tuple[bytes, ...]

    @property
    def telling(self) -> bool:
        """False for pictures so flat that their hash says nothing."""
        return self.pdq_quality >= MIN_PDQ_QUALITY


def fingerprint(image: Image.Image) -> Fingerprint:
    """Hash an upright picture (orientation already applied)."""
    picture = trimmed(image)
    square = np.asarray(picture.resize((PDQ_SIDE, PDQ_SIDE), Image.Resampling.BILINEAR))
    points = pdq.sample(square)
    variants = pdq.variants(points)
    return Fingerprint(
        pdq=variants[0], pdq_quality=pdq.quality(points), phash=_signed(imagehash.phash(picture)), variants=variants
    )


def grey_copy(image: Image.Image) -> bytes:
    """The small grey JPEG (about 15 kB) kept beside the hashes: the same trimmed picture, for geometry to compare."""
    small = trimmed(image)
    small.thumbnail((GREY_SIDE, GREY_SIDE), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def load_grey(copy: bytes) -> Grey:
    return np.array(Image.open(io.BytesIO(copy)).convert("L"))


def trimmed(image: Image.Image) -> Image.Image:
    """The small grey picture without its frame. Make it once and hand it to `fingerprint` and `grey_copy`: both take it."""
    grey = working_copy(image)
    return Image.fromarray(grey).crop(trim(grey))


def working_copy(image: Image.Image) -> Grey:
    """Grey, longest side at most `WORKING_SIDE`. Averages whole pixels first: a tenth of the cost of filtering 12 megapixels."""
    factor = max(image.size) // (2 * WORKING_SIDE)
    if factor > 1:
        image = image.reduce(factor)
    grey = image.convert("L")
    grey.thumbnail((WORKING_SIDE, WORKING_SIDE), Image.Resampling.BILINEAR)
    return np.asarray(grey)


def trim(grey: Grey) -> Box:
    """
    The picture inside painted frames: letterboxes, borders, the bars and captions around a picture in a screenshot.

    A frame is made of lines in the colour of the outermost one, and ends abruptly. Overexposed sky is such a frame too,
    in the original and in its copies alike, so both lose the same lines.
    """
    box = Box(0, 0, grey.shape[1], grey.shape[0])
    for _ in range(MAX_FRAMES):
        inside = grey[box.top : box.bottom, box.left : box.right]
        top, bottom = _content(inside)
        left, right = _content(inside.T)
        tighter = Box(box.left + left, box.top + top, box.left + right, box.top + bottom)
        if tighter == box or min(right - left, bottom - top) < MIN_PICTURE:
            break
        box = tighter
    return box


def _content(grey: Grey) -> tuple[int, int]:
    """First line of the picture and first line after it, between the frames above and below."""
    colours = np.median(grey[[0, -1]], axis=1)
    framed = np.max([_like(grey, colour, FLAT_TOLERANCE) for colour in colours], axis=0) >= FLAT_SHARE
    edges = np.flatnonzero(np.diff(np.concatenate(([True], framed, [True]))))
    runs = edges.reshape(-1, 2)
    runs = runs[runs[:, 1] - runs[:, 0] >= MIN_RUN * len(grey)]
    if not len(runs):
        return 0, len(grey)
    first, last = int(runs[0, 0]), int(runs[-1, 1])
    inside = grey[[min(first + 2, len(grey) - 1), max(last - 3, 0)]]
    fading = np.max([_like(inside, colour, STEP) for colour in colours], axis=0) > 1 - STEP_SHARE
    return 0 if fading[0] else first, len(grey) if fading[1] else last


def _like(lines: Grey, colour: float, tolerance: int) -> npt.NDArray[np.float64]:
    """Share of each line's pixels in about this colour."""
    shares: npt.NDArray[np.float64] = (np.abs(lines - colour) <= tolerance).mean(axis=1)
    return shares


def _signed(phash: imagehash.ImageHash) -> int:
    return int(np.packbits(phash.hash.flatten()).view(">i8")[0])

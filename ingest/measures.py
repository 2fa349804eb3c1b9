"""
Measures: how good a picture is to look at, from its pixels alone, without a reference.

Everything but blockiness is measured on the picture at about one megapixel, so that a number means the same for a
2-megapixel and a 100-megapixel camera: what is visible when somebody looks at the whole photograph. Blockiness lives on the
8 x 8 grid of the original pixels and is measured there, on evenly spread tiles.

Luminance is ITU-R BT.601 luma, 0 to 255, as JPEG stores it and Pillow's "L" computes it.
"""

from dataclasses import asdict, dataclass
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

Grey = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float32]
Cv = npt.NDArray[Any]  # whatever OpenCV gives back

WORKING_SIDE: Final = 1024  # pixels, longest side of the copy that is measured
CELL: Final = 64  # pixels of the working copy; sharpness is judged per cell, because backgrounds may be soft
BLOCK: Final = 32  # pixels of the working copy; noise is judged per block
LEAST_VARIATION: Final = 0.05  # levels per pixel; flatter cells have no edge to judge by
SHADOW, HIGHLIGHT = 5, 250  # levels at and beyond which detail counts as lost
INVISIBLE_STEP: Final = 0.5  # levels by which differences across the grid may exceed those inside
TILE, TILES_ACROSS = 256, 3  # pixels of the original, and how many rows and columns of tiles are looked at


@dataclass(frozen=True, slots=True)
class Measures:
    """
    ``blur``: 0 sharp to 1 blurred; None where the picture is too small or has no edge to judge by.
    ``noise``: standard deviation in levels (of 255); None where every block is clipped or the picture is too small.
    ``compression``: 10 no visible blocks, down to 1; None where the picture is too small.
    ``mean``, ``shade`` and ``light``: mean, 5th and 95th percentile of luminance, 0 to 1.
    ``shadows`` and ``highlights``: share of pixels at or beyond levels 5 and 250. ``contrast``: 1st to 99th percentile, 0 to 1.
    """

    blur: float | None
    noise: float | None
    compression: float | None
    mean: float
    shade: float
    light: float
    shadows: float
    highlights: float
    contrast: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Measures":
        return cls(**data)


def measure(original: Image.Image, working: Image.Image) -> Measures:
    """Measure a grey ("L") picture and its `working_copy`. About 10 ms for 12 megapixels."""
    grey: Grey = np.asarray(working)
    half = _halve(grey)
    levels = np.array(working.histogram())
    cumulated = np.cumsum(levels) / grey.size
    dimmest, shade, light, brightest = (
        int(np.searchsorted(cumulated, share)) / 255 for share in (0.01, 0.05, 0.95, 0.99)
    )
    return Measures(
        blur=_rounded(blur(grey, half)),
        noise=_rounded(noise(grey, half)),
        compression=_rounded(compression(original)),
        mean=round(float(levels @ np.arange(256)) / grey.size / 255, 4),
        shade=round(shade, 4),
        light=round(light, 4),
        shadows=round(float(cumulated[SHADOW]), 4),
        highlights=round(float(1 - cumulated[HIGHLIGHT - 1]), 4),
        contrast=round(brightest - dimmest, 4),
    )


def working_copy(grey: Image.Image) -> Image.Image:
    """Longest side `WORKING_SIDE`, or the picture itself when it is smaller. Averages whole pixels first, which is cheap."""
    factor = max(grey.size) // WORKING_SIDE
    if factor > 1:
        grey = grey.reduce(factor)
    if max(grey.size) <= WORKING_SIDE:
        return grey
    scale = WORKING_SIDE / max(grey.size)
    size = max(1, round(grey.width * scale)), max(1, round(grey.height * scale))
    return grey.resize(size, Image.Resampling.BILINEAR)


def blur(grey: Grey, half: Grey) -> float | None:
    """
    Crete, Dolmiere, Ladret, Nicolas (2007), "The blur effect: perception and estimation with a new no-reference perceptual
    blur metric", SPIE 6492: how little a picture changes when it is blurred again.

    Changed in three ways, each decided on degraded photographs. Per cell, and the sharpest quarter of the textured cells
    counts, so that a soft background does no harm. The worse of the two directions, so that a shaken camera does. Over three
    octaves: the 9-pixel filter of the paper stops seeing differences once edges are wider than itself, and gradients so weak
    that rounding makes steps of them look sharp; two octaves are averaged, the third takes over for heavy blur.
    """
    quarter = _halve(half)
    fine, middle, coarse = (_blur_of_octave(part, CELL >> octave) for octave, part in enumerate((grey, half, quarter)))
    if fine is None or middle is None or coarse is None:
        return None
    return max((fine + middle) / 2, coarse)


def _blur_of_octave(grey: Grey, cell: int) -> float | None:
    rows, columns = ((side - 1) // cell for side in grey.shape)
    if not rows or not columns:
        return None
    grey = grey[: rows * cell + 1, : columns * cell + 1]
    down, variation_down = _blur_of_cells(np.ascontiguousarray(grey[:, ::2]), cell)
    across, variation_across = _blur_of_cells(cv2.transpose(grey[::2]), cell)
    across, variation_across = across.T, variation_across.T
    variation = np.minimum(variation_down, variation_across)
    if variation.max() < LEAST_VARIATION:
        return None
    textured = variation >= max(np.median(variation), np.quantile(variation, 0.95) / 2)
    return float(np.quantile(np.maximum(down, across)[textured], 0.25))


def _blur_of_cells(grey: Cv, cell: int) -> tuple[Plane, Plane]:
    """
    Blur and variation (levels per pixel) of each cell, down the columns, of which every other one is given.

    In integers, 9 times the value: exact, and faster than fractions.
    """
    ninefold = cv2.boxFilter(grey, cv2.CV_16S, (1, 9), normalize=False)
    steps = cv2.absdiff(grey[1:], grey[:-1]) * np.int16(9)
    lost = cv2.subtract(steps, cv2.absdiff(ninefold[1:], ninefold[:-1]))
    variation, loss = _means(steps, cell, cell // 2), _means(np.maximum(lost, 0), cell, cell // 2)
    blurred = 1 - loss / np.maximum(variation, np.float32(1e-6))
    return np.asarray(blurred, np.float32), variation / np.float32(9)


def noise(grey: Grey, half: Grey) -> float | None:
    """
    Immerkaer (1996), "Fast noise variance estimation", Computer Vision and Image Understanding 64(2): the mean response of a
    Laplacian-difference mask that structure hardly excites, per block, the lower quartile of blocks that are not clipped.

    Grass and gravel excite it all the same. White noise halves when the picture is halved and such texture does not, so what
    the halved picture still shows is taken off: variance = 4/3 (full - halved).
    """
    rows, columns = (min(side // BLOCK, other * 2 // BLOCK) for side, other in zip(grey.shape, half.shape, strict=True))
    if not rows or not columns:
        return None
    means = _means(half, BLOCK // 2, BLOCK // 2)[:rows, :columns]
    usable = (means > SHADOW) & (means < HIGHLIGHT)
    if not usable.any():
        return None
    full, halved = (_response(part, size)[:rows, :columns] for part, size in ((grey, BLOCK), (half, BLOCK // 2)))
    return float(np.quantile(np.sqrt(np.maximum(0, full**2 - halved**2) * 4 / 3)[usable], 0.25))


_MASK: Final = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.int16)


def _response(grey: Grey, block: int) -> Plane:
    return _means(np.abs(cv2.filter2D(grey, cv2.CV_16S, _MASK)), block, block) * np.float32(np.sqrt(np.pi / 2) / 6)


def compression(grey: Image.Image) -> float | None:
    """
    Wang, Sheikh, Bovik (2002), "No-reference perceptual quality assessment of JPEG compressed images", ICIP: differences
    across the 8 x 8 grid against those inside, and how often the signal changes direction. Constants and scale (1 to 10) as
    published. The paper's ratio condemns a white wall for steps of a third of a level, so steps that nobody sees do not
    count, and those of up to one level more count in part.

    Sees the grid only where it starts at the picture's corner: a recompressed crop or enlargement is not recognised.
    """
    tiles = _tiles(grey)
    if not tiles:
        return None
    across = _grid(np.vstack(tiles))
    down = _grid(np.vstack([cv2.transpose(tile) for tile in tiles]))
    edge, inside, turns = ((one + other) / 2 for one, other in zip(across, down, strict=True))
    published = -245.8909 + 261.9373 * edge**-0.0240 * max(0, inside) ** 0.0160 * turns**0.0064 if edge else 10
    visible = min(1, max(0, edge - inside - INVISIBLE_STEP))
    return 10 - visible * (10 - min(10, max(1, published)))


def _tiles(grey: Image.Image) -> list[Grey]:
    """Evenly spread tiles that start on the 8 x 8 grid, or the corner of a small picture; none of a tiny one."""
    width, height = grey.size
    if min(width, height) < 16:
        return []
    side = TILE * TILES_ACROSS
    if min(width, height) < side:
        return [np.asarray(grey.crop((0, 0, min(width, side), min(height, side))))]
    lefts, tops = (np.linspace(0, length - TILE, TILES_ACROSS).astype(int) // 8 * 8 for length in (width, height))
    return [np.asarray(grey.crop((left, top, left + TILE, top + TILE))) for top in tops for left in lefts]


def _grid(rows: Grey) -> tuple[float, float, float]:
    """Mean difference along rows across the grid, the same inside it, and the share of changes of direction."""
    right, left = rows[:, 1:], rows[:, :-1]
    columns = cv2.reduce(cv2.absdiff(right, left), 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S)[0] / len(rows)
    edge = float(columns[7::8].mean())
    inside = (8 * float(columns.mean()) - edge) / 7
    rises, falls = cv2.compare(right, left, cv2.CMP_GT), cv2.compare(right, left, cv2.CMP_LT)
    turns = cv2.countNonZero(cv2.bitwise_and(rises[:, 1:], falls[:, :-1])) + cv2.countNonZero(
        cv2.bitwise_and(falls[:, 1:], rises[:, :-1])
    )
    return edge, inside, turns / max(1, len(rows) * (rows.shape[1] - 2))


def _halve(grey: Grey) -> Grey:
    size = max(1, grey.shape[1] // 2), max(1, grey.shape[0] // 2)
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)


def _means(values: Cv, tall: int, wide: int) -> Plane:
    """The mean of each whole cell."""
    rows, columns = values.shape[0] // tall, values.shape[1] // wide
    whole = values[: rows * tall, : columns * wide].astype(np.float32)
    return np.asarray(cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA), np.float32)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)

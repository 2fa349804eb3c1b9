"""
PDQ: Meta's 256-bit perceptual hash, on a grey square.

"The TMK+PDQF Video-Hashing Algorithm and the PDQ Image-Hashing Algorithm", Facebook 2019,
github.com/facebook/ThreatExchange/tree/main/pdq (hashing.pdf and cpp/). Written here because the package `pdqhash` has no wheel
for Linux: it would ask every newcomer for a C++ compiler.
"""

import cv2
import numpy as np
import numpy.typing as npt

SAMPLES = 64  # points per side after smoothing
SIDE = 16  # frequencies per side: 256 bits
PASSES = 2  # of the box filter, which together make a tent
# Rows are frequencies 1 to 16; the mean (frequency 0) says nothing about what a picture shows.
_COSINES = np.sqrt(2 / SAMPLES) * np.cos(
    np.pi / (2 * SAMPLES) * np.outer(np.arange(1, SIDE + 1), 2 * np.arange(SAMPLES) + 1)
).astype(np.float32)


def sample(square: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """A grey square as 64 x 64 smoothed points. Its side must give an odd window, as 320 does, or samples miss their centres."""
    side = square.shape[0]
    window = -(-side // (2 * SAMPLES))
    smooth = square.astype(np.float32)
    # At the border the mean is taken over what is there.
    counted = _sums(np.ones_like(smooth), window)
    for _ in range(PASSES):
        smooth = _sums(smooth, window) / counted
    centres = ((np.arange(SAMPLES) + 0.5) * side / SAMPLES).astype(int)
    return np.asarray(smooth[np.ix_(centres, centres)], np.float32)


def quality(points: npt.NDArray[np.float32]) -> int:
    """0 to 100: how much happens in the picture. Under 50 the hash says little."""
    steps = [np.trunc(np.diff(points, axis=axis) * 100 / 255) for axis in (0, 1)]
    return min(100, int(sum(np.abs(step).sum() for step in steps) / 90))


def variants(points: npt.NDArray[np.float32]) -> tuple[bytes, ...]:
    """
    The hashes of the picture upright, turned to the left by 90, 180 and 270 degrees, mirrored top to bottom, left to right,
    along the diagonal and along the other diagonal; 32 bytes each, in PDQ's canonical order (highest frequency first).
    """
    frequencies = _COSINES @ points @ _COSINES.T
    # Mirroring a picture changes the sign of its odd frequencies along that axis; index 0 is frequency 1.
    sign = np.where(np.arange(SIDE) % 2 == 0, -1, 1).astype(np.float32)
    upside_down, mirrored, transposed = frequencies * sign[:, None], frequencies * sign, frequencies.T
    return tuple(
        _bits(turned)
        for turned in (
            frequencies,
            transposed * sign[:, None],
            upside_down * sign,
            transposed * sign,
            upside_down,
            mirrored,
            transposed,
            transposed * sign[:, None] * sign,
        )
    )


def _sums(points: npt.NDArray[np.float32], window: int) -> npt.NDArray[np.float32]:
    sums = cv2.boxFilter(points, -1, (window, window), normalize=False, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(sums, np.float32)


def _bits(frequencies: npt.NDArray[np.float32]) -> bytes:
    # The lower of the two middle values, as in the reference.
    middle = np.partition(frequencies, SIDE * SIDE // 2 - 1, axis=None)[SIDE * SIDE // 2 - 1]
    return np.packbits((frequencies > middle).ravel()[::-1]).tobytes()

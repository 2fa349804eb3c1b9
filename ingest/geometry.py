"""
Geometry: do two pictures show the same shot? What a hash nominates is aligned and compared detail by detail.

Features (ORB: Rublee et al., ICCV 2011) are matched between the small grey copies, a homography is fitted, one picture is
warped onto the other, and their fine detail correlated inside the overlap. Two people before one mailbox share its shape;
a copy shares also its grain of leaves and shadows. Deterministic: the same two copies always measure the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from cv2.typing import MatLike

from ingest.hashes import Grey

Matrix = npt.NDArray[np.floating[Any]]
Points = npt.NDArray[np.float32]
Outline = tuple[tuple[float, float], ...]

# The eight ways to turn and mirror a picture about its centre (x to the right, y down), in the order in which PDQ
# computes `Fingerprint.variants`: as it is, turned left, over, right, upside down mirrored, mirrored, both diagonals.
DIHEDRAL: tuple[tuple[tuple[int, int], tuple[int, int]], ...] = (
    ((1, 0), (0, 1)),
    ((0, 1), (-1, 0)),
    ((-1, 0), (0, -1)),
    ((0, -1), (1, 0)),
    ((1, 0), (0, -1)),
    ((-1, 0), (0, 1)),
    ((0, 1), (1, 0)),
    ((0, -1), (-1, 0)),
)

MIN_INLIERS = 15  # matched features that must agree on one homography; honest pairs reach 13 by chance
CERTAIN = 0.7  # correlation at which no further alignment is tried
FEATURES = 800
RATIO = 0.8  # Lowe's test: the best match must be that much nearer than the second best
REPROJECTION = 3.0  # pixels
FINE, COARSE = (
    0.7,
    4.0,
)  # pixels: detail between these two blurs is compared, finer is grain of the codec, coarser is scene
MIN_DETAIL = 0.5  # grey levels; pictures flatter than this correlate by chance
MIN_SIDE = 32  # pixels
MIN_OVERLAP = 0.1  # of the smaller picture, both measured in the same frame
MAX_SCALE = 5.0  # of one picture's side against the other's, once aligned
MIN_FAR_SIDE = 0.5  # of the near side: how slanted a photograph of a print or a screen may be

# The work horse's processes are the parallelism; threads of OpenCV would only take turns with them.
cv2.setNumThreads(1)


@dataclass(frozen=True, slots=True)
class Overlap:
    """
    What two pictures have in common, under the best alignment found.

    ``correlation`` of fine detail, 0 to 1; 0 when no alignment was credible, so it may be judged alone. ``inliers`` are
    the features that agreed on the alignment, 0 when the hash gave it. The outlines mark the common part in each picture,
    corner for corner, in shares of its width and height.
    """

    correlation: float
    inliers: int = 0
    mirrored: bool = False
    outline_a: Outline = ()
    outline_b: Outline = ()


NOTHING = Overlap(correlation=0.0)


class Alignment(NamedTuple):
    onto_b: Matrix  # from pixels of a to pixels of b
    inliers: int


class Features(NamedTuple):
    points: Points
    descriptors: npt.NDArray[np.uint8]


class Picture:
    """One side of many comparisons; its features are found once, and only when needed."""

    def __init__(self, grey: Grey) -> None:
        self.grey = np.ascontiguousarray(grey)
        self.height, self.width = grey.shape

    @cached_property
    def features(self) -> Features:
        return _features(self.grey)

    @cached_property
    def mirrored_features(self) -> Features:
        """Found in the mirror image: ORB does not recognise a mirrored corner. Points count from its left."""
        return _features(cv2.flip(self.grey, 1))


def compare(a: Picture | Grey, b: Picture | Grey, variant: int | None = None) -> Overlap:
    """
    The overlap of two grey copies, about 20 ms for strangers and 6 ms for copies whose hashes agree.

    :param variant: the variant of ``a`` that the hash found near ``b``: tried first as an alignment, which also finds
        copies too flat for features
    """
    a, b = (side if isinstance(side, Picture) else Picture(side) for side in (a, b))
    best = NOTHING
    if min(a.width, a.height, b.width, b.height) < MIN_SIDE:
        return best
    for alignment in _alignments(a, b, variant):
        overlap = _measure(a, b, alignment)
        if overlap.correlation > best.correlation:
            best = overlap
        if best.correlation >= CERTAIN:
            break
    return best


def _alignments(a: Picture, b: Picture, variant: int | None) -> Iterator[Alignment]:
    if variant is not None:
        yield Alignment(_dihedral(a, b, variant), inliers=0)
    if plain := _fit(a.features, b.features):
        yield plain
    if mirrored := _fit(a.mirrored_features, b.features):
        mirror = np.array([[-1, 0, a.width - 1], [0, 1, 0], [0, 0, 1]], dtype=np.float64)
        yield Alignment(mirrored.onto_b @ mirror, mirrored.inliers)


def _dihedral(a: Picture, b: Picture, variant: int) -> Matrix:
    """The whole of ``a``, turned or mirrored, onto the whole of ``b``."""
    turn = np.eye(3)
    turn[:2, :2] = DIHEDRAL[variant]
    return _from_centre(b) @ turn @ np.linalg.inv(_from_centre(a))


def _from_centre(picture: Picture) -> Matrix:
    """From shares of the picture, counted from its centre, to pixels."""
    width, height = picture.width, picture.height
    return np.array([[width, 0, (width - 1) / 2], [0, height, (height - 1) / 2], [0, 0, 1]])


def _features(grey: MatLike) -> Features:
    orb = cv2.ORB.create(nfeatures=FEATURES, fastThreshold=10)
    keypoints, descriptors = orb.detectAndCompute(grey, None)
    if descriptors is None:
        return Features(np.empty((0, 2), np.float32), np.empty((0, 32), np.uint8))
    return Features(np.array([point.pt for point in keypoints], np.float32), descriptors.astype(np.uint8, copy=False))


def _fit(a: Features, b: Features) -> Alignment | None:
    if min(len(a.points), len(b.points)) < MIN_INLIERS:
        return None
    pairs = cv2.BFMatcher(cv2.NORM_HAMMING).knnMatch(a.descriptors, b.descriptors, k=2)
    matches = [best for best, second in pairs if best.distance < RATIO * second.distance]
    if len(matches) < MIN_INLIERS:
        return None
    cv2.setRNGSeed(1)
    onto_b, agreeing = cv2.findHomography(
        a.points[[match.queryIdx for match in matches]],
        b.points[[match.trainIdx for match in matches]],
        cv2.RANSAC,
        REPROJECTION,
        maxIters=1000,
        confidence=0.995,
    )
    if onto_b is None or agreeing.sum() < MIN_INLIERS:
        return None
    return Alignment(onto_b.astype(np.float64), int(agreeing.sum()))


def _measure(a: Picture, b: Picture, alignment: Alignment) -> Overlap:
    corners_b = _landing(a, b, alignment.onto_b)
    if corners_b is None:
        return NOTHING
    area, common = cv2.intersectConvexConvex(corners_b, _corners(b))
    size_a, size_b = cv2.contourArea(corners_b), cv2.contourArea(_corners(b))
    if area < MIN_OVERLAP * min(size_a, size_b):
        return NOTHING
    common_b = common.reshape(-1, 2).astype(np.float32)
    common_a = _apply(np.linalg.inv(alignment.onto_b), common_b)
    if size_a <= a.width * a.height:
        correlation = _correlation(a.grey, b.grey, alignment.onto_b, common_b)
    else:  # the picture with more pixels is warped onto the one with fewer, whose detail is all that can be compared
        correlation = _correlation(b.grey, a.grey, np.linalg.inv(alignment.onto_b), common_a)
    return Overlap(
        correlation=correlation,
        inliers=alignment.inliers,
        mirrored=bool(np.linalg.det(alignment.onto_b[:2, :2]) < 0),
        outline_a=_shares(common_a, a),
        outline_b=_shares(common_b, b),
    )


def _landing(a: Picture, b: Picture, onto_b: Matrix) -> Points | None:
    """Where the corners of ``a`` come to lie in ``b``; None when no camera or editor moves a picture so."""
    if not np.isfinite(onto_b).all() or abs(np.linalg.det(onto_b)) < 1e-9:
        return None
    depths = np.c_[_corners(a), np.ones(4)] @ onto_b[2]
    if depths.min() < MIN_FAR_SIDE * depths.max() or depths.max() <= 0:
        return None
    landed = _apply(onto_b, _corners(a))
    if not cv2.isContourConvex(landed):
        return None
    scale = np.sqrt(cv2.contourArea(landed) / (b.width * b.height))
    return landed if 1 / MAX_SCALE <= scale <= MAX_SCALE else None


def _correlation(moving: MatLike, still: Grey, onto_still: Matrix, common: Points) -> float:
    """Correlation of what lies between two blurs, inside the common part less a margin of the wider blur."""
    source = _apply(np.linalg.inv(onto_still), common)
    shrink = np.sqrt(cv2.contourArea(common) / cv2.contourArea(source))
    if shrink < 0.8:  # blur what the smaller grid cannot show, or it comes back as noise
        moving = cv2.GaussianBlur(moving, (0, 0), 0.4 * float(np.sqrt(1 / shrink**2 - 1)))
    height, width = still.shape
    warped = cv2.warpPerspective(
        moving, onto_still, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    mask = np.zeros((height, width), np.uint8)
    cv2.fillConvexPoly(mask, np.round(common).astype(np.int32), 1)
    margin = int(COARSE)
    inside = cv2.erode(mask, np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)).astype(np.bool_)
    if inside.sum() < MIN_SIDE * MIN_SIDE:
        return 0.0
    detail, wanted = _detail(warped)[inside], _detail(still)[inside]
    if min(detail.std(), wanted.std()) < MIN_DETAIL:
        return 0.0
    return max(0.0, float(np.corrcoef(detail, wanted)[0, 1]))


def _detail(grey: MatLike) -> npt.NDArray[np.float32]:
    exact = grey.astype(np.float32)
    return cv2.GaussianBlur(exact, (0, 0), FINE) - cv2.GaussianBlur(exact, (0, 0), COARSE)


def _apply(matrix: Matrix, points: Points) -> Points:
    return cv2.perspectiveTransform(points.reshape(-1, 1, 2), matrix).reshape(-1, 2).astype(np.float32)


def _corners(picture: Picture) -> Points:
    """Outer edges of the corner pixels."""
    right, lower = picture.width - 0.5, picture.height - 0.5
    return np.array([[-0.5, -0.5], [right, -0.5], [right, lower], [-0.5, lower]], np.float32)


def _shares(points: Points, picture: Picture) -> Outline:
    shares = np.clip((points + 0.5) / (picture.width, picture.height), 0, 1)
    return tuple((round(float(x), 4), round(float(y), 4)) for x, y in shares)

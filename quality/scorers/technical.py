"""
Technical quality: stars for sharpness, exposure, contrast, noise and compression, from the pixels alone.

A photo is as good as its worst flaw: each trait is turned into stars by the table below, and the least counts. The table is
linear between its points; where it comes from stands in docs/scoring.md. Pixels say nothing about whether the right thing is
in the picture, so this scorer abstains on relevance and completeness, and a low score from it is bad craft, not misconduct.
"""

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ingest.measures import Measures
from ingest.probe import Facts
from quality.scorers import Brief, Dimension, Rating, Scores

SCORER: Final = "technical"
VERSION: Final = "technical/1"

GOOD: Final = 4  # stars of a photo that has a flaw, but none that matters

_ABSTAINS: Final[dict[Dimension, str]] = {
    "relevance": "Pixels do not say what was asked for.",
    "completeness": "Pixels do not say what is missing.",
}


@dataclass(frozen=True, slots=True)
class Trait:
    """``scale``: (measured value, stars), ascending by value; beyond its ends the last stars hold."""

    reason: str
    read: Callable[[Measures], float | None]
    scale: tuple[tuple[float, float], ...]
    problem: str
    advice: str

    def stars(self, measured: float) -> float:
        values = [value for value, _ in self.scale]
        right = bisect_right(values, measured)
        if right == 0 or right == len(values):
            return self.scale[max(0, right - 1)][1]
        (low, from_), (high, to) = self.scale[right - 1], self.scale[right]
        return from_ + (to - from_) * (measured - low) / (high - low)

    def limit(self, stars: int) -> float:
        """The measured value that earns so many stars."""
        return next(value for value, earned in self.scale if earned == stars)


# Units as in ingest.measures.Measures.
TRAITS: Final = (
    Trait(
        "blurred",
        lambda measures: measures.blur,
        ((0.36, 5), (0.45, 4), (0.53, 3), (0.63, 2), (0.73, 1)),
        "The photo is blurred.",
        "Wipe the lens, tap on the subject to focus, and hold still until the picture is taken.",
    ),
    Trait(
        "too_dark",
        lambda measures: measures.light,
        ((0.06, 1), (0.15, 2), (0.25, 3), (0.35, 4), (0.50, 5)),
        "The photo is too dark.",
        "Turn on a light or the flash, or come back in daylight.",
    ),
    Trait(
        "too_bright",
        lambda measures: measures.highlights,
        ((0.20, 5), (0.45, 4), (0.65, 3), (0.85, 2), (0.95, 1)),
        "Large parts of the photo are pure white.",
        "Turn away from the sun or lamp, or tap on the bright part to expose for it.",
    ),
    Trait(
        "no_contrast",
        lambda measures: measures.contrast,
        ((0.03, 1), (0.08, 2), (0.15, 3), (0.25, 4), (0.35, 5)),
        "Hardly anything can be made out in the photo.",
        "Check that nothing covers the lens and that the subject is in view.",
    ),
    Trait(
        "noisy",
        lambda measures: measures.noise,
        ((3.5, 5), (6, 4), (10, 3), (16, 2), (24, 1)),
        "The photo is grainy.",
        "More light helps; do not zoom in with two fingers, step closer instead.",
    ),
    Trait(
        "compressed",
        lambda measures: measures.compression,
        ((1.5, 1), (3.0, 2), (4.2, 3), (5.5, 4), (7.0, 5)),
        "The photo is compressed so much that blocks show.",
        "Send the original from the camera, not a copy from a messenger.",
    ),
)


def score(facts: Facts, brief: Brief) -> Scores:  # noqa: ARG001 - every scorer takes the brief; pixels need none
    return Scores(SCORER, VERSION, {"quality": rate(facts.measures)}, _ABSTAINS)


def rate(measures: Measures) -> Rating:
    """The worst trait's stars. Traits that could not be measured say nothing; light and contrast always can."""
    judged = [
        (trait.stars(measured), trait, measured) for trait in TRAITS if (measured := trait.read(measures)) is not None
    ]
    value, worst, measured = min(judged, key=lambda entry: entry[0])
    stars = math.floor(value + 0.5)
    if stars == 5:
        return Rating(stars, round(value, 2))
    feedback = f"{'Good, and could be better.' if stars == GOOD else worst.problem} {worst.advice}"
    return Rating(stars, round(value, 2), worst.reason, feedback, measured, worst.limit(max(GOOD, stars + 1)))

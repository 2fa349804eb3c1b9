"""Facts of files and submissions with nothing wrong with them, to be bent by the test."""

from dataclasses import replace
from typing import Any

from infra import ids
from ingest.exif import Exif
from ingest.measures import Measures
from ingest.probe import Facts
from jobs.geo import Area, Disc, Point
from quality.facts import JobLimits, MediaFacts, Neighbour, SubmissionFacts
from quality.scorers import Rating, Scores

AUSTIN = Point(30.2672, -97.7431)
DOWNTOWN = Area((Disc(AUSTIN, 5.0),))
FIX = {"latitude": AUSTIN.latitude, "longitude": AUSTIN.longitude, "accuracy_m": 10.0, "fix_age_s": 3.0}
MEASURES = Measures(
    blur=0.2,
    noise=1.0,
    compression=9.5,
    mean=0.45,
    shade=0.1,
    light=0.85,
    shadows=0.01,
    highlights=0.01,
    contrast=0.8,
)
PHOTO = Facts(
    format="JPEG",
    media_type="image/jpeg",
    size=2_000_000,
    sha256="ab" * 32,
    width=4_000,
    height=3_000,
    orientation=1,
    trailer=0,
    exif=Exif(),
    measures=MEASURES,
)
LIMITS = JobLimits(accepted_formats=("image/jpeg", "image/png"))


def photo(**changes: Any) -> Facts:
    """What the probe says of a 12-megapixel JPEG."""
    return replace(PHOTO, **changes)


def file(facts: Facts | None = PHOTO, **changes: Any) -> MediaFacts:
    """One file of a submission."""
    return MediaFacts(media_id=ids.new(), facts=facts, **changes)


def handed_in(*files: MediaFacts, limits: JobLimits = LIMITS, trust: str = "C", **changes: Any) -> SubmissionFacts:
    """A signed submission of these files, from Austin."""
    return SubmissionFacts(limits=limits, media=files or (file(),), trust=trust, **{"position": FIX, **changes})


def neighbour(distance: int, correlation: float, standing: Any = "approved", mirrored: bool = False) -> Neighbour:
    """An earlier file so far away."""
    return Neighbour(ids.new(), distance, correlation, mirrored, standing)


def scores(*stars: float, scorer: str = "eye", **why: Any) -> Scores:
    """A scorer's stars on relevance, quality, completeness, as many as given; the others it abstains from."""
    names = ("relevance", "quality", "completeness")
    ratings = {name: Rating(stars=round(value), value=value, **why) for name, value in zip(names, stars, strict=False)}
    return Scores(scorer, f"{scorer}/1", ratings, dict.fromkeys(names[len(stars) :], "Cannot judge it."))  # type: ignore[arg-type]

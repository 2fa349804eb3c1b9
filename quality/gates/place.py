"""
Gate 8: where the phone and the photo say they were, against the job's area; and whether the phone told the truth, at the
claim as at the hand-in. A mismatch goes to a human.
"""

from collections.abc import Iterator

from infra.settings import settings
from jobs import geo
from jobs.geo import Area, Disc, Point, Region
from quality.facts import Finding, SubmissionFacts

NAME, VERSION = "place", "2"
EXIF_TOLERANCE_KM = 1.0  # a camera's position may be the last one it had
OLD_FIX_S = 600.0
VAGUE_FIX_KM = 1.0  # a phone may claim any uncertainty: no more of it than this is believed


def check(facts: SubmissionFacts) -> Iterator[Finding]:
    doubts = [*_untruths(facts), *_elsewhere(facts)]
    yield from doubts
    if not doubts:
        yield Finding(NAME, VERSION, "pass", "in_place" if facts.limits.area else "anywhere")


def _untruths(facts: SubmissionFacts) -> Iterator[Finding]:
    """Judged at both ends of the work, wherever the job is: the claim opens what the hand-in closes."""
    positions = (facts.claim_position, facts.position)
    if any(position.get("mocked") for position in positions):
        yield _review(
            "mock_location", True, False, "Your phone reports a made-up position. Switch that off in its settings."
        )
    speed = max(position.get("speed_kmh") or 0.0 for position in positions)
    fastest = settings().impossible_speed_kmh
    if speed > fastest:
        yield _review(
            "impossible_speed", speed, fastest, "Your phone moved faster than anybody travels, so a person looks."
        )


def _elsewhere(facts: SubmissionFacts) -> Iterator[Finding]:
    position, area = facts.position, facts.limits.area
    if area is None:
        return
    if "latitude" in position:
        here = Point(position["latitude"], position["longitude"])
        uncertain_km = position.get("accuracy_m", 0.0) / 1_000
        if not _within(area, here, min(uncertain_km, VAGUE_FIX_KM)):
            yield _review("outside_area", "outside", "job area", "You handed this in from outside the job's area.")
        elif uncertain_km > VAGUE_FIX_KM:
            yield Finding(NAME, VERSION, "signal", "vague_fix", position["accuracy_m"], VAGUE_FIX_KM * 1_000)
        elif position.get("fix_age_s", 0.0) > OLD_FIX_S:
            yield Finding(NAME, VERSION, "signal", "old_fix", position["fix_age_s"], OLD_FIX_S)
    for media in facts.media:
        exif = media.facts.exif if media.facts else None
        if exif and exif.latitude is not None and exif.longitude is not None:
            taken = Point(exif.latitude, exif.longitude)
            if not _within(area, taken, EXIF_TOLERANCE_KM):
                yield _review(
                    "photo_from_elsewhere", "outside", "job area", "The photo says it was taken outside the job's area."
                )


def _within(area: Area, point: Point, tolerance_km: float) -> bool:
    """Whether the point, or one within its uncertainty, may lie in the area."""
    return all(_reaches(shape, point, tolerance_km) for shape in area.shapes)


def _reaches(shape: Disc | Region, point: Point, tolerance_km: float) -> bool:
    """Exact for a disc; a boundary is tried in eight directions, at the whole and half of the distance."""
    if isinstance(shape, Disc):
        return geo.distance_km(shape.center, point) <= shape.radius_km + tolerance_km
    near = (point, *geo.around(point, tolerance_km), *geo.around(point, tolerance_km / 2))
    return any(geo.shape_contains(shape, one) for one in near)


def _review(code: str, measured: object, limit: object, feedback: str) -> Finding:
    return Finding(NAME, VERSION, "review", code, measured, limit, feedback)

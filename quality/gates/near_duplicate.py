"""
Gate 6: looks like an earlier file. Hash and geometry must agree before anything is rejected; where only the geometry says
so, or the earlier file is itself undecided, a human sees both. Never a strike from a match alone.

Thresholds and what they cost in recall and false matches: docs/matching.md.
"""

from collections.abc import Iterator

from infra import ids
from infra.settings import settings
from quality.facts import Finding, MediaFacts, Neighbour, Outcome, SubmissionFacts

NAME, VERSION = "near_duplicate", "1"


def check(facts: SubmissionFacts) -> Iterator[Finding]:
    for media in facts.media:
        if media.facts is not None:
            yield _of(media)


def _of(media: MediaFacts) -> Finding:
    limit = {"distance": settings().near_reject_distance, "correlation": settings().near_reject_correlation}
    judged = [(_judge(neighbour), neighbour) for neighbour in media.neighbours]
    for outcome, code, feedback in (
        ("reject", "near_duplicate", "This photo shows the same picture as an earlier one. Take a new photo yourself."),
        ("review", "looks_alike", "This photo looks much like an earlier one, so a person compares the two."),
    ):
        found = [neighbour for said, neighbour in judged if said == outcome]
        if found:
            worst = min(found, key=lambda neighbour: (neighbour.distance, -neighbour.correlation))
            return Finding(NAME, VERSION, _typed(outcome), code, _measured(worst), limit, feedback, media.media_id)
    nearest = min(media.neighbours, key=lambda neighbour: neighbour.distance, default=None)
    measured = _measured(nearest) if nearest else None
    return Finding(NAME, VERSION, "pass", "unlike_others", measured, limit, media_id=media.media_id)


def _judge(neighbour: Neighbour) -> Outcome:
    if neighbour.correlation < settings().near_review_correlation:
        return "pass"
    sure = (
        neighbour.distance <= settings().near_reject_distance
        and neighbour.correlation >= settings().near_reject_correlation
        and neighbour.standing in ("approved", "same")
    )
    return "reject" if sure else "review"


def _typed(outcome: str) -> Outcome:
    return "reject" if outcome == "reject" else "review"


def _measured(neighbour: Neighbour) -> dict[str, object]:
    return {
        "media": ids.show("med", neighbour.media_id),
        "distance": neighbour.distance,
        "correlation": round(neighbour.correlation, 2),
        "mirrored": neighbour.mirrored,
    }

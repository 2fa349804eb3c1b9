"""From findings and scores to a proposal: approve, reject or ask a human. Pure; `verdicts` carries it out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from quality.facts import Finding
from quality.scorers import Rating, Scores

QUORUM = 1  # scorers that must not abstain
WIDEST_SPREAD = 2  # stars between two scorers before a human decides
RETRY_STARS = 2


@dataclass(frozen=True)
class Overall:
    """Stars 1 to 5 over all scorers, with the rating that pulled them down most; or why a human must say."""

    stars: int | None
    human: str | None = None
    weakest: Rating | None = None


UNSCORED = Overall(None)


@dataclass(frozen=True)
class Proposal:
    """What should become of a submission, with the reason as the worker reads it."""

    verdict: Literal["approve", "reject", "review"]
    reason: dict[str, Any]
    stars: int | None = None
    scored: bool = False
    retry: bool = False


def of_submission(files: Sequence[Sequence[Scores]], *, weights: Mapping[str, float]) -> Overall:
    """A submission is as good as its worst file; if a human must see one file, they see the submission."""
    if not files:
        return Overall(None, "nothing_to_score")
    judged = [overall(scores, weights=weights) for scores in files]
    unsure = next((one for one in judged if one.stars is None), None)
    return unsure or min(judged, key=lambda one: one.stars or 0)


def overall(scores: Sequence[Scores], *, weights: Mapping[str, float]) -> Overall:
    """
    What all scorers together say of one file: the weighted median of each scorer's mean over its dimensions, rounded half
    up, minus one if any dimension is 1. Below the quorum, or with scorers further apart than the widest spread, a human
    decides. A scorer whose weight is 0 is recorded and says nothing here.
    """
    speaking = [score for score in scores if score.dimensions and weights.get(score.scorer, 1.0) > 0]
    if len(speaking) < QUORUM:
        return Overall(None, "no_quorum")
    means = [
        (
            sum(rating.stars for rating in score.dimensions.values()) / len(score.dimensions),
            weights.get(score.scorer, 1.0),
        )
        for score in speaking
    ]
    values = [value for value, _ in means]
    if max(values) - min(values) > WIDEST_SPREAD:
        return Overall(None, "scorers_disagree")
    ratings = [rating for score in speaking for rating in score.dimensions.values()]
    weakest = min(ratings, key=lambda rating: (rating.stars, rating.value))
    stars = math.floor(weighted_median(means) + 0.5) - (weakest.stars == 1)
    return Overall(max(1, min(5, stars)), weakest=weakest)


def weighted_median(values: Sequence[tuple[float, float]]) -> float:
    """The value at which half of the weight lies on either side; between two such values, their mean."""
    ordered = sorted(values)
    half = sum(weight for _, weight in ordered) / 2
    passed = 0.0
    for index, (value, weight) in enumerate(ordered):
        passed += weight
        if math.isclose(passed, half):
            return (value + ordered[index + 1][0]) / 2
        if passed > half:
            return value
    raise ValueError("no values")


def rejects(findings: Sequence[Finding]) -> bool:
    """Whether a gate has already rejected it, so that nobody needs to score it."""
    return any(finding.outcome == "reject" and not finding.shadow for finding in findings)


def propose(findings: Sequence[Finding], score: Overall, *, min_star_rating: int, attempt: int) -> Proposal:
    """
    The first rejecting gate decides; else any doubt asks a human; else the stars do. Shadow findings are looked past.
    """
    acting = [finding for finding in findings if not finding.shadow]
    rejecting = next((finding for finding in acting if finding.outcome == "reject"), None)
    if rejecting is not None:
        return Proposal("reject", reason_of(rejecting), stars=1 if rejecting.gate == "resolution" else None)
    doubts = [finding for finding in acting if finding.outcome == "review"]
    if doubts:
        return Proposal(
            "review", {**reason_of(doubts[0]), "doubts": [reason_of(doubt) for doubt in doubts]}, score.stars
        )
    if score.stars is None:
        words = "The automatic scorers could not agree on this one, so a person looks at it."
        return Proposal("review", _score_reason(score.human or "no_score", None, min_star_rating, words))
    weakest = score.weakest
    words = (weakest.feedback if weakest else None) or "Good work."
    if score.stars >= min_star_rating:
        return Proposal(
            "approve", _score_reason("good", score.stars, min_star_rating, words), stars=score.stars, scored=True
        )
    code = (weakest.reason if weakest else None) or "below_minimum"
    return Proposal(
        "reject",
        _score_reason(code, score.stars, min_star_rating, words),
        stars=score.stars,
        scored=True,
        retry=score.stars == RETRY_STARS and attempt == 1,
    )


def reason_of(finding: Finding) -> dict[str, Any]:
    """A finding as every answer and event shows it."""
    return {
        "gate": finding.gate,
        "version": finding.version,
        "code": finding.code,
        "measured": finding.measured,
        "limit": finding.limit,
        "feedback": finding.feedback,
    }


def _score_reason(code: str, stars: int | None, minimum: int, words: str) -> dict[str, Any]:
    return {"gate": "score", "version": "1", "code": code, "measured": stars, "limit": minimum, "feedback": words}

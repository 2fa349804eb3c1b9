"""From stars and findings to a proposal: the ensemble's arithmetic, and who decides."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quality import assess
from quality.assess import UNSCORED, Overall, overall, propose, weighted_median
from quality.facts import Finding
from quality.scorers import Rating
from tests.quality.facts import scores

WEAK = Rating(stars=2, value=2.2, reason="blurred", feedback="Hold still.")


def stars(*scorers: Any, **weights: float) -> Any:
    said = overall(scorers, weights=weights)
    return said.stars if said.human is None else said.human


# -- the weighted median -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "median"),
    [
        ([(3, 1)], 3),
        ([(2, 1), (4, 1)], 3),
        ([(4, 1), (2, 1), (3, 1)], 3),
        ([(2, 1), (4, 2)], 4),
        ([(2, 3), (4, 1), (4, 1)], 2),
        ([(1, 0.1), (2, 0.2), (5, 0.3)], 3.5),  # half of the weight lies on either side
        ([(1, 1), (2, 1), (4, 1), (5, 1)], 3),
    ],
)
def test_half_of_the_weight_lies_on_either_side(values: list[tuple[float, float]], median: float) -> None:
    assert weighted_median(values) == pytest.approx(median)


VALUES = st.lists(st.tuples(st.floats(1, 5), st.integers(1, 9)), min_size=1, max_size=9)


@given(VALUES)
def test_the_median_is_what_repeating_by_weight_gives(values: list[tuple[float, int]]) -> None:
    repeated = sorted(value for value, weight in values for _ in range(weight))
    middle = (repeated[(len(repeated) - 1) // 2] + repeated[len(repeated) // 2]) / 2
    assert math.isclose(weighted_median([*values]), middle)


@given(VALUES, st.randoms())
def test_the_order_of_the_scorers_does_not_matter(values: list[tuple[float, int]], chance: Any) -> None:
    before = weighted_median([*values])
    chance.shuffle(values)
    assert weighted_median([*values]) == before


def test_of_nothing_there_is_no_median() -> None:
    with pytest.raises(ValueError, match="no values"):
        weighted_median([])


# -- the ensemble ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scorers", "expected"),
    [
        ([scores(4)], 4),
        ([scores(4, 3)], 4),  # 3.5 is rounded up
        ([scores(3, 2)], 3),
        ([scores(4, 4, 3)], 4),
        ([scores(3, 3, 4)], 3),
        ([scores(5), scores(4), scores(3)], 4),
        ([scores(5, 1)], 2),  # 3, minus one for the 1
        ([scores(1)], 1),  # never below 1
        ([scores(3, 3, 1)], 1),  # 2.33 is 2, minus one
    ],
)
def test_rounded_median_minus_one_if_any_dimension_is_one(scorers: list[Any], expected: int) -> None:
    assert stars(*scorers) == expected


def test_a_scorers_weight_counts() -> None:
    both = scores(2, scorer="strict"), scores(4, scorer="mild")
    assert stars(*both) == 3
    assert stars(*both, mild=2) == 4
    assert stars(*both, strict=2) == 2


def test_a_scorer_without_weight_says_nothing() -> None:
    both = scores(1, scorer="strict"), scores(4, scorer="mild")
    assert stars(*both, strict=0) == 4
    assert stars(scores(4, scorer="mild"), mild=0) == "no_quorum"


def test_nobody_speaking_is_a_humans_case() -> None:
    assert stars() == "no_quorum"
    assert stars(scores(), scores()) == "no_quorum"
    assert stars(scores(), scores(4)) == 4


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(3, 5, 4), (2, 5, "scorers_disagree"), (1, 4, "scorers_disagree")]
)
def test_more_than_two_stars_apart_is_a_humans_case(low: int, high: int, expected: Any) -> None:
    assert stars(scores(low), scores(high)) == expected


def test_the_weakest_rating_explains_the_stars() -> None:
    good, weak, worse = (
        scores(4),
        scores(3, reason="dark", feedback="More light."),
        scores(2.6, reason="blurred", feedback="Hold still."),
    )
    assert (
        overall([good, weak, worse], weights={}).weakest == worse.dimensions["relevance"]
    )  # 3 like the other, but less


@given(st.lists(st.lists(st.floats(1, 5), min_size=1, max_size=3), min_size=1, max_size=5))
def test_stars_are_stars(given_stars: list[list[float]]) -> None:
    said = overall([scores(*each) for each in given_stars], weights={})
    assert (said.stars is None) == (said.human is not None)
    assert said.stars is None or 1 <= said.stars <= 5


# -- several files -----------------------------------------------------------------------------------------------------


def test_a_submission_is_as_good_as_its_worst_file() -> None:
    files = [[scores(5)], [scores(2)], [scores(4)]]
    assert assess.of_submission(files, weights={}).stars == 2


def test_if_one_file_needs_a_human_the_submission_does() -> None:
    files = [[scores(1)], [scores(1), scores(5)], [scores(5)]]
    assert assess.of_submission(files, weights={}) == Overall(None, "scorers_disagree")


def test_without_a_file_to_score_a_human_looks() -> None:
    assert assess.of_submission([], weights={}) == Overall(None, "nothing_to_score")


# -- the proposal ------------------------------------------------------------------------------------------------------


def finding(gate: str, outcome: Any, shadow: bool = False, code: str = "because") -> Finding:
    return Finding(gate, "7", outcome, code, measured=1, limit=2, feedback="Do better.", shadow=shadow)


def after(*findings: Finding, score: Overall = UNSCORED, least: int = 3, attempt: int = 1) -> assess.Proposal:
    return propose(findings, score, min_star_rating=least, attempt=attempt)


GOOD, POOR = Overall(5), Overall(2, weakest=WEAK)


def test_a_good_score_is_approved() -> None:
    proposal = after(finding("bytes", "pass"), score=GOOD)
    assert (proposal.verdict, proposal.stars, proposal.scored, proposal.retry) == ("approve", 5, True, False)
    assert proposal.reason["feedback"] == "Good work."


def test_the_first_rejecting_gate_decides_whatever_else_is_said() -> None:
    proposal = after(
        finding("attestation", "review"),
        finding("bytes", "reject", code="truncated"),
        finding("resolution", "reject"),
        score=GOOD,
    )
    assert (proposal.verdict, proposal.stars, proposal.scored, proposal.retry) == ("reject", None, False, False)
    assert proposal.reason == {
        "gate": "bytes",
        "version": "7",
        "code": "truncated",
        "measured": 1,
        "limit": 2,
        "feedback": "Do better.",
    }


def test_too_small_shows_one_star_that_does_not_count() -> None:
    proposal = after(finding("resolution", "reject"))
    assert (proposal.verdict, proposal.stars, proposal.scored) == ("reject", 1, False)


def test_any_doubt_goes_to_a_human_before_the_stars_count() -> None:
    for score in (GOOD, POOR):
        proposal = after(
            finding("near_duplicate", "review", code="a"), finding("place", "review", code="b"), score=score
        )
        assert (proposal.verdict, proposal.stars, proposal.scored) == ("review", score.stars, False)
        assert proposal.reason["code"] == "a"
        assert [doubt["code"] for doubt in proposal.reason["doubts"]] == ["a", "b"]


def test_signals_and_shadow_gates_decide_nothing() -> None:
    proposal = after(
        finding("place", "signal"), finding("bytes", "reject", True), finding("place", "review", True), score=GOOD
    )
    assert proposal.verdict == "approve"
    assert not assess.rejects([finding("bytes", "reject", True), finding("place", "review")])
    assert assess.rejects([finding("bytes", "pass"), finding("bytes", "reject")])


@pytest.mark.parametrize("why", ["no_quorum", "scorers_disagree"])
def test_without_stars_a_human_decides(why: str) -> None:
    proposal = after(score=Overall(None, why))
    assert (proposal.verdict, proposal.reason["gate"], proposal.reason["code"]) == ("review", "score", why)
    assert proposal.reason["feedback"]


@pytest.mark.parametrize(
    ("got", "least", "verdict"),
    [(3, 3, "approve"), (2, 3, "reject"), (1, 1, "approve"), (4, 5, "reject"), (5, 5, "approve")],
)
def test_the_job_says_how_many_stars_it_takes(got: int, least: int, verdict: str) -> None:
    proposal = after(score=Overall(got, weakest=WEAK), least=least)
    assert proposal.verdict == verdict
    assert (proposal.reason["measured"], proposal.reason["limit"], proposal.scored) == (got, least, True)


@pytest.mark.parametrize(("got", "attempt", "retry"), [(2, 1, True), (2, 2, False), (1, 1, False), (3, 1, False)])
def test_two_stars_may_try_once_more(got: int, attempt: int, retry: bool) -> None:
    assert after(score=Overall(got, weakest=WEAK), least=4, attempt=attempt).retry is retry


def test_a_rejection_by_stars_says_what_to_do() -> None:
    assert after(score=POOR).reason | {"code": "blurred", "feedback": "Hold still."} == after(score=POOR).reason
    assert after(score=Overall(2)).reason["code"] == "below_minimum"

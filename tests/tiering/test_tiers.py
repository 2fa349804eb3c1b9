"""Tiers as a function of numbers: the gates of the product, and promises that hold for any history."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiering import tiers
from tiering.tiers import Stats

HISTORY = 500


def numbers(good: int, bad: int, *, older: int = 0) -> Stats:
    return Stats(good + bad + older, (False,) * bad + (True,) * good)


histories = st.tuples(
    st.lists(st.booleans(), max_size=HISTORY) | st.lists(st.booleans(), min_size=HISTORY, max_size=HISTORY),
    st.integers(0, 1_000),
).map(lambda drawn: Stats(len(drawn[0]) + (drawn[1] if len(drawn[0]) == HISTORY else 0), tuple(drawn[0])))


@pytest.mark.parametrize(
    ("stats", "tier"),
    [
        (Stats(0, ()), "new"),
        (numbers(9, 0), "new"),
        (numbers(10, 0), "bronze"),
        (numbers(6, 4), "bronze"),
        (numbers(59, 41), "new"),
        (numbers(49, 0), "bronze"),
        (numbers(75, 25), "silver"),
        (numbers(74, 26), "bronze"),
        (numbers(149, 0), "silver"),
        (numbers(170, 30), "gold"),
        (numbers(169, 31), "silver"),
        (numbers(499, 0), "gold"),
        (numbers(460, 40), "diamond"),
        (numbers(459, 41), "gold"),
        (numbers(460, 40, older=5_000), "diamond"),
    ],
)
def test_gates_of_the_product(stats: Stats, tier: str) -> None:
    assert tiers.earned(stats) == tier


@given(histories)
def test_a_good_submission_never_lowers_a_tier(stats: Stats) -> None:
    assert tiers.rank(tiers.earned(tiers.after_good(stats, 1))) >= tiers.rank(tiers.earned(stats))


@given(histories, st.integers(0, HISTORY - 1))
def test_a_better_score_in_the_past_never_lowers_a_tier(stats: Stats, place: int) -> None:
    better = Stats(stats.scored, tuple(good or at == place for at, good in enumerate(stats.recent)))
    assert tiers.rank(tiers.earned(better)) >= tiers.rank(tiers.earned(stats))


@given(histories)
def test_what_lifts_me_keeps_its_word(stats: Stats) -> None:
    now = tiers.earned(stats)
    for gap in tiers.lifts(stats, now):
        reached = tiers.earned(tiers.after_good(stats, gap.good_in_a_row))
        nearly = tiers.earned(tiers.after_good(stats, gap.good_in_a_row - 1))
        assert gap.good_in_a_row > 0
        assert tiers.at_least(reached, gap.tier), "as many good ones as promised must suffice"
        assert not tiers.at_least(nearly, gap.tier), "one fewer must not"


@given(histories)
def test_higher_tiers_are_never_nearer(stats: Stats) -> None:
    steps = [gap.good_in_a_row for gap in tiers.lifts(stats, "new")]
    assert steps == sorted(steps)


def test_good_ones_needed_by_hand() -> None:
    # 5 of 10 are good. Bronze: (5 + k) / (10 + k) >= 0.6 gives k = 3. Silver: k = 10 for the rate, 40 for the number.
    bronze, silver, gold, diamond = tiers.lifts(numbers(5, 5), "new")
    assert (bronze.good_in_a_row, bronze.more_scored) == (3, 0)
    assert (silver.good_in_a_row, silver.more_scored) == (40, 40)
    assert (gold.good_in_a_row, gold.more_scored) == (140, 140)
    assert (diamond.good_in_a_row, diamond.more_scored) == (490, 490)


def test_a_full_history_must_lose_its_bad_ones_first() -> None:
    # 41 bad of 500, the oldest 100 good: only the 101st good submission pushes a bad one out.
    stats = Stats(700, (True,) * 100 + (False,) * 41 + (True,) * 359)
    [diamond] = tiers.lifts(stats, "gold")
    assert diamond.good_in_a_row == 101
    assert diamond.more_scored == 0


def test_diamond_has_nothing_above() -> None:
    assert tiers.lifts(numbers(500, 0), "diamond") == []


def test_gates_are_settings(configure: Callable[..., None]) -> None:
    configure(tier_bronze={"approval_rate": 0.5, "scored": 2})
    assert tiers.earned(numbers(1, 1)) == "bronze"

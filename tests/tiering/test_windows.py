"""Windows and the newcomer quota, second by second."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiering import windows
from tiering.tiers import TIERS, Tier

PUBLISHED = datetime(2026, 3, 1, 12, tzinfo=UTC)
tiers = st.sampled_from(TIERS)
ages = st.floats(0, 4_000).map(lambda seconds: timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("seconds", "who"),
    [
        (-0.001, ()),
        (0, ("gold", "diamond")),
        (59.999, ("gold", "diamond")),
        (60, ("silver", "gold", "diamond")),
        (299.999, ("silver", "gold", "diamond")),
        (300, TIERS),
    ],
)
def test_windows_open_on_the_second(seconds: float, who: tuple[Tier, ...]) -> None:
    now = PUBLISHED + timedelta(seconds=seconds)
    assert tuple(tier for tier in TIERS if windows.open_for(tier, PUBLISHED, now)) == who


@given(tiers, ages, ages)
def test_an_open_window_never_closes(tier: Tier, age: timedelta, later: timedelta) -> None:
    if windows.open_for(tier, PUBLISHED, PUBLISHED + age):
        assert windows.open_for(tier, PUBLISHED, PUBLISHED + age + later)


@given(tiers, tiers, ages)
def test_a_higher_tier_sees_at_least_as_much(one: Tier, other: Tier, age: timedelta) -> None:
    lower, higher = sorted((one, other), key=TIERS.index)
    if windows.open_for(lower, PUBLISHED, PUBLISHED + age):
        assert windows.open_for(higher, PUBLISHED, PUBLISHED + age)


@given(tiers, ages)
def test_the_bound_for_queries_says_the_same(tier: Tier, age: timedelta) -> None:
    now = PUBLISHED + age
    assert (windows.published_by(tier, now) >= PUBLISHED) == windows.open_for(tier, PUBLISHED, now)


def test_visible_after_names_every_tier() -> None:
    assert windows.visible_after() == {"new": 300, "bronze": 300, "silver": 60, "gold": 0, "diamond": 0}


@pytest.mark.parametrize(("target", "held"), [(1, 0), (9, 0), (10, 1), (19, 1), (20, 2), (100, 10), (10_000, 1_000)])
def test_a_tenth_is_held_for_newcomers(target: int, held: int) -> None:
    assert windows.newcomer_quota(target) == held


@pytest.mark.parametrize("needed", ["bronze", "silver", "gold", "diamond"])
def test_nothing_is_held_for_those_who_may_not_take_it(needed: Tier) -> None:
    assert windows.newcomer_quota(10_000, needed) == 0


def test_at_least_one_slot_is_held_however_small_the_share(configure: Callable[..., None]) -> None:
    configure(newcomer_share=0.01)
    assert [windows.newcomer_quota(target) for target in (9, 10, 100, 200)] == [0, 1, 1, 2]
    configure(newcomer_share=0)
    assert windows.newcomer_quota(10_000) == 0


def test_the_share_is_exact(configure: Callable[..., None]) -> None:
    configure(newcomer_share=0.29)
    assert windows.newcomer_quota(100) == 29


@given(st.integers(1, 10_000), st.integers(0, 1_100), ages, ages)
def test_held_slots_only_shrink(target: int, taken: int, age: timedelta, later: timedelta) -> None:
    held = windows.held_for_newcomers(target, taken, PUBLISHED, PUBLISHED + age)
    assert 0 <= held <= windows.newcomer_quota(target)
    assert windows.held_for_newcomers(target, taken + 1, PUBLISHED, PUBLISHED + age) in (held, held - 1)
    assert windows.held_for_newcomers(target, taken, PUBLISHED, PUBLISHED + age + later) in (held, 0)


def test_held_slots_are_for_all_after_half_an_hour() -> None:
    half_an_hour = PUBLISHED + timedelta(minutes=30)
    assert windows.held_for_newcomers(100, 3, PUBLISHED, half_an_hour - timedelta(seconds=1)) == 7
    assert windows.held_for_newcomers(100, 3, PUBLISHED, half_an_hour) == 0


@given(st.integers(0, 50), st.integers(0, 50))
def test_only_newcomers_may_take_held_slots(free: int, held: int) -> None:
    assert windows.claimable(free, held=held, newcomer=True) == free
    others = windows.claimable(free, held=held, newcomer=False)
    assert others == 0 if held >= free else others + held == free


def test_newcomers_have_fewer_than_three_assignments() -> None:
    assert [windows.is_newcomer(count) for count in range(5)] == [True, True, True, False, False]

"""
Tiers: what a worker's scored submissions earn, and what would lift them further.

Two numbers decide. `scored` is how many submissions were ever scored (voided ones apart): experience is not lost by being
long ago. `approval_rate` looks at the newest 500 of them (setting `tier_history`), or all if fewer.
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from infra.settings import TierGate, settings

Tier = Literal["new", "bronze", "silver", "gold", "diamond"]
TIERS: tuple[Tier, ...] = get_args(Tier)
GOOD_STARS = 3


@dataclass(frozen=True)
class Stats:
    """
    The numbers behind a tier.

    :param scored: submissions ever scored
    :param recent: the newest of them, at most `tier_history`, oldest first: True where it got 3 stars or more
    """

    scored: int
    recent: tuple[bool, ...]

    @property
    def approval_rate(self) -> float:
        """Share of good ones among the recent, 0 to 1; 0 when nothing is scored yet."""
        return sum(self.recent) / len(self.recent) if self.recent else 0.0


@dataclass(frozen=True)
class Gap:
    """
    What separates a worker from one tier above.

    :param more_scored: scored submissions still missing, whatever their stars
    :param good_in_a_row: with this many submissions of 3 stars or more, one after the other, the tier is reached
    """

    tier: Tier
    needs_scored: int
    needs_rate: float
    more_scored: int
    good_in_a_row: int


def rank(tier: Tier) -> int:
    """0 for New up to 4 for Diamond."""
    return TIERS.index(tier)


def at_least(tier: Tier, floor: Tier) -> bool:
    """Whether a tier is `floor` or above it."""
    return rank(tier) >= rank(floor)


def gates() -> Mapping[Tier, TierGate]:
    """What each tier asks for. New asks for nothing."""
    numbers = settings()
    return {
        "bronze": numbers.tier_bronze,
        "silver": numbers.tier_silver,
        "gold": numbers.tier_gold,
        "diamond": numbers.tier_diamond,
    }


def earned(stats: Stats) -> Tier:
    """The highest tier whose gate these numbers pass."""
    passed: list[Tier] = [tier for tier, gate in gates().items() if passes(stats, gate)]
    return max(passed, key=rank, default="new")


def passes(stats: Stats, gate: TierGate) -> bool:
    """Whether the numbers are at the gate or above it."""
    return stats.scored >= gate.scored and stats.approval_rate >= gate.approval_rate


def after_good(stats: Stats, more: int) -> Stats:
    """The numbers once `more` further submissions got 3 stars or more; as many old ones leave a full history."""
    history = settings().tier_history
    return Stats(stats.scored + more, (stats.recent + (True,) * min(more, history))[-history:])


def lifts(stats: Stats, tier: Tier) -> list[Gap]:
    """
    What lifts a worker who is now in `tier`: one gap for each tier above, nearest first.

    The count of good submissions is exact, not an estimate: it plays them through the rolling history, where a good one
    only helps once an old bad one falls out.
    """
    return [_gap(stats, above, gate) for above, gate in gates().items() if rank(above) > rank(tier)]


def _gap(stats: Stats, tier: Tier, gate: TierGate) -> Gap:
    # Good submissions never lower either number, so "does k suffice" goes from no to yes once; and a whole history of
    # good ones is a rate of 1.
    enough = max(gate.scored, settings().tier_history)
    return Gap(
        tier=tier,
        needs_scored=gate.scored,
        needs_rate=gate.approval_rate,
        more_scored=max(0, gate.scored - stats.scored),
        good_in_a_row=bisect_left(range(enough), True, key=lambda more: passes(after_good(stats, more), gate)),
    )

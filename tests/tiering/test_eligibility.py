"""Eligibility: each reason against alone, all together, and none."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiering import caps, eligibility, windows
from tiering.eligibility import JobFacts, NotEligible, WorkerFacts
from tiering.tiers import TIERS, Tier, rank

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANA = WorkerFacts(tier="silver", banned=False, used_today=0)
MAILBOXES = JobFacts(published_at=NOW - timedelta(minutes=10), price_cents=50)


def codes(worker: WorkerFacts, job: JobFacts) -> list[str]:
    return [reason.code for reason in eligibility.check(worker, job, NOW)]


def test_nothing_against() -> None:
    assert codes(ANA, MAILBOXES) == []
    assert codes(ANA, replace(MAILBOXES, in_place=True, in_audience=True)) == []
    assert codes(replace(ANA, used_today=73, open_claims=1), MAILBOXES) == []
    eligibility.require(ANA, MAILBOXES, NOW)


@pytest.mark.parametrize(
    ("worker", "job", "code"),
    [
        ({"banned": True}, {}, "account-banned"),
        ({}, {"own_organization": True}, "own-organization"),
        ({}, {"minimum_tier": "diamond"}, "tier-too-low"),
        ({}, {"price_cents": 1_000}, "tier-too-low"),
        ({}, {"in_audience": False}, "outside-audience"),
        ({}, {"in_place": False}, "outside-place"),
        ({}, {"published_at": NOW - timedelta(seconds=59)}, "window-not-open"),
        ({"used_today": 75}, {}, "daily-cap-reached"),
        ({"used_today": 73, "open_claims": 2}, {}, "daily-cap-reached"),
    ],
)
def test_each_reason_alone(worker: dict[str, Any], job: dict[str, Any], code: str) -> None:
    assert codes(replace(ANA, **worker), replace(MAILBOXES, **job)) == [code]


def test_a_refusal_carries_every_reason_the_lasting_ones_first() -> None:
    with pytest.raises(NotEligible) as refused:
        eligibility.require(
            WorkerFacts(tier="new", banned=True, used_today=50),
            JobFacts(NOW, 5_000, own_organization=True, in_place=False, in_audience=False),
            NOW,
        )
    reasons = refused.value.members["reasons"]
    assert [reason["code"] for reason in reasons] == [
        "account-banned",
        "own-organization",
        "tier-too-low",
        "outside-audience",
        "outside-place",
        "window-not-open",
        "daily-cap-reached",
    ]
    assert refused.value.detail == reasons[0]["words"]


@pytest.mark.parametrize(
    ("price", "minimum", "needed"),
    [(999, "new", "new"), (1_000, "new", "gold"), (1_000, "diamond", "diamond"), (50, "silver", "silver")],
)
def test_required_tier(price: int, minimum: Tier, needed: Tier) -> None:
    assert eligibility.required_tier(price, minimum) == needed


@given(
    st.sampled_from(TIERS),
    st.sampled_from(TIERS),
    st.integers(10, 50_000),
    st.integers(0, 400),
    st.integers(0, 100),
)
def test_a_higher_tier_is_never_refused_what_a_lower_one_gets(
    tier: Tier, minimum: Tier, price: int, age: int, used: int
) -> None:
    job = JobFacts(NOW - timedelta(seconds=age), price, minimum)
    worker = WorkerFacts(tier, banned=False, used_today=used)
    if not codes(worker, job):
        assert all(not codes(replace(worker, tier=higher), job) for higher in TIERS[rank(tier) :])
        assert windows.open_for(tier, job.published_at, NOW)
        assert used < caps.cap(tier)

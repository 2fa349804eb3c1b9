import pytest
from hypothesis import given
from hypothesis import strategies as st

from payouts.money import Split, split

prices = st.integers(0, 10**9)
percents = st.integers(0, 100)


@given(prices, st.sampled_from(["inclusive", "on_top"]), percents, percents)
def test_no_cent_appears_or_vanishes(price: int, mode: str, fee: int, on_top: int) -> None:
    parts = split(price, mode, fee_percent=fee, on_top_percent=on_top)  # type: ignore[arg-type]
    assert parts.worker + parts.fee == parts.buyer
    assert min(parts.worker, parts.fee, parts.buyer) >= 0


@given(prices)
def test_inclusive_leaves_the_worker_80_percent_or_a_fraction_of_a_cent_more(price: int) -> None:
    parts = split(price, "inclusive", fee_percent=20, on_top_percent=20)
    assert parts.buyer == price
    assert 0 <= parts.worker * 100 - price * 80 < 100


@given(prices, st.sampled_from([20, 30]))
def test_on_top_gives_the_worker_the_price_and_never_charges_above_the_percentage(price: int, percent: int) -> None:
    parts = split(price, "on_top", fee_percent=20, on_top_percent=percent)
    assert parts.worker == price
    assert 0 <= price * (100 + percent) - parts.buyer * 100 < 100


@pytest.mark.parametrize(
    ("price", "mode", "expected"),
    [
        (50, "inclusive", Split(buyer=50, worker=40, fee=10)),
        (99, "inclusive", Split(buyer=99, worker=80, fee=19)),
        (4, "inclusive", Split(buyer=4, worker=4, fee=0)),
        (50, "on_top", Split(buyer=60, worker=50, fee=10)),
        (99, "on_top", Split(buyer=118, worker=99, fee=19)),
    ],
)
def test_known_prices(price: int, mode: str, expected: Split) -> None:
    assert split(price, mode, fee_percent=20, on_top_percent=20) == expected  # type: ignore[arg-type]


def test_a_negative_price_is_a_bug() -> None:
    with pytest.raises(ValueError, match="not negative"):
        split(-1, "inclusive", fee_percent=20, on_top_percent=20)

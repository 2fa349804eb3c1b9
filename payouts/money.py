"""What one accepted file costs its buyer, earns its worker and leaves to the platform. Pure."""

from dataclasses import dataclass
from typing import Literal

FeeMode = Literal["inclusive", "on_top"]


@dataclass(frozen=True)
class Split:
    """Who pays and gets what for one file, in cents: `buyer == worker + fee`, always."""

    buyer: int
    worker: int
    fee: int


def split(price_cents: int, fee_mode: FeeMode, *, fee_percent: int, on_top_percent: int) -> Split:
    """
    Divide a price.

    Both fees are rounded down. The cent in doubt belongs to the worker when the fee comes out of the price, and to the buyer
    when it comes on top of it: never to the platform.

    A job must keep the split it was published with. Its escrow was filled by it, and settings change.

    :param fee_mode: `inclusive`: the buyer pays the price, the fee comes out of it; `on_top`: the worker gets the price
    """
    if price_cents < 0:
        raise ValueError(f"a price is not negative: {price_cents}")
    if fee_mode == "inclusive":
        fee = price_cents * fee_percent // 100
        return Split(buyer=price_cents, worker=price_cents - fee, fee=fee)
    fee = price_cents * on_top_percent // 100
    return Split(buyer=price_cents + fee, worker=price_cents, fee=fee)

"""Buyers' money: the wallet, what moved in it, and play money for trying things out."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field
from sqlalchemy.orm import Session

from api.auth.callers import Buyer, BuyerCaller
from api.edge import get, post
from api.schemas import Model, OrganizationId
from infra import ids
from infra.errors import Forbidden
from infra.settings import settings
from payouts import wallets


class NoPlayMoney(Forbidden):
    """Play money cannot be paid in here."""


class NotForTestKeys(Forbidden):
    """A test key does not see the wallet."""


class WalletView(Model):
    object: Literal["wallet"] = "wallet"
    organization_id: OrganizationId
    available_cents: int


class TopUp(Model):
    amount_cents: Annotated[int, Field(ge=1, le=100_000_000)]


@get("/v1/wallet", who=Buyer("wallet:read"), summary="Read the wallet")
def read(session: Session, caller: BuyerCaller) -> WalletView:
    """What is free for new jobs; money in escrow is not."""
    if caller.mode == "test":
        raise NotForTestKeys("What it makes costs nothing. Use a live key to read the wallet.")
    return _show(session, caller)


@post("/v1/wallet/sandbox-top-ups", who=Buyer("wallet:write"), summary="Put play money into the wallet")
def top_up(session: Session, caller: BuyerCaller, now: datetime, data: TopUp) -> WalletView:
    """Only where the sandbox is on. Send an `Idempotency-Key`, or a repeated request adds twice."""
    if not settings().sandbox_topup:
        raise NoPlayMoney("Pay in through the provider instead.")
    if caller.mode == "test":
        raise NoPlayMoney("A test key moves no money and needs none; use a live key to fill the wallet.")
    wallets.top_up(
        session, organization_id=caller.organization_id, cents=data.amount_cents, cause=f"sandbox:{ids.new()}", now=now
    )
    return _show(session, caller)


def _show(session: Session, caller: BuyerCaller) -> WalletView:
    return WalletView(
        organization_id=caller.organization_id, available_cents=wallets.balance(session, caller.organization_id)
    )

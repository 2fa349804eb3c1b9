"""Workers' money: what is earned, and its way to the bank. A ban takes nothing of it."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints
from sqlalchemy.orm import Session

from api.auth.callers import Worker, WorkerCaller
from api.edge import get, post
from api.schemas import CashoutId, Model, Timestamp, WorkerId
from infra.settings import settings
from payouts import cashouts, earnings
from payouts.models import Cashout


class EarningsView(Model):
    object: Literal["earnings"] = "earnings"
    worker_id: WorkerId
    available_cents: int
    cashout_minimum_cents: int


class CashoutRequest(Model):
    client_id: Annotated[
        str,
        StringConstraints(pattern=r"^[\x21-\x7e]{8,100}$"),
        Field(description="made by the app; sent twice, it counts once"),
    ]
    amount_cents: Annotated[int, Field(ge=1, le=2**53, description="leave out for the whole balance")] | None = None


class CashoutView(Model):
    object: Literal["cashout"] = "cashout"
    id: CashoutId
    state: Literal["requested", "sending", "paid", "failed"]
    amount_cents: int
    failure: Annotated[str | None, Field(description="the provider's reason; the money is back in your earnings")]
    requested_at: Timestamp


@get("/v1/worker/earnings", who=Worker(banned_allowed=True), summary="Read your earnings")
def read(session: Session, caller: WorkerCaller) -> EarningsView:
    """What you can cash out."""
    return EarningsView(
        worker_id=caller.worker_id,
        available_cents=earnings.balance(session, caller.worker_id),
        cashout_minimum_cents=settings().cashout_minimum_cents,
    )


@post("/v1/worker/cashouts", who=Worker(banned_allowed=True), summary="Cash out")
def request(session: Session, caller: WorkerCaller, now: datetime, data: CashoutRequest) -> CashoutView:
    """From the minimum on, the whole balance or less. If the transfer fails the money comes back, with the reason."""
    cashout = cashouts.request(
        session, worker_id=caller.worker_id, amount_cents=data.amount_cents, client_id=data.client_id, now=now
    )
    return show(cashout)


@get("/v1/worker/cashouts/{cashout_id:str}", who=Worker(banned_allowed=True), summary="Read a cashout", waits=True)
def read_cashout(session: Session, caller: WorkerCaller, cashout_id: CashoutId) -> CashoutView:
    """With `Prefer: wait=N` the answer comes when it is paid or failed, or after N seconds."""
    return show(cashouts.get(session, cashout_id, worker_id=caller.worker_id))


def show(cashout: Cashout) -> CashoutView:
    """A cashout as its worker sees it."""
    return CashoutView(
        id=cashout.id,
        state=cashout.state,
        amount_cents=cashout.amount_cents,
        failure=cashout.failure,
        requested_at=cashout.created_at,
    )

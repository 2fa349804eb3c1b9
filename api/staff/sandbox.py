"""The sandbox rail told to misbehave, so that everybody can see a failed cashout come back."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import StringConstraints
from sqlalchemy.orm import Session

from api.auth.callers import Staff
from api.edge import post
from api.schemas import Model, WorkerId
from infra.errors import Forbidden
from infra.settings import settings
from payouts.rails import sandbox


class NoSandbox(Forbidden):
    """Cashouts go through a real provider here."""


class Fault(Model):
    worker_id: WorkerId
    reason: Annotated[str, StringConstraints(min_length=3, max_length=200)]


class FaultView(Model):
    object: Literal["sandbox_fault"] = "sandbox_fault"
    worker_id: WorkerId
    reason: str


@post("/v1/staff/sandbox/cashout-faults", who=Staff("admin"), summary="Make a worker's next sandbox cashout fail")
def fail_next(session: Session, now: datetime, data: Fault) -> FaultView:
    """The provider will refuse it for this reason."""
    if settings().env == "production":
        raise NoSandbox
    sandbox.fail_next(session, worker_id=data.worker_id, reason=data.reason, now=now)
    return FaultView(worker_id=data.worker_id, reason=data.reason)

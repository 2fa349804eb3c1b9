"""Staff sign in with password and authenticator code."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import EmailStr, Field, StringConstraints
from sqlalchemy.orm import Session

from api.auth import staff
from api.auth.callers import Anyone, Staff, StaffCaller
from api.auth.staff import WrongSignIn
from api.edge import delete, post
from api.schemas import Model, StaffId
from infra import db


class StaffSignIn(Model):
    email: Annotated[EmailStr, Field(max_length=254)]
    password: Annotated[str, Field(max_length=200)]
    totp: Annotated[str, StringConstraints(pattern=r"^[0-9]{6}$")]


class StaffSessionView(Model):
    object: Literal["staff_session"] = "staff_session"
    token: str
    expires_in: Annotated[int, Field(description="seconds")]
    staff_id: StaffId
    role: str


@post("/v1/staff/auth/sessions", who=Anyone(passwords=True), summary="Sign in as staff")
def sign_in(now: datetime, data: StaffSignIn) -> StaffSessionView:
    """After five failures the account rests for a minute, then longer each time. A code of the app works once."""
    with staff.turn():
        with db.transaction() as session:
            attempt = staff.begin_try(session, email=str(data.email), now=now)
        right = staff.fits(attempt, data.password)
    if right:
        with db.transaction() as session:
            opened = staff.open(session, attempt, totp=data.totp, now=now)
            if opened is not None:
                token, here = opened
                return StaffSessionView(
                    token=token,
                    expires_in=int((here.expires_at - now).total_seconds()),
                    staff_id=here.staff_id,
                    role=here.member.role,
                )
    raise WrongSignIn("Check all three. After five failures the account rests for a while.")


@delete("/v1/staff/auth/sessions/current", who=Staff(), summary="Sign out")
def sign_out(session: Session, caller: StaffCaller, now: datetime) -> None:
    """The token is no longer good."""
    staff.end(session, caller.session_id, now=now)

"""Tables of sign-in. No secret stands in them: they hold keyed hashes, sealed values and counters."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from infra.db import Base


class ApiKey(Base):
    """A buyer's key. During a rotation the secret before the present one stays good until `previous_until`."""

    __tablename__ = "api_keys"
    __table_args__ = (
        CheckConstraint("mode IN ('live', 'test')", name="mode_known"),
        CheckConstraint("(previous_hash IS NULL) = (previous_until IS NULL)", name="previous_ends"),
        Index(None, "organization_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    organization_id: Mapped[UUID]
    name: Mapped[str]
    mode: Mapped[str]
    scopes: Mapped[list[str]]
    secret_hash: Mapped[bytes] = mapped_column(unique=True)
    hint: Mapped[str]
    previous_hash: Mapped[bytes | None] = mapped_column(unique=True)
    previous_until: Mapped[datetime | None]
    created_at: Mapped[datetime]
    rotated_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class LoginCode(Base):
    """A request for a one-time code. The code is not kept: it follows from the id and the server's key."""

    __tablename__ = "login_codes"
    __table_args__ = (Index(None, "email", "created_at"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    email: Mapped[str]
    attempts: Mapped[int]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    used_at: Mapped[datetime | None]
    sent_at: Mapped[datetime | None]


class WorkerSession(Base):
    """
    A worker signed in on one installation of the app: the family of its refresh tokens.

    `generation` counts the tokens given out; only the newest is good, and an older one ends the session.
    """

    __tablename__ = "worker_sessions"
    __table_args__ = (Index(None, "worker_id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    worker_id: Mapped[UUID]
    install_id: Mapped[str]
    platform: Mapped[str]
    model: Mapped[str | None]
    device_key_id: Mapped[UUID | None]
    generation: Mapped[int]
    created_at: Mapped[datetime]
    refreshed_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    ended_at: Mapped[datetime | None]
    ended_because: Mapped[str | None]


class StaffMember(Base):
    """A trust-and-safety or operations person."""

    __tablename__ = "staff"
    __table_args__ = (
        CheckConstraint("role IN ('reviewer', 'operator', 'admin')", name="role_known"),
        Index("uq_staff_lower_email", text("lower(email)"), unique=True),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    email: Mapped[str]
    role: Mapped[str]
    password_hash: Mapped[str]
    totp_sealed: Mapped[bytes]
    totp_step: Mapped[int]
    failures: Mapped[int]
    locked_until: Mapped[datetime | None]
    disabled_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class StaffSession(Base):
    """A staff member signed in."""

    __tablename__ = "staff_sessions"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    staff_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id", ondelete="CASCADE"), index=True)
    token_hash: Mapped[bytes] = mapped_column(unique=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    ended_at: Mapped[datetime | None]

    member: Mapped[StaffMember] = relationship(lazy="joined", innerjoin=True)

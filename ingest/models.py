"""Tables of media and devices. Only `ingest` queries and writes them; callers above get rows as values."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Identity, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from infra.db import Base
from infra.states import Stateful, lifecycle

UPLOAD = lifecycle("upload", begun="submitted expired", submitted="", expired="")


class Upload(Stateful):
    """One file on its way into storage, as the phone declared it. A submitted upload is never swept."""

    __tablename__ = "uploads"
    __table_args__ = (
        *UPLOAD.constraints(),
        CheckConstraint("size > 0", name="size_positive"),
        CheckConstraint("octet_length(sha256) = 32", name="sha256_length"),
        Index(None, "assignment_id"),
        Index(None, "submission_id"),
        Index("ix_uploads_open", "worker_id", postgresql_where=text("state = 'begun'")),
    )

    worker_id: Mapped[UUID]
    assignment_id: Mapped[UUID]
    submission_id: Mapped[UUID | None]
    key: Mapped[str] = mapped_column(unique=True)
    size: Mapped[int]
    media_type: Mapped[str]
    sha256: Mapped[bytes]
    captured_at: Mapped[datetime | None]
    begun_at: Mapped[datetime]


class Media(Base):
    """
    One file that arrived, with its measured facts, or with what is broken about it. `seq` numbers files in the order in
    which their facts were committed: "earlier" everywhere means a smaller `seq`.

    Later files are measured by it while it `counts`: until its submission is rejected. If it is a `test` (of a dry run), only
    files of the same job are.
    """

    __tablename__ = "media"
    __table_args__ = (
        Index(None, "submission_id"),
        Index(None, "sha256"),
        Index(None, "job_id", "worker_id"),
        Index("ix_media_seq_hashed", "seq", postgresql_where=text("pdq IS NOT NULL")),
        CheckConstraint("(facts IS NULL) <> (broken IS NULL)", name="facts_or_broken"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(Identity(always=True), unique=True)
    submission_id: Mapped[UUID]
    assignment_id: Mapped[UUID]
    job_id: Mapped[UUID]
    organization_id: Mapped[UUID]
    worker_id: Mapped[UUID]
    key: Mapped[str]
    sha256: Mapped[bytes]
    copy_key: Mapped[str | None]
    copy_sha256: Mapped[bytes | None]
    facts: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    broken: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    pdq: Mapped[bytes | None]
    pdq_quality: Mapped[int | None]
    phash: Mapped[int | None]
    grey_key: Mapped[str | None]
    nominated: Mapped[list[Any]]
    neighbours: Mapped[list[Any] | None] = mapped_column(JSONB(none_as_null=True))
    counts: Mapped[bool]
    test: Mapped[bool]
    inspected_at: Mapped[datetime]


class DeviceKey(Base):
    """A phone's signing key (P-256). One key belongs to one worker for ever; retired keys stay as evidence."""

    __tablename__ = "device_keys"
    __table_args__ = (Index(None, "worker_id", "install_id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    worker_id: Mapped[UUID]
    install_id: Mapped[str]
    platform: Mapped[str]
    public_key: Mapped[bytes] = mapped_column(unique=True)
    counter: Mapped[int]
    created_at: Mapped[datetime]
    retired_at: Mapped[datetime | None]


class Challenge(Base):
    """A one-time number that a device must sign into its next assertion."""

    __tablename__ = "challenges"
    __table_args__ = (Index(None, "expires_at"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    worker_id: Mapped[UUID]
    assignment_id: Mapped[UUID]
    nonce: Mapped[bytes]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]

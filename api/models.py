"""Tables of the doors themselves; those of sign-in stand in `api/auth/models.py`."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Mapped, mapped_column

from infra.db import Base


class IdempotentAnswer(Base):
    """
    What a buyer's POST was answered under an `Idempotency-Key`. `status` is empty while its function still runs outside
    a transaction; such a claim lapses at `claimed_until`.
    """

    __tablename__ = "idempotent_answers"

    organization_id: Mapped[UUID] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[bytes]
    status: Mapped[int | None]
    headers: Mapped[dict[str, Any]]
    media_type: Mapped[str]
    sealed_body: Mapped[bytes]
    claimed_until: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)

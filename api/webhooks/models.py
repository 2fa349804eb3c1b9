"""Tables of webhooks. Private to `api.webhooks`."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from infra.db import Base
from infra.states import Stateful, lifecycle

DELIVERY = lifecycle("delivery", waiting="delivered failed", delivered="", failed="")


class Endpoint(Base):
    """
    An address of a buyer that hears of events. Secrets are sealed; the previous one counts until `previous_until`.
    `event_types` NULL: all. Disabled while there is a reason for it. One in mode `test` was made with a test key and hears
    of test jobs only.
    """

    __tablename__ = "webhook_endpoints"
    __table_args__ = (
        CheckConstraint("mode IN ('live', 'test')", name="mode_known"),
        CheckConstraint("(previous_secret IS NULL) = (previous_until IS NULL)", name="previous_secret_ends"),
        Index(None, "organization_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    organization_id: Mapped[UUID]
    mode: Mapped[str]
    url: Mapped[str]
    event_types: Mapped[list[str] | None] = mapped_column(JSONB(none_as_null=True))
    disabled_reason: Mapped[str | None]
    secret: Mapped[bytes]
    previous_secret: Mapped[bytes | None]
    previous_until: Mapped[datetime | None]
    created_at: Mapped[datetime]


class Delivery(Stateful):
    """
    One event on its way to one endpoint.

    While it waits, `due_at` is when the clock calls for the next try. `attempts` counts the tries begun and tells them
    apart: an answer to a try that was overtaken is dropped. A replay is a delivery of its own.
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        *DELIVERY.constraints(),
        Index(None, "endpoint_id", "id"),
        # The event may be handed out twice (background functions may run twice): it is delivered once ...
        Index(
            "uq_webhook_deliveries_first",
            "endpoint_id",
            "event_id",
            unique=True,
            postgresql_where=text("replay_of IS NULL"),
        ),
        # ... and a replay asked for twice is under way once.
        Index(
            "uq_webhook_deliveries_waiting",
            "endpoint_id",
            "event_id",
            unique=True,
            postgresql_where=text("state = 'waiting'"),
        ),
    )

    endpoint_id: Mapped[UUID] = mapped_column(ForeignKey("webhook_endpoints.id", ondelete="CASCADE"))
    event_id: Mapped[UUID]
    event_type: Mapped[str]
    replay_of: Mapped[UUID | None]
    attempts: Mapped[int]
    status: Mapped[int | None]
    error: Mapped[str | None]
    tried_at: Mapped[datetime | None]
    created_at: Mapped[datetime]

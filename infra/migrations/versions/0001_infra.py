"""Tables of infra"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001_infra"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=True),
        sa.Column("data", postgresql.JSONB(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
    )
    op.create_index(op.f("ix_events_organization_id_id"), "events", ["organization_id", "id"])
    op.create_index(op.f("ix_events_subject_id"), "events", ["subject", "id"])

    op.create_table(
        "event_calls",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("function", sa.Text(), nullable=False),
        sa.Column("rests_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("deaths", sa.BigInteger(), nullable=False),
        sa.Column("rings", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint("state IN ('waiting', 'done', 'failed')", name=op.f("ck_event_calls_state_known")),
        sa.CheckConstraint(
            "state IN ('done', 'failed') OR due_at IS NOT NULL", name=op.f("ck_event_calls_state_has_deadline")
        ),
        sa.ForeignKeyConstraint(["event_id"], ["events.id"], name=op.f("fk_event_calls_event_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event_calls")),
        sa.UniqueConstraint("event_id", "function", name=op.f("uq_event_calls_event_id_function")),
    )
    op.create_index(
        op.f("ix_event_calls_due_at"),
        "event_calls",
        ["due_at"],
        postgresql_where=sa.text("state NOT IN ('done', 'failed')"),
    )


def downgrade() -> None:
    op.drop_table("event_calls")
    op.drop_table("events")

"""Tables of tiering"""

import sqlalchemy as sa
from alembic import op

revision = "0002_tiering"
down_revision = "0001_infra"
branch_labels = None
depends_on = None

TIERS = "('new', 'bronze', 'silver', 'gold', 'diamond')"


def upgrade() -> None:
    op.create_table(
        "workers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("tier", sa.Text(), nullable=False),
        sa.Column("tier_since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("below_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("banned_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ban_reason", sa.Text(), nullable=True),
        sa.Column("last_latitude", sa.Double(), nullable=True),
        sa.Column("last_longitude", sa.Double(), nullable=True),
        sa.Column("last_accuracy_m", sa.Double(), nullable=True),
        sa.Column("last_fix_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("assignments_count", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("state IN ('active', 'banned')", name=op.f("ck_workers_state_known")),
        sa.CheckConstraint(
            "(state = 'banned') = (banned_at IS NOT NULL) AND (banned_at IS NULL) = (ban_reason IS NULL)",
            name=op.f("ck_workers_ban_has_time_and_reason"),
        ),
        sa.CheckConstraint(f"tier IN {TIERS}", name=op.f("ck_workers_tier_known")),
        sa.CheckConstraint("assignments_count >= 0", name=op.f("ck_workers_assignments_not_negative")),
        sa.CheckConstraint(
            "num_nulls(last_latitude, last_longitude, last_accuracy_m, last_fix_at) IN (0, 4)",
            name=op.f("ck_workers_fix_is_whole"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
    )
    op.create_index("uq_workers_lower_email", "workers", [sa.text("lower(email)")], unique=True)
    op.create_index(
        op.f("ix_workers_below_since"),
        "workers",
        ["below_since"],
        postgresql_where=sa.text("below_since IS NOT NULL AND state = 'active'"),
    )

    op.create_table(
        "outcomes",
        sa.Column("submission_id", sa.Uuid(), nullable=False),
        sa.Column("worker_id", sa.Uuid(), nullable=False),
        sa.Column("stars", sa.BigInteger(), nullable=False),
        sa.Column("scored_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("voided_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("stars BETWEEN 1 AND 5", name=op.f("ck_outcomes_stars_in_range")),
        sa.ForeignKeyConstraint(["worker_id"], ["workers.id"], name=op.f("fk_outcomes_worker_id")),
        sa.PrimaryKeyConstraint("submission_id", name=op.f("pk_outcomes")),
    )
    op.create_index(
        "ix_outcomes_counted",
        "outcomes",
        ["worker_id", sa.text("scored_at DESC"), sa.text("submission_id DESC")],
        postgresql_include=["stars"],
        postgresql_where=sa.text("voided_at IS NULL"),
    )

    op.create_table(
        "tier_changes",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("worker_id", sa.Uuid(), nullable=False),
        sa.Column("from_tier", sa.Text(), nullable=False),
        sa.Column("to_tier", sa.Text(), nullable=False),
        sa.Column("approval_rate", sa.Double(), nullable=False),
        sa.Column("scored", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(f"from_tier IN {TIERS} AND to_tier IN {TIERS}", name=op.f("ck_tier_changes_tiers_known")),
        sa.CheckConstraint("from_tier <> to_tier", name=op.f("ck_tier_changes_tiers_differ")),
        sa.CheckConstraint("reason IN ('gate_reached', 'below_gate')", name=op.f("ck_tier_changes_reason_known")),
        sa.ForeignKeyConstraint(["worker_id"], ["workers.id"], name=op.f("fk_tier_changes_worker_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tier_changes")),
    )
    op.create_index(op.f("ix_tier_changes_worker_id_id"), "tier_changes", ["worker_id", "id"])

    op.create_table(
        "daily_counts",
        sa.Column("worker_id", sa.Uuid(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("count >= 0", name=op.f("ck_daily_counts_count_not_negative")),
        sa.ForeignKeyConstraint(["worker_id"], ["workers.id"], name=op.f("fk_daily_counts_worker_id")),
        sa.PrimaryKeyConstraint("worker_id", "day", name=op.f("pk_daily_counts")),
    )


def downgrade() -> None:
    op.drop_table("daily_counts")
    op.drop_table("tier_changes")
    op.drop_table("outcomes")
    op.drop_table("workers")

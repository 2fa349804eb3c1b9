"""Findings, scores, strikes and reviews."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006_quality"
down_revision = "0005_jobs"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "findings",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("submission_id", sa.Uuid(), nullable=False),
        sa.Column("media_id", sa.Uuid(), nullable=True),
        sa.Column("gate", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("measured", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("limit", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("feedback", sa.Text(), nullable=False),
        sa.Column("shadow", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("outcome IN ('pass', 'reject', 'review', 'signal')", name=op.f("ck_findings_outcome_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_findings")),
        sa.UniqueConstraint(
            "submission_id",
            "gate",
            "code",
            "media_id",
            name=op.f("uq_findings_submission_id_gate_code_media_id"),
            postgresql_nulls_not_distinct=True,
        ),
    )
    op.create_table(
        "reviews",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("worker_id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("reasons", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("held_cents", sa.BigInteger(), nullable=False),
        sa.Column("escalations", sa.BigInteger(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decision", sa.Text(), nullable=True),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("decided_by", sa.Uuid(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("kind IN ('submission', 'ban')", name=op.f("ck_reviews_kind_known")),
        sa.CheckConstraint("state IN ('decided') OR due_at IS NOT NULL", name=op.f("ck_reviews_state_has_deadline")),
        sa.CheckConstraint("state IN ('open', 'decided')", name=op.f("ck_reviews_state_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reviews")),
    )
    op.create_index(
        op.f("ix_reviews_due_at"),
        "reviews",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("state NOT IN ('decided')"),
    )
    op.create_index(op.f("ix_reviews_worker_id"), "reviews", ["worker_id"], unique=False)
    op.create_index(
        "uq_reviews_open", "reviews", ["kind", "subject_id"], unique=True, postgresql_where=sa.text("state = 'open'")
    )
    op.create_table(
        "scores",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("submission_id", sa.Uuid(), nullable=False),
        sa.Column("media_id", sa.Uuid(), nullable=False),
        sa.Column("scorer", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("dimensions", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("abstains", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scores")),
        sa.UniqueConstraint("media_id", "scorer", "version", name=op.f("uq_scores_media_id_scorer_version")),
    )
    op.create_index(op.f("ix_scores_submission_id"), "scores", ["submission_id"], unique=False)
    op.create_table(
        "strikes",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("worker_id", sa.Uuid(), nullable=False),
        sa.Column("submission_id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("written", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lifted_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_strikes")),
        sa.UniqueConstraint("submission_id", name=op.f("uq_strikes_submission_id")),
    )
    op.create_index(
        "ix_strikes_standing", "strikes", ["worker_id"], unique=False, postgresql_where=sa.text("lifted_at IS NULL")
    )


def downgrade() -> None:
    op.drop_index("ix_strikes_standing", table_name="strikes", postgresql_where=sa.text("lifted_at IS NULL"))
    op.drop_table("strikes")
    op.drop_index(op.f("ix_scores_submission_id"), table_name="scores")
    op.drop_table("scores")
    op.drop_index("uq_reviews_open", table_name="reviews", postgresql_where=sa.text("state = 'open'"))
    op.drop_index(op.f("ix_reviews_worker_id"), table_name="reviews")
    op.drop_index(op.f("ix_reviews_due_at"), table_name="reviews", postgresql_where=sa.text("state NOT IN ('decided')"))
    op.drop_table("reviews")
    op.drop_table("findings")

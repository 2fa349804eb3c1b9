"""The work: buyers, jobs, tasks, assignments, submissions."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005_jobs"
down_revision = "0004_ingest"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "boundaries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("city_key", sa.Text(), nullable=False),
        sa.Column("country", sa.Text(), nullable=False),
        sa.Column("geojson", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("imported_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_boundaries")),
        sa.UniqueConstraint("city_key", name=op.f("uq_boundaries_city_key")),
    )
    op.create_table(
        "organizations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("approval_rate", sa.Double(), nullable=True),
        sa.Column("median_decision_seconds", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organizations")),
    )
    op.create_table(
        "jobs",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("worker_guidelines", sa.Text(), nullable=True),
        sa.Column("scoring_criteria", sa.Text(), nullable=True),
        sa.Column("accepted_formats", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("files_needed", sa.BigInteger(), nullable=False),
        sa.Column("files_per_submission", sa.BigInteger(), nullable=False),
        sa.Column("price_per_file_cents", sa.BigInteger(), nullable=False),
        sa.Column("fee_mode", sa.Text(), nullable=False),
        sa.Column("buyer_cents", sa.BigInteger(), nullable=False),
        sa.Column("worker_cents", sa.BigInteger(), nullable=False),
        sa.Column("fee_cents", sa.BigInteger(), nullable=False),
        sa.Column("min_star_rating", sa.BigInteger(), nullable=False),
        sa.Column("min_width", sa.BigInteger(), nullable=True),
        sa.Column("min_height", sa.BigInteger(), nullable=True),
        sa.Column("location", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("area", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("latitude", sa.Double(), nullable=True),
        sa.Column("longitude", sa.Double(), nullable=True),
        sa.Column("radius_km", sa.Double(), nullable=True),
        sa.Column("cells", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deadline", sa.DateTime(timezone=True), nullable=True),
        sa.Column("posting_time_limit_minutes", sa.BigInteger(), nullable=False),
        sa.Column("task_time_limit_minutes", sa.BigInteger(), nullable=False),
        sa.Column("max_workers", sa.BigInteger(), nullable=True),
        sa.Column("max_submissions_per_worker", sa.BigInteger(), nullable=True),
        sa.Column("priority", sa.Text(), nullable=False),
        sa.Column("audience", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("tech_constraints", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("test", sa.Boolean(), nullable=False),
        sa.Column("test_emails", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('cancelled', 'completed', 'expired') OR due_at IS NOT NULL",
            name=op.f("ck_jobs_state_has_deadline"),
        ),
        sa.CheckConstraint(
            "state IN ('draft', 'scheduled', 'open', 'filled', 'paused', 'closing', 'completed', 'cancelled', 'expired')",
            name=op.f("ck_jobs_state_known"),
        ),
        sa.CheckConstraint("mod(files_needed, files_per_submission) = 0", name=op.f("ck_jobs_files_divide")),
        sa.CheckConstraint("price_per_file_cents BETWEEN 10 AND 50000", name=op.f("ck_jobs_price_in_range")),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f("fk_jobs_organization_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
    )
    op.create_index(
        op.f("ix_jobs_due_at"),
        "jobs",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("state NOT IN ('cancelled', 'completed', 'expired')"),
    )
    op.create_index(
        "ix_jobs_open_cells",
        "jobs",
        ["cells"],
        unique=False,
        postgresql_using="gin",
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_index(op.f("ix_jobs_organization_id_id"), "jobs", ["organization_id", "id"], unique=False)
    op.create_table(
        "members",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_members_organization_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("organization_id", "email", name=op.f("pk_members")),
    )
    op.create_index(op.f("ix_members_email"), "members", ["email"], unique=False)
    op.create_table(
        "tasks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("target", sa.BigInteger(), nullable=False),
        sa.Column("claimable", sa.Boolean(), nullable=False),
        sa.Column("assigned", sa.BigInteger(), nullable=False),
        sa.Column("pending", sa.BigInteger(), nullable=False),
        sa.Column("approved", sa.BigInteger(), nullable=False),
        sa.Column("newcomer_quota", sa.BigInteger(), nullable=False),
        sa.Column("newcomer_taken", sa.BigInteger(), nullable=False),
        sa.Column("free", postgresql.INT4MULTIRANGE(), nullable=False),
        sa.CheckConstraint("assigned + pending + approved <= target", name=op.f("ck_tasks_never_over_target")),
        sa.CheckConstraint(
            "assigned >= 0 AND pending >= 0 AND approved >= 0", name=op.f("ck_tasks_counts_not_negative")
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_tasks_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
    )
    op.create_index(op.f("ix_tasks_job_id"), "tasks", ["job_id"], unique=False)
    op.create_table(
        "assignments",
        sa.Column("task_id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("worker_id", sa.Uuid(), nullable=False),
        sa.Column("slot", sa.BigInteger(), nullable=False),
        sa.Column("newcomer", sa.Boolean(), nullable=False),
        sa.Column("position", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('approved', 'expired', 'handed_back', 'rejected') OR due_at IS NOT NULL",
            name=op.f("ck_assignments_state_has_deadline"),
        ),
        sa.CheckConstraint(
            "state IN ('claimed', 'submitted', 'approved', 'rejected', 'expired', 'handed_back')",
            name=op.f("ck_assignments_state_known"),
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_assignments_job_id")),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_assignments_task_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assignments")),
    )
    op.create_index(
        op.f("ix_assignments_due_at"),
        "assignments",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("state NOT IN ('approved', 'expired', 'handed_back', 'rejected')"),
    )
    op.create_index(op.f("ix_assignments_job_id_worker_id"), "assignments", ["job_id", "worker_id"], unique=False)
    op.create_index(op.f("ix_assignments_worker_id_id"), "assignments", ["worker_id", "id"], unique=False)
    op.create_index(
        "ix_assignments_worker_open",
        "assignments",
        ["worker_id"],
        unique=False,
        postgresql_where=sa.text("state = 'claimed'"),
    )
    op.create_index(
        "uq_assignments_slot_held",
        "assignments",
        ["task_id", "slot"],
        unique=True,
        postgresql_where=sa.text("state IN ('approved', 'claimed', 'submitted')"),
    )
    op.create_table(
        "submissions",
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("assignment_id", sa.Uuid(), nullable=False),
        sa.Column("task_id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("worker_id", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("buyer_cents", sa.BigInteger(), nullable=False),
        sa.Column("worker_cents", sa.BigInteger(), nullable=False),
        sa.Column("fee_cents", sa.BigInteger(), nullable=False),
        sa.Column("trust", sa.Text(), nullable=False),
        sa.Column("position", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("region", sa.Text(), nullable=True),
        sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("stars", sa.BigInteger(), nullable=True),
        sa.Column("reason", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('approved', 'rejected') OR due_at IS NOT NULL", name=op.f("ck_submissions_state_has_deadline")
        ),
        sa.CheckConstraint(
            "state IN ('pending', 'in_review', 'approved', 'rejected')", name=op.f("ck_submissions_state_known")
        ),
        sa.ForeignKeyConstraint(["assignment_id"], ["assignments.id"], name=op.f("fk_submissions_assignment_id")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_submissions_job_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_submissions")),
        sa.UniqueConstraint("worker_id", "client_id", name=op.f("uq_submissions_worker_id_client_id")),
    )
    op.create_index(
        op.f("ix_submissions_due_at"),
        "submissions",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("state NOT IN ('approved', 'rejected')"),
    )
    op.create_index(op.f("ix_submissions_job_id_id"), "submissions", ["job_id", "id"], unique=False)
    op.create_index(op.f("ix_submissions_organization_id_id"), "submissions", ["organization_id", "id"], unique=False)
    op.create_index(op.f("ix_submissions_worker_id_id"), "submissions", ["worker_id", "id"], unique=False)
    op.create_index(
        "uq_submissions_assignment_live",
        "submissions",
        ["assignment_id"],
        unique=True,
        postgresql_where=sa.text("state IN ('pending', 'in_review', 'approved')"),
    )


def downgrade() -> None:
    op.drop_index(
        "uq_submissions_assignment_live",
        table_name="submissions",
        postgresql_where=sa.text("state IN ('pending', 'in_review', 'approved')"),
    )
    op.drop_index(op.f("ix_submissions_worker_id_id"), table_name="submissions")
    op.drop_index(op.f("ix_submissions_organization_id_id"), table_name="submissions")
    op.drop_index(op.f("ix_submissions_job_id_id"), table_name="submissions")
    op.drop_index(
        op.f("ix_submissions_due_at"),
        table_name="submissions",
        postgresql_where=sa.text("state NOT IN ('approved', 'rejected')"),
    )
    op.drop_table("submissions")
    op.drop_index(
        "uq_assignments_slot_held",
        table_name="assignments",
        postgresql_where=sa.text("state IN ('approved', 'claimed', 'submitted')"),
    )
    op.drop_index("ix_assignments_worker_open", table_name="assignments", postgresql_where=sa.text("state = 'claimed'"))
    op.drop_index(op.f("ix_assignments_worker_id_id"), table_name="assignments")
    op.drop_index(op.f("ix_assignments_job_id_worker_id"), table_name="assignments")
    op.drop_index(
        op.f("ix_assignments_due_at"),
        table_name="assignments",
        postgresql_where=sa.text("state NOT IN ('approved', 'expired', 'handed_back', 'rejected')"),
    )
    op.drop_table("assignments")
    op.drop_index(op.f("ix_tasks_job_id"), table_name="tasks")
    op.drop_table("tasks")
    op.drop_index(op.f("ix_members_email"), table_name="members")
    op.drop_table("members")
    op.drop_index(op.f("ix_jobs_organization_id_id"), table_name="jobs")
    op.drop_index(
        "ix_jobs_open_cells", table_name="jobs", postgresql_using="gin", postgresql_where=sa.text("state = 'open'")
    )
    op.drop_index(
        op.f("ix_jobs_due_at"),
        table_name="jobs",
        postgresql_where=sa.text("state NOT IN ('cancelled', 'completed', 'expired')"),
    )
    op.drop_table("jobs")
    op.drop_table("organizations")
    op.drop_table("boundaries")

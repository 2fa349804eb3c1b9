"""Media, uploads and device keys."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004_ingest"
down_revision = "0003_payouts"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "challenges",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("worker_id", sa.Uuid(), nullable=False),
        sa.Column("assignment_id", sa.Uuid(), nullable=False),
        sa.Column("nonce", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_challenges")),
    )
    op.create_index(op.f("ix_challenges_expires_at"), "challenges", ["expires_at"], unique=False)
    op.create_table(
        "device_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("worker_id", sa.Uuid(), nullable=False),
        sa.Column("install_id", sa.Text(), nullable=False),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("counter", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_device_keys")),
        sa.UniqueConstraint("public_key", name=op.f("uq_device_keys_public_key")),
    )
    op.create_index(
        op.f("ix_device_keys_worker_id_install_id"), "device_keys", ["worker_id", "install_id"], unique=False
    )
    op.create_table(
        "media",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("submission_id", sa.Uuid(), nullable=False),
        sa.Column("assignment_id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("worker_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("copy_key", sa.Text(), nullable=True),
        sa.Column("copy_sha256", sa.LargeBinary(), nullable=True),
        sa.Column("facts", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("broken", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("pdq", sa.LargeBinary(), nullable=True),
        sa.Column("pdq_quality", sa.BigInteger(), nullable=True),
        sa.Column("phash", sa.BigInteger(), nullable=True),
        sa.Column("grey_key", sa.Text(), nullable=True),
        sa.Column("nominated", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("neighbours", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("counts", sa.Boolean(), nullable=False),
        sa.Column("test", sa.Boolean(), nullable=False),
        sa.Column("inspected_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("(facts IS NULL) <> (broken IS NULL)", name=op.f("ck_media_facts_or_broken")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_media")),
        sa.UniqueConstraint("seq", name=op.f("uq_media_seq")),
    )
    op.create_index(op.f("ix_media_job_id_worker_id"), "media", ["job_id", "worker_id"], unique=False)
    op.create_index("ix_media_seq_hashed", "media", ["seq"], unique=False, postgresql_where=sa.text("pdq IS NOT NULL"))
    op.create_index(op.f("ix_media_sha256"), "media", ["sha256"], unique=False)
    op.create_index(op.f("ix_media_submission_id"), "media", ["submission_id"], unique=False)
    op.create_table(
        "uploads",
        sa.Column("worker_id", sa.Uuid(), nullable=False),
        sa.Column("assignment_id", sa.Uuid(), nullable=False),
        sa.Column("submission_id", sa.Uuid(), nullable=True),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("captured_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('begun', 'submitted', 'expired')", name=op.f("ck_uploads_state_known")),
        sa.CheckConstraint(
            "state IN ('expired', 'submitted') OR due_at IS NOT NULL", name=op.f("ck_uploads_state_has_deadline")
        ),
        sa.CheckConstraint("octet_length(sha256) = 32", name=op.f("ck_uploads_sha256_length")),
        sa.CheckConstraint("size > 0", name=op.f("ck_uploads_size_positive")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_uploads")),
        sa.UniqueConstraint("key", name=op.f("uq_uploads_key")),
    )
    op.create_index(op.f("ix_uploads_assignment_id"), "uploads", ["assignment_id"], unique=False)
    op.create_index(
        op.f("ix_uploads_due_at"),
        "uploads",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("state NOT IN ('expired', 'submitted')"),
    )
    op.create_index(
        "ix_uploads_open", "uploads", ["worker_id"], unique=False, postgresql_where=sa.text("state = 'begun'")
    )
    op.create_index(op.f("ix_uploads_submission_id"), "uploads", ["submission_id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_uploads_submission_id"), table_name="uploads")
    op.drop_index("ix_uploads_open", table_name="uploads", postgresql_where=sa.text("state = 'begun'"))
    op.drop_index(
        op.f("ix_uploads_due_at"),
        table_name="uploads",
        postgresql_where=sa.text("state NOT IN ('expired', 'submitted')"),
    )
    op.drop_index(op.f("ix_uploads_assignment_id"), table_name="uploads")
    op.drop_table("uploads")
    op.drop_index(op.f("ix_media_submission_id"), table_name="media")
    op.drop_index(op.f("ix_media_sha256"), table_name="media")
    op.drop_index("ix_media_seq_hashed", table_name="media", postgresql_where=sa.text("pdq IS NOT NULL"))
    op.drop_index(op.f("ix_media_job_id_worker_id"), table_name="media")
    op.drop_table("media")
    op.drop_index(op.f("ix_device_keys_worker_id_install_id"), table_name="device_keys")
    op.drop_table("device_keys")
    op.drop_index(op.f("ix_challenges_expires_at"), table_name="challenges")
    op.drop_table("challenges")

"""Tables of jobs"""

revision = "0005_jobs"
down_revision = "0004_ingest"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass

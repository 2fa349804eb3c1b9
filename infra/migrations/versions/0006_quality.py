"""Tables of quality"""

revision = "0006_quality"
down_revision = "0005_jobs"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass

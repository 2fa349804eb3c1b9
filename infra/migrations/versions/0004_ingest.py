"""Tables of ingest"""

revision = "0004_ingest"
down_revision = "0003_payouts"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass

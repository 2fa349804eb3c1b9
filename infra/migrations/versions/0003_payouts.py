"""Tables of payouts"""

revision = "0003_payouts"
down_revision = "0002_tiering"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass

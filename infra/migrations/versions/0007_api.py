"""Tables of api"""

revision = "0007_api"
down_revision = "0006_quality"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass

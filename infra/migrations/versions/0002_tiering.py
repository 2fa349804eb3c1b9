"""Tables of tiering"""

revision = "0002_tiering"
down_revision = "0001_infra"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass

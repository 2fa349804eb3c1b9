"""
Schema migrations (Alembic). One straight line of revisions, one file per package in the order of the house.

Every run takes a PostgreSQL advisory lock first, so that several processes starting at once migrate once.
"""

from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import MetaData, create_engine, pool, text

LOCK = 0x466F6F74  # "Foot"


def config(url: str, metadata: MetaData | None = None) -> Config:
    """Alembic's configuration; `metadata` is only needed to write a new revision or to compare models and schema."""
    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent))
    made.attributes["url"] = url
    made.attributes["metadata"] = metadata
    return made


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the schema up to a revision, one process at a time."""
    _locked(url, lambda made: command.upgrade(made, revision))


def downgrade(url: str, revision: str = "base") -> None:
    """Take the schema down to a revision."""
    _locked(url, lambda made: command.downgrade(made, revision))


def _locked(url: str, act: Callable[[Config], None]) -> None:
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": LOCK})
        connection.commit()
        try:
            made = config(url)
            made.attributes["connection"] = connection
            act(made)
        finally:
            connection.rollback()
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": LOCK})
            connection.commit()
    engine.dispose()

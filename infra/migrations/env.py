"""Alembic's entry: run the revisions on the connection that `infra.migrations` holds its lock on."""

from alembic import context
from sqlalchemy import Connection, create_engine, pool

config = context.config


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=config.attributes.get("metadata"),
        compare_type=True,
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()


held: Connection | None = config.attributes.get("connection")
if held is not None:
    run(held)
else:
    with create_engine(config.attributes["url"], poolclass=pool.NullPool).connect() as fresh:
        run(fresh)

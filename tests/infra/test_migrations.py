"""The schema: one line of revisions that makes exactly what the models say, and goes back."""

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text

from infra import migrations
from infra.db import Base

ROOT = Path(__file__).parents[2]
PACKAGES = ("api", "quality", "jobs", "ingest", "payouts", "tiering")
# What the models can express: constraint triggers and functions stand in the migrations alone.
CATALOG = {
    "columns": """
        SELECT table_name, column_name, data_type, is_nullable, column_default, is_generated, generation_expression
        FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'alembic_version'""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
        FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace AND contype <> 't' AND conrelid <> 0
          AND conrelid::regclass::text <> 'alembic_version'""",
    "indexes": """
        SELECT tablename, indexname, indexdef FROM pg_indexes
        WHERE schemaname = 'public' AND tablename <> 'alembic_version'""",
}


def import_all_models() -> None:
    importlib.import_module("infra.outbox")
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("models.py")):
            importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))


def catalog(connection: Connection) -> dict[str, set[tuple[Any, ...]]]:
    return {what: {tuple(row) for row in connection.execute(text(query))} for what, query in CATALOG.items()}


def relations(connection: Connection) -> list[str]:
    return list(
        connection.scalars(
            text(
                "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
                "AND relname NOT LIKE 'alembic_version%' ORDER BY 1"
            )
        )
    )


def functions(connection: Connection) -> list[str]:
    """Functions of ours, not those that an extension brought."""
    return list(
        connection.scalars(
            text(
                "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND NOT EXISTS "
                "(SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e') ORDER BY 1"
            )
        )
    )


def test_there_is_one_head_and_one_base() -> None:
    script = ScriptDirectory.from_config(migrations.config("unused"))
    assert len(script.get_heads()) == 1
    assert len(script.get_bases()) == 1


def test_upgraded_schema_is_what_the_models_say(blank_database: str) -> None:
    import_all_models()
    migrations.upgrade(blank_database)
    engine = create_engine(blank_database)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True, "target_metadata": Base.metadata}
        )
        assert compare_metadata(context, Base.metadata) == []
        migrated = catalog(connection)
    engine.dispose()

    # Alembic does not compare CHECKs, partial indexes or ON DELETE; the catalog of a schema made from the models does.
    migrations.downgrade(blank_database)
    engine = create_engine(blank_database)
    with engine.begin() as connection:
        Base.metadata.create_all(connection)
        modelled = catalog(connection)
    engine.dispose()
    for what, rows in modelled.items():
        assert migrated[what] - rows == set(), f"{what} only in the migrations"
        assert rows - migrated[what] == set(), f"{what} only in the models"


def test_down_leaves_nothing_and_up_works_again(blank_database: str) -> None:
    engine = create_engine(blank_database)
    migrations.upgrade(blank_database)
    with engine.connect() as connection:
        once = catalog(connection)
    assert once["columns"]

    migrations.downgrade(blank_database)
    with engine.connect() as connection:
        assert relations(connection) == []
        assert functions(connection) == []

    migrations.upgrade(blank_database)
    with engine.connect() as connection:
        assert catalog(connection) == once
    engine.dispose()


def test_two_processes_that_upgrade_at_once_migrate_once(blank_database: str) -> None:
    program = "import sys; from infra import migrations; migrations.upgrade(sys.argv[1])"
    racers = [
        subprocess.Popen([sys.executable, "-c", program, blank_database], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for racer in racers:
        _, errors = racer.communicate(timeout=120)
        assert racer.returncode == 0, errors
    engine = create_engine(blank_database)
    with engine.connect() as connection:
        [head] = ScriptDirectory.from_config(migrations.config("unused")).get_heads()
        assert connection.scalars(text("SELECT version_num FROM alembic_version")).all() == [head]
        assert "events" in relations(connection)
    engine.dispose()

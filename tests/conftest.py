"""
The real PostgreSQL, Valkey and SeaweedFS for every test that asks for them.

They are started once per run, by whoever needs them first, in a process of their own that ends with the run. Each test
process (one, or several with `-n`) gets its own database made from a migrated template, its own Redis database and its
own bucket. Tests that stop, kill or wipe a service start one of their own (`lone_redis`), never the shared one.
"""

import contextlib
import fcntl
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TextIO

import hypothesis
import psycopg
import pytest
import redis
from sqlalchemy.orm import Session

from infra import blobs, clock, db, migrations, queue
from infra.embedded import Services, Supervisor, start
from infra.embedded.child import is_locked
from infra.settings import Settings, settings

ROOT = Path(__file__).parent.parent
RUN_FOLDER = "TEST_RUN_FOLDER"
RUNNING = pytest.StashKey[TextIO]()
# What tests see that ask for no service: enough for the numbers in the settings, and nobody answers.
NOWHERE = Services(
    postgres_url="postgresql+psycopg://nobody@127.0.0.1:1/nowhere",
    redis_url="redis://127.0.0.1:1/0",
    s3_endpoint="http://127.0.0.1:1",
    s3_access_key="nobody",
    s3_secret_key="nobody",
    s3_bucket="nowhere",
)

hypothesis.settings.register_profile("footwork", deadline=None)  # a busy machine is not a failure
hypothesis.settings.load_profile("footwork")


def pytest_configure(config: pytest.Config) -> None:
    for name in [name for name in os.environ if name.startswith("FOOTWORK_")]:
        del os.environ[name]
    Settings.model_config["env_file"] = None  # the developer's .env is not the tests'
    if not hasattr(config, "workerinput"):
        run = Path(tempfile.mkdtemp(prefix="footwork-tests-"))
        run.chmod(0o755)  # PostgreSQL may have to run as another user
        config.stash[RUNNING] = _locked(run / "running")
        os.environ[RUN_FOLDER] = str(run)
    os.environ["FOOTWORK_ENV"] = "test"
    os.environ["FOOTWORK_DATA_FOLDER"] = str(_run() / _worker(config))
    point_at(NOWHERE)


def pytest_unconfigure(config: pytest.Config) -> None:
    if RUNNING in config.stash:
        config.stash[RUNNING].close()  # the services end with it
        last = time.monotonic() + 15
        while _processes_left() and time.monotonic() < last:
            time.sleep(0.05)
        shutil.rmtree(_run(), ignore_errors=True)


@pytest.fixture(scope="session")
def services(request: pytest.FixtureRequest) -> Iterator[Services]:
    """The shared services as this test process uses them. The settings lead there. Its database may not exist yet."""
    worker = _worker(request.config)
    number = int(worker.removeprefix("gw"))
    shared = _shared_services()
    mine = replace(
        shared,
        postgres_url=_renamed(shared.postgres_url, f"test_{worker}"),
        redis_url=shared.redis_url.removesuffix("/0") + f"/{number}",
        s3_bucket=f"test-{worker}",
    )
    point_at(mine)
    blobs.ensure_bucket()
    yield mine
    point_at(NOWHERE)


@pytest.fixture(scope="session")
def database(services: Services) -> str:
    """This test process's migrated database, emptied before each test that asks for it. Gives its URL."""
    with _one_at_a_time():
        _migrate_template(_renamed(services.postgres_url, "template_footwork"))
        _create_database(services.postgres_url, template="template_footwork")
    return services.postgres_url


@pytest.fixture
def blank_database(services: Services) -> Iterator[str]:
    """The URL of a database without any table, for tests of migrations."""
    url = services.postgres_url + "_blank"
    _create_database(url)
    yield url
    _drop_database(url)


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    """A session in a transaction that is rolled back in the end. Deferred constraints are therefore not checked."""
    with contextlib.suppress(_RollBack), db.transaction() as session:
        yield session
        raise _RollBack


@pytest.fixture(autouse=True)
def clean(request: pytest.FixtureRequest) -> Iterator[None]:
    """Start from nothing: no rows, no keys in Redis, the clock right."""
    if "database" in request.fixturenames:
        _empty(request.getfixturevalue("database"))
    if "services" in request.fixturenames:
        with redis.Redis.from_url(request.getfixturevalue("services").redis_url) as client:
            client.flushdb()
    yield
    clock.shift(timedelta())


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Change settings for one test: `configure(daily_cap=1)`. Processes it starts see them too."""

    def change(**values: Any) -> None:
        for name, value in values.items():
            monkeypatch.setenv(
                f"FOOTWORK_{name.upper()}", value if isinstance(value, str) else json.dumps(value, default=str)
            )
        settings.cache_clear()

    yield change
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture
def lone_redis(services: Services, tmp_path: Path) -> Iterator[Supervisor]:
    """
    A Valkey of this test's own, which the settings lead to until it ends:

    `lone_redis.stop_part("redis")`, `.kill_part("redis")`, `.start_part("redis", wipe=True)`.
    """
    with start(tmp_path / "redis", only=["redis"]) as supervisor:
        point_at(replace(services, redis_url=supervisor.services.redis_url))
        yield supervisor
    point_at(services)


def point_at(services: Services) -> None:
    """Lead the settings of this process, and of those it starts, to these services."""
    os.environ |= services.as_environment()
    settings.cache_clear()
    queue.connection.cache_clear()
    queue._silent_until = 0.0


_processes: list[subprocess.Popen[str]] = []


class _RollBack(Exception):
    """Ends the transaction of the `session` fixture."""


def _run() -> Path:
    return Path(os.environ[RUN_FOLDER])


def _worker(config: pytest.Config) -> str:
    """`gw0`, `gw1`, ... as pytest-xdist counts them."""
    return str(getattr(config, "workerinput", {}).get("workerid", "gw0"))


def _shared_services() -> Services:
    """Start them, unless another test process of this run did."""
    known = _run() / "services.json"
    with _one_at_a_time():
        if not known.exists():
            known.write_text(json.dumps(_start_services()))
    return Services.from_environment(json.loads(known.read_text()))


def _start_services() -> dict[str, str]:
    """In a process of their own, because with `-n` the one that starts them may end before the others."""
    log = _run() / "services.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "infra.embedded",
                _run() / "services",
                "--while-locked",
                _run() / "running",
                "--temporary",
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,  # Ctrl-C is for the tests; they still need the services to come to an end
        )
    _processes.append(process)
    assert process.stdout is not None
    environment: dict[str, str] = {}
    for line in process.stdout:
        if line == "ready\n":
            return environment
        name, _, value = line.rstrip().partition("=")
        environment[name] = shlex.split(value)[0]
    raise RuntimeError(f"The services did not start:\n{log.read_text()}")


def _migrate_template(url: str) -> None:
    if _create_database(url):
        try:
            migrations.upgrade(url)
        except BaseException:
            _drop_database(url)  # or the next test process would take half a schema for the whole
            raise


def _create_database(url: str, *, template: str | None = None) -> bool:
    """Whether it was made; False when it was there already."""
    name = _name(url)
    with _administrator(url) as connection:
        if connection.execute("select 1 from pg_database where datname = %s", [name]).fetchone():
            return False
        connection.execute(f'create database "{name}"' + (f' template "{template}"' if template else ""))
    return True


def _drop_database(url: str) -> None:
    with _administrator(url) as connection:
        connection.execute(f'drop database "{_name(url)}" with (force)')


def _administrator(url: str) -> "closing[psycopg.Connection[Any]]":
    """Connected to another database of the same server."""
    return closing(psycopg.connect(_plain(_renamed(url, "postgres")), autocommit=True))


def _plain(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://")


def _name(url: str) -> str:
    return url.rpartition("/")[2]


def _renamed(url: str, name: str) -> str:
    return url.removesuffix(_name(url)) + name


def _processes_left() -> bool:
    folder = _run() / "services"
    return folder.exists() and is_locked(folder / "lock")


def _locked(path: Path) -> TextIO:
    """Open and locked until it is closed."""
    file = path.open("w")
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Among the test processes of this run."""
    with _locked(_run() / "turn"):
        yield


def _empty(url: str) -> None:
    """Delete all rows, in well under the time of a TRUNCATE. As `replica` no trigger forbids it and no order matters."""
    with closing(
        psycopg.connect(_plain(url), options="-c session_replication_role=replica -c lock_timeout=5s")
    ) as connection:
        tables = connection.execute(
            "select quote_ident(tablename) from pg_tables where schemaname = 'public' and tablename <> 'alembic_version'"
        ).fetchall()
        connection.execute("".join(f"delete from {table};" for (table,) in tables))
        connection.commit()

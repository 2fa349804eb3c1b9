"""The program as it is typed: what it refuses, and that it says so in one line."""

import sys
from collections.abc import Callable
from typing import Any

import pytest
import uvicorn
from sqlalchemy import inspect

from api import cli
from infra import db
from infra.settings import DEVELOPMENT_SECRET

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`run("migrate", "base")` gives the exit code and what it said on both outputs."""

    def act(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["footwork", *words])
        monkeypatch.setattr(cli, "_begin", lambda: None)  # logs and wiring are the tests' own
        capsys.readouterr()
        try:
            cli.main()
        except SystemExit as ended:
            said = capsys.readouterr()
            return int(ended.code or 0), said.out + said.err
        raise AssertionError("click ends every command with SystemExit")

    return act


def is_one_line(said: str) -> bool:
    return said.startswith("✗ ") and said.count("\n") == 1


class TestMigrate:
    """The command that can delete everything."""

    @pytest.mark.parametrize("words", [[], ["--yes-delete-everything"]], ids=["bare", "yes"])
    def test_base_is_refused_in_production(
        self, run: Run, blank_database: str, configure: Callable[..., None], words: list[str]
    ) -> None:
        configure(database_url=blank_database)
        assert run("migrate")[0] == 0
        configure(
            env="production",
            secret_key="x" * 32,
            sandbox_topup=False,
            cashout_rail="none",
            smtp_url="smtp://mail.example.com",
        )
        code, said = run("migrate", "base", *words)
        assert code == 1
        assert "production" in said
        assert is_one_line(said)
        assert tables() > 20

    def test_base_asks_for_the_word(self, run: Run, blank_database: str, configure: Callable[..., None]) -> None:
        configure(database_url=blank_database)
        assert run("migrate")[0] == 0
        code, said = run("migrate", "base")
        assert code == 1
        assert "--yes-delete-everything" in said
        assert is_one_line(said)
        assert tables() > 20
        assert run("migrate", "base", "--yes-delete-everything")[0] == 0
        assert tables() <= 1  # alembic's own

    def test_an_unknown_revision_is_one_line(
        self, run: Run, blank_database: str, configure: Callable[..., None]
    ) -> None:
        configure(database_url=blank_database)
        code, said = run("migrate", "nonsense")
        assert code == 1
        assert "'nonsense'" in said
        assert is_one_line(said)


def tables() -> int:
    count = len(inspect(db.engine()).get_table_names())
    db.engine().dispose()
    return count


@pytest.mark.parametrize("words", [["check"], ["migrate"], ["retry"], ["org", "add", "Acme"]], ids=" ".join)
def test_a_database_that_is_away_is_one_line(run: Run, words: list[str]) -> None:
    code, said = run(*words)
    assert code == 1
    assert "FOOTWORK_DATABASE_URL" in said
    assert is_one_line(said)


def test_a_database_without_tables_is_one_line(run: Run, blank_database: str, configure: Callable[..., None]) -> None:
    configure(database_url=blank_database)
    code, said = run("check")
    db.engine().dispose()
    assert code == 1
    assert "footwork migrate" in said
    assert is_one_line(said)


def test_a_bug_keeps_its_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from api import checks

    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(checks, "violations", fail)
    with pytest.raises(ZeroDivisionError):
        run("check")


class TestServe:
    """To whom it listens."""

    @pytest.fixture
    def served(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        """What uvicorn is started with."""
        given: dict[str, Any] = {}
        monkeypatch.setattr(uvicorn, "run", lambda app, **options: given.update(options))
        return given

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.org"])
    def test_the_development_key_is_not_for_others(
        self, run: Run, served: dict[str, Any], configure: Callable[..., None], host: str
    ) -> None:
        configure(env="development", secret_key=DEVELOPMENT_SECRET)
        code, said = run("serve", "--host", host)
        assert code == 1
        assert "FOOTWORK_SECRET_KEY" in said
        assert is_one_line(said)
        assert served == {}

    @pytest.mark.parametrize(
        ("host", "key"),
        [
            ("127.0.0.1", DEVELOPMENT_SECRET),
            ("::1", DEVELOPMENT_SECRET),
            ("localhost", DEVELOPMENT_SECRET),
            ("0.0.0.0", "x" * 32),
        ],
    )
    def test_it_listens_where_nothing_is_lost(
        self, run: Run, served: dict[str, Any], configure: Callable[..., None], host: str, key: str
    ) -> None:
        configure(env="development", secret_key=key)
        assert run("serve", "--host", host)[0] == 0
        assert served["host"] == host

    def test_it_believes_the_proxies_it_was_told_of(
        self, run: Run, served: dict[str, Any], configure: Callable[..., None]
    ) -> None:
        configure(trusted_proxies="127.0.0.1,10.1.0.0/16")
        assert run("serve")[0] == 0
        assert served["forwarded_allow_ips"] == "127.0.0.1,10.1.0.0/16"
        assert served["proxy_headers"] is True

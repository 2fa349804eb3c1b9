"""The program as it is typed: what it refuses, and that it says so in one line."""

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest
import typer
import uvicorn
from sqlalchemy import inspect

from api import cli
from api.auth import keys, staff
from infra import clock, db, ids
from infra.settings import DEVELOPMENT_SECRET

AWAY = "postgresql+psycopg://nobody@127.0.0.1:1/nowhere"
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
def test_a_database_that_is_away_is_one_line(run: Run, configure: Callable[..., None], words: list[str]) -> None:
    configure(database_url=AWAY)
    code, said = run(*words)
    assert code == 1
    assert "FOOTWORK_DATABASE_URL" in said
    assert is_one_line(said)


def test_nothing_else_is_said_in_a_process_of_its_own(configure: Callable[..., None]) -> None:
    configure(database_url=AWAY)
    ended = subprocess.run([sys.executable, "-m", "api", "check"], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert is_one_line(ended.stderr), ended.stderr


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


class TestStaff:
    """People come, lose their phones and go."""

    ANA = "ana@example.org"
    PASSWORD = "correct horse battery"

    def sign_in(self, uri: str, password: str = PASSWORD) -> str | None:
        """The session's token."""
        with db.transaction() as session:
            attempt = staff.begin_try(session, email=self.ANA, now=clock.now())
        if not staff.fits(attempt, password):
            return None
        code = pyotp.TOTP(parse_qs(urlsplit(uri).query)["secret"][0]).at(clock.now())
        with db.transaction() as session:
            opened = staff.open(session, attempt, totp=code, now=clock.now())
        return opened[0] if opened else None

    def add(self, run: Run) -> str:
        code, said = run("staff", "add", self.ANA.upper(), "--role", "operator", "--password", self.PASSWORD)
        assert code == 0, said
        return said.splitlines()[-1]

    def is_signed_in(self, token: str) -> bool:
        with db.transaction() as session:
            try:
                return staff.current(session, token, now=clock.now())[1].role == "operator"
            except staff.BadStaffSession:
                return False

    def test_who_is_disabled_is_out_and_stays_out(self, run: Run, database: str) -> None:
        uri = self.add(run)
        token = self.sign_in(uri)
        assert token is not None
        assert self.is_signed_in(token)
        assert run("staff", "disable", self.ANA)[0] == 0
        assert not self.is_signed_in(token)
        clock.shift(timedelta(minutes=2))  # a code counts once
        assert self.sign_in(uri) is None

    def test_a_reset_changes_everything_and_ends_the_rest(self, run: Run, database: str) -> None:
        old = self.add(run)
        token = self.sign_in(old)
        assert token is not None
        for _ in range(staff.TRIES):
            assert self.sign_in(old, "wrong wrong wrong") is None
        code, said = run("staff", "reset", self.ANA, "--password", "another horse entirely")
        assert code == 0
        new = said.splitlines()[-1]
        assert not self.is_signed_in(token)
        assert self.sign_in(old, "another horse entirely") is None, "the lost phone opens nothing"
        assert self.sign_in(new) is None, "nor does the old password"
        assert self.sign_in(new, "another horse entirely") is not None

    @pytest.mark.parametrize("words", [["disable"], ["reset", "--password", PASSWORD]], ids=" ".join)
    def test_nobody_is_one_line(self, run: Run, database: str, words: list[str]) -> None:
        code, said = run("staff", words[0], "nobody@example.org", *words[1:])
        assert code == 1
        assert "nobody@example.org" in said
        assert is_one_line(said)

    def test_an_unknown_role_is_refused_before_the_password_is_asked_for(self, run: Run) -> None:
        code, said = run("staff", "add", self.ANA, "--role", "boss")
        assert code == 2
        assert all(role in said for role in staff.ROLES)
        assert "Password" not in said


@pytest.mark.parametrize(
    "words", [["staff", "add", "ana", "--password", "x" * 12], ["org", "add", "Acme", "--member", "ana@"]], ids=" ".join
)
def test_an_address_that_is_none_is_refused(run: Run, database: str, words: list[str]) -> None:
    code, said = run(*words)
    assert code == 2
    assert "ana" in said


def test_a_key_lives_until_it_is_revoked(run: Run, database: str) -> None:
    organization = run("org", "add", "Acme", "--member", "buyer@example.org")[1].splitlines()[0]
    code, said = run("key", "add", organization, "--name", "nightly", "--scope", "jobs:read")
    assert code == 0
    shown, secret = said.splitlines()
    with db.transaction() as session:
        found = keys.find(session, secret, now=clock.now())
        assert (ids.show("key", found.id), found.scopes, found.name) == (shown, ["jobs:read"], "nightly")
    assert run("key", "revoke", shown)[0] == 0
    with db.transaction() as session, pytest.raises(keys.BadApiKey):
        keys.find(session, secret, now=clock.now())


@pytest.mark.parametrize(
    "words",
    [
        ["key", "revoke", "key_nonsense"],
        ["key", "revoke", ids.show("key", ids.new())],
        ["key", "add", ids.show("org", ids.new()), "--name", "x"],
    ],
    ids=["no id", "no key", "no organization"],
)
def test_a_key_of_nobody_is_one_line(run: Run, database: str, words: list[str]) -> None:
    code, said = run(*words)
    assert code == 1
    assert is_one_line(said)


def test_a_data_folder_that_cannot_be_is_one_line(run: Run) -> None:
    code, said = run("up", "--data", "/proc/x", "--port", str(_free_port()))
    assert code == 1
    assert "/proc/x: No such file" in said
    assert is_one_line(said)


def test_every_command_says_what_it_reads_how_it_ends_and_an_example() -> None:
    def commands(group: Any) -> Iterator[Any]:
        for command in group.commands.values():
            yield from commands(command) if hasattr(command, "commands") else [command]

    told = list(commands(typer.main.get_command(cli.app)))
    assert len(told) > 15
    for command in told:
        assert command.help, command.name
        assert all(word in command.epilog for word in ("Reads ", "Exit codes", "Example: `footwork ")), command.name


def _free_port() -> int:
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return int(tried.getsockname()[1])

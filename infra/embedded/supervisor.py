"""The built-in services of one data folder, started, watched and stopped together."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from infra.embedded.child import CannotStart
from infra.embedded.folder import Folder
from infra.embedded.parts import Part
from infra.embedded.postgres import Postgres
from infra.embedded.seaweed import Seaweed
from infra.embedded.valkey import Valkey

# In the order of launching, longest start first: PostgreSQL's first start is waited for while the others come up.
PARTS: dict[str, type[Part]] = {part.name: part for part in (Seaweed, Valkey, Postgres)}

VARIABLES = {
    "postgres_url": "FOOTWORK_DATABASE_URL",
    "redis_url": "FOOTWORK_REDIS_URL",
    "s3_endpoint": "FOOTWORK_S3_ENDPOINT",
    "s3_access_key": "FOOTWORK_S3_ACCESS_KEY",
    "s3_secret_key": "FOOTWORK_S3_SECRET_KEY",
    "s3_bucket": "FOOTWORK_S3_BUCKET",
}


@dataclass(frozen=True)
class Services:
    """Where the parts are. Empty for those that were not asked for."""

    postgres_url: str = ""
    redis_url: str = ""
    s3_endpoint: str = ""
    s3_access_key: str = ""
    s3_secret_key: str = ""
    s3_bucket: str = ""

    def as_environment(self) -> dict[str, str]:
        """As Footwork's settings."""
        return {VARIABLES[name]: value for name, value in asdict(self).items() if value}

    @classmethod
    def from_environment(cls, values: Mapping[str, str]) -> Self:
        return cls(**{name: values.get(variable, "") for name, variable in VARIABLES.items()})


class Supervisor:
    """
    Holds the data folder and the processes. Leave the `with` block, or call `stop`, to end them all.

    Ports never change while it lives, so `services` stays true through restarts of parts.
    """

    def __init__(self, folder: Folder, parts: list[Part], report: Callable[[str], None]) -> None:
        self._folder = folder
        self._parts = {part.name: part for part in parts}
        self._report = report
        addresses: dict[str, str] = {}
        for part in parts:
            addresses |= part.addresses()
        self.services = Services(**addresses)

    def poll(self) -> list[str]:
        """
        Restart every part that died, with its data and on its port. Returns their names. Call it about once a second.

        :raises CannotStart: one does not come up again
        """
        dead = [part for part in self._parts.values() if part.wanted and not part.child.alive]
        for part in dead:
            self._report(f"{part.title} ended (exit code {part.child.exit_code}), starting it again")
        self._bring_up(dead)
        return [part.name for part in dead]

    def stop(self) -> None:
        for part in self._parts.values():
            part.stop()
        self._folder.release()

    def pid(self, name: str) -> int | None:
        """The process of one part, None when it does not run."""
        child = self._parts[name].child
        return child.pid if child.alive else None

    def stop_part(self, name: str) -> None:
        """Stop one part in good order; `poll` leaves it alone then."""
        self._parts[name].stop()

    def start_part(self, name: str, *, wipe: bool = False) -> None:
        """
        Start a stopped or killed part again.

        :param wipe: without its data
        """
        part = self._parts[name]
        part.stop()
        if wipe:
            part.wipe()
        self._bring_up([part])

    def kill_part(self, name: str) -> None:
        """SIGKILL, without a word; `poll` brings it back."""
        self._parts[name].child.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _bring_up(self, parts: Iterable[Part]) -> None:
        began = time.monotonic()
        for part in parts:
            part.launch()
        for part in parts:
            part.await_ready()
            self._report(f"{part.title} on 127.0.0.1:{part.port()} after {time.monotonic() - began:.1f} s")


def start(
    data: Path,
    *,
    only: Iterable[str] = tuple(PARTS),
    report: Callable[[str], None] = lambda _: None,
    fresh: bool = False,
) -> Supervisor:
    """
    Start the services of a data folder, with the data they had. Call it from a thread that lives as long as they shall.

    :param only: names out of `PARTS`
    :param fresh: forget the data they had
    :param report: gets a line of progress at a time
    :raises AlreadyRunning: another process holds the folder
    :raises CannotStart: one does not come up; none is left running
    """
    wanted = set(only)
    if unknown := wanted - PARTS.keys():
        raise CannotStart(f"There is no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    folder = Folder(data)
    try:
        supervisor = Supervisor(
            folder,
            [part(folder, report) for name, part in PARTS.items() if name in wanted],
            report,
        )
    except BaseException:
        folder.release()
        raise
    try:
        for part in supervisor._parts.values() if fresh else ():
            part.wipe()
        supervisor._bring_up(supervisor._parts.values())
    except BaseException:  # Ctrl-C too
        supervisor.stop()
        raise
    return supervisor

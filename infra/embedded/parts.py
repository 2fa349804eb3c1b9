"""What PostgreSQL, Valkey and SeaweedFS have in common as parts of an installation."""

import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from infra.embedded.child import CannotStart, Child, Command
from infra.embedded.folder import Folder

READY_SECONDS = 60.0


class Part(ABC):
    """One server: launched, waited for, furnished, stopped. Ports stay the same for as long as this object lives."""

    name: ClassVar[str]
    title: ClassVar[str]

    def __init__(self, folder: Folder, report: Callable[[str], None]) -> None:
        self.folder = folder
        self.report = report
        self.child = Child(self.title, folder.log(self.name), hold=folder.path / f"{self.name}.lock")
        # Its ports are free again only when it is gone.
        self.child.await_predecessor()
        self.wanted = False
        self._ports: dict[str, int] = {}

    @property
    def data(self) -> Path:
        return self.folder.path / self.name

    def launch(self) -> None:
        """Start the process without waiting for it to be ready."""
        self.data.mkdir(mode=0o700, exist_ok=True)
        self.child.start(self.command())
        self.wanted = True

    def await_ready(self) -> None:
        """
        :raises CannotStart: it died, or took more than a minute
        """
        last = time.monotonic() + READY_SECONDS
        while not self.answers():
            if not self.child.alive:
                raise CannotStart(
                    f"{self.title} ended with exit code {self.child.exit_code}. {self.child.last_words()}"
                )
            if time.monotonic() > last:
                raise CannotStart(f"{self.title} is not ready after {READY_SECONDS:.0f} s. {self.child.last_words()}")
            time.sleep(0.02)
        self.furnish()

    def stop(self) -> None:
        self.wanted = False
        self.child.stop()

    def wipe(self) -> None:
        """Forget all data. The part must be stopped."""
        assert not self.child.alive
        shutil.rmtree(self.data, ignore_errors=True)

    def port(self, suffix: str = "", *, and_also: int = 0) -> int:
        name = self.name + suffix
        if name not in self._ports:
            self._ports[name] = self.folder.port(name, and_also=and_also)
        return self._ports[name]

    @abstractmethod
    def command(self) -> Command: ...

    @abstractmethod
    def answers(self) -> bool:
        """Whether it is ready for clients."""

    def furnish(self) -> None:  # noqa: B027 - not every part needs furniture
        """Make what clients expect to find."""

    @abstractmethod
    def addresses(self) -> dict[str, str]:
        """Its share of the fields of `Services`."""


def package_folder(package: str) -> Path:
    """
    Where a package lies, without importing it: importing some of these makes folders and users.

    :raises CannotStart: it is not installed
    """
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise CannotStart(f"{package} is not installed; run `make setup`, or install footwork[embedded]")
    return Path(spec.submodule_search_locations[0])

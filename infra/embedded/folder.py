"""
The data folder of one installation: who holds it, which ports and secrets it uses, where each part keeps its files.

    .data/
        lock            held while a supervisor runs
        ports.json      reused at the next start when still free
        secrets.json    random, mode 0600
        postgres/  redis/  s3/  logs/
"""

import fcntl
import json
import os
import random
import secrets
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

# Below the range from which Linux and macOS take the source ports of outgoing connections (32768 and up): a port
# that is ours at the next start too must not be borrowed by somebody's connection meanwhile. SeaweedFS also uses
# port + 10000 for one of its gRPC servers, which stays below 32768 only from here.
FIRST_PORT, LAST_PORT = 12_000, 22_000


class AlreadyRunning(Exception):
    """Another supervisor holds this data folder."""


class Folder:
    """A data folder held by this process until `release`."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._lock, 32).decode().strip() or "unknown"
            os.close(self._lock)
            raise AlreadyRunning(
                f"the services of {self.path} are already running (process {holder}): use them, stop that process "
                "first, or choose another data folder"
            ) from None
        os.ftruncate(self._lock, 0)
        os.write(self._lock, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def log(self, name: str) -> Path:
        (self.path / "logs").mkdir(exist_ok=True)
        return self.path / "logs" / f"{name}.log"

    def secret(self, name: str) -> str:
        """A random secret, made once and then always the same."""
        known = self._read("secrets.json")
        if name not in known:
            known[name] = secrets.token_hex(20)
            self._write("secrets.json", known, mode=0o600)
        return str(known[name])

    def port(self, name: str, *, and_also: int = 0) -> int:
        """
        A free loopback port, the one of the last start when nobody took it.

        :param and_also: an offset at which the part listens as well, so `port + and_also` must be free too
        """
        known = self._read("ports.json")
        port = known.get(name)
        while not (isinstance(port, int) and _free(port) and (not and_also or _free(port + and_also))):
            # Two starts at the same moment see the same ports as free; they rarely draw the same ones.
            port = random.SystemRandom().randrange(FIRST_PORT, LAST_PORT)
            if port in known.values():
                port = None
        if known.get(name) != port:
            self._write("ports.json", known | {name: port}, mode=0o644)
        return port

    def _read(self, name: str) -> dict[str, object]:
        try:
            found = json.loads((self.path / name).read_text())
        except FileNotFoundError:
            return {}
        assert isinstance(found, dict)
        return found

    def _write(self, name: str, values: dict[str, object], *, mode: int) -> None:
        # Renamed into place: a kill in the middle must not lose the secrets of an existing database.
        fresh = self.path / f"{name}.new"
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
            json.dump(values, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path / name)


def _free(port: int) -> bool:
    with socket.socket() as probe:
        # As the servers do: connections of the last run that linger in TIME_WAIT do not matter.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True

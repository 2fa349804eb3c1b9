"""Several child processes that shall run until we stop: Footwork's own roles under `footwork up`."""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from infra.embedded.child import Child, Command, Output

__all__ = ["Child", "Command", "Group"]

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
SETTLED_SECONDS = 60.0  # who lived this long is restarted without a grudge


class Group:
    """
    Processes started in order, restarted when they die, stopped in reverse order.

    :param report: gets a line about every death and restart
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._members: list[_Member] = []

    def start(self, name: str, command: Command, output: Output) -> Child:
        child = Child(name, output)
        child.start(command)
        self._members.append(_Member(child, command))
        return child

    def poll(self) -> None:
        """Restart who died, at once the first time, later after a growing pause. Call it about twice a second."""
        for member in self._members:
            if member.child.alive:
                continue
            if member.due is None:
                pause = member.mourn()
                then = f"starting it again in {pause:.1f} s" if pause else "starting it again"
                self._report(f"{member.child.name} ended ({_ending(member.child.exit_code)}), {then}")
            if member.due is not None and time.monotonic() >= member.due:
                member.restart()

    def stop(self) -> None:
        for member in reversed(self._members):
            member.child.stop()
        self._members.clear()


@dataclass
class _Member:
    child: Child
    command: Command
    started: float = field(default_factory=time.monotonic)
    due: float | None = None
    pause: float = 0.0

    def mourn(self) -> float:
        """Seconds until the next start."""
        if time.monotonic() - self.started > SETTLED_SECONDS:
            self.pause = 0.0
        now, pause = time.monotonic(), self.pause
        self.due = now + pause
        self.pause = min(max(FIRST_PAUSE, 2 * pause), LONGEST_PAUSE)
        return pause

    def restart(self) -> None:
        self.due = None
        self.started = time.monotonic()
        self.child.start(self.command)


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"

"""
Ends the children of a parent that was killed, where the kernel cannot do it for us (macOS, BSD).

Run as a script by `Watchdog`, with the parent's pipe as standard input: one line `watch PID SIGNAL` or `forget PID 0`
at a time. The pipe closes when the parent is gone, however it went; what is still watched then gets its signal, and
SIGKILL when it has not obeyed after a while. Imports nothing of Footwork: it must start fast and cost little.
"""

import os
import signal
import subprocess
import sys
import time
from functools import cache

PATIENCE_SECONDS = 8.0


class Watchdog:
    """The parent's end of the pipe."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, text=True, start_new_session=True
        )

    def watch(self, pid: int, number: int) -> None:
        self._tell(f"watch {pid} {int(number)}")

    def forget(self, pid: int) -> None:
        self._tell(f"forget {pid} 0")

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()


@cache
def of_this_process() -> Watchdog:
    return Watchdog()


def main() -> None:
    watched: dict[int, int] = {}
    for line in sys.stdin:
        verb, pid, number = line.split()
        if verb == "watch":
            watched[int(pid)] = int(number)
        else:
            watched.pop(int(pid), None)
    end(watched)


def end(watched: dict[int, int]) -> None:
    for pid, number in watched.items():
        _signal(pid, number)
    last = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < last and any(_signal(pid, 0) for pid in watched):
        time.sleep(0.1)
    for pid in watched:
        _signal(pid, signal.SIGKILL)


def _signal(pid: int, number: int) -> bool:
    """Whether the process was there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    main()

"""
A child process: started with its output kept, and ended with us.

A child dies when we do, even by SIGKILL: on Linux by PR_SET_PDEATHSIG, elsewhere through `watchdog.py`. PR_SET_PDEATHSIG
means the *thread* that started the child (prctl(2)), so start children from a thread that lives as long as they shall: the
main one.
"""

import ctypes
import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from infra.embedded import watchdog

PR_SET_PDEATHSIG = 1  # linux/prctl.h
LOG_BYTES = 20 * 1024 * 1024  # a log longer than this is set aside at the next start

_libc = ctypes.CDLL(None, use_errno=True)

Output = Path | Callable[[str], None]


class CannotStart(Exception):
    """A process did not start, or did not become ready; the message says which, why and where its log is."""


@dataclass(frozen=True)
class Command:
    """
    What to run.

    :param environment: on top of ours
    :param user: uid and gid to become (only root may)
    :param stop_signal: what asks it politely to end; also what it gets when we die
    :param stop_seconds: how long it may take before SIGKILL
    """

    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    stdin: str = ""
    user: tuple[int, int] | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 10.0


def is_locked(path: Path) -> bool:
    """Whether a living process keeps that file locked (flock)."""
    lock = _wait_for_lock(path, 0)
    if lock is not None:
        os.close(lock)
    return lock is None


class Child:
    """
    One process at a time under one name.

    :param output: a file to append to, or a function that gets each line (called from a thread)
    :param hold: a file that the process and all its descendants keep locked, so that a successor can wait until the last
        of them is gone, even when an earlier supervisor was killed and left them behind
    """

    def __init__(self, name: str, output: Output, *, hold: Path | None = None) -> None:
        self.name = name
        self._output = output
        self._hold = hold
        self._process: subprocess.Popen[str] | None = None
        self._command: Command | None = None

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def exit_code(self) -> int | None:
        return self._process.poll() if self._process else None

    def start(self, command: Command) -> None:
        """
        :raises CannotStart: the program is not there, or a predecessor does not go away
        """
        assert not self.alive, f"{self.name} is already running"
        held = self._take_hold()
        try:
            self._process = self._popen(command, held)
        except OSError as error:
            raise CannotStart(f"{self.name}: {command.argv[0]}: {os.strerror(error.errno or errno.EIO)}") from None
        finally:
            if held is not None:
                os.close(held)  # the child has its copy; the lock is gone when the last copy is
        self._command = command
        if sys.platform != "linux":
            watchdog.of_this_process().watch(self._process.pid, command.stop_signal)

    def wait(self, seconds: float) -> int:
        """
        The exit code of a process that ends by itself.

        :raises CannotStart: it did not end in time; it was killed
        """
        assert self._process is not None
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise CannotStart(f"{self.name}: no end after {seconds:.0f} s. {self.last_words()}") from None

    def stop(self) -> None:
        """Ask it to end, insist when it does not, and return when the last of its processes is gone."""
        if self._process is None or self._command is None:
            return
        if self.alive:
            self._process.send_signal(self._command.stop_signal)
            try:
                self._process.wait(self._command.stop_seconds)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)  # it leads its own group, so nobody else is hit
                self._process.wait()
        self._gone()
        if self._hold and (held := _wait_for_lock(self._hold, 5.0)) is not None:
            os.close(held)

    def kill(self) -> None:
        """SIGKILL, as the out-of-memory killer would: this process only, without a word."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._gone()

    def last_words(self) -> str:
        """The end of its log, for messages."""
        if not isinstance(self._output, Path) or not self._output.exists():
            return ""
        lines = self._output.read_text(errors="replace").splitlines()[-8:]
        return f"The end of {self._output}:\n  " + "\n  ".join(lines)

    def _gone(self) -> None:
        if sys.platform != "linux" and self._process is not None:
            watchdog.of_this_process().forget(self._process.pid)

    def await_predecessor(self) -> None:
        """
        Wait until nothing is left of what ran under this name before; a killed supervisor's children take some seconds.

        :raises CannotStart: something stays
        """
        held = self._take_hold()
        if held is not None:
            os.close(held)

    def _take_hold(self) -> int | None:
        if self._hold is None:
            return None
        held = _wait_for_lock(self._hold, 15.0)
        if held is None:
            raise CannotStart(
                f"{self.name}: a process of an earlier run does not go away; it keeps {self._hold} locked "
                f"(`fuser {self._hold}` names it)"
            )
        return held

    def _popen(self, command: Command, held: int | None) -> subprocess.Popen[str]:
        parent, number = os.getpid(), int(command.stop_signal)
        uid, gid = command.user or (None, None)
        log = _open_log(self._output) if isinstance(self._output, Path) else None
        try:
            process = subprocess.Popen(
                list(command.argv),
                env=os.environ | dict(command.environment),
                stdin=subprocess.PIPE if command.stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE if log is None else log,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                user=uid,
                group=gid,
                extra_groups=None if gid is None else [],
                pass_fds=() if held is None else (held,),
                start_new_session=True,  # Ctrl-C reaches us alone, and we stop them in order
                # After the change of user, which would clear it.
                preexec_fn=(lambda: die_with(parent, number)) if sys.platform == "linux" else None,
            )
        finally:
            if log is not None:
                os.close(log)
        if process.stdin:
            process.stdin.write(command.stdin)
            process.stdin.close()
        if callable(self._output):
            threading.Thread(
                target=_pass_on, args=(process, self._output), name=f"{self.name} output", daemon=True
            ).start()
        return process


def die_with(parent: int, number: int) -> None:
    """In the child: get this signal when the parent dies, or end now if it already has. Linux only."""
    _libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _pass_on(process: subprocess.Popen[str], output: Callable[[str], None]) -> None:
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            output(line.rstrip("\n"))


def _open_log(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > LOG_BYTES:
        path.replace(path.with_suffix(".1.log"))
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def _wait_for_lock(path: Path, seconds: float) -> int | None:
    """A descriptor that holds the lock, or None when somebody else kept it all the time."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    last = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= last:
                os.close(lock)
                return None
            time.sleep(0.02)
        else:
            return lock

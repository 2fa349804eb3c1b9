"""
The built-in services alone, in the foreground: `python -m infra.embedded .data`.

Prints the settings that lead to them as shell assignments once they are ready, restarts what dies, stops on Ctrl-C.
"""

import argparse
import os
import shlex
import signal
import sys
import time
from pathlib import Path

from infra.embedded import PARTS, AlreadyRunning, CannotStart, start


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.embedded", description=__doc__.split("\n\n")[0].strip())
    parser.add_argument("data", type=Path, help="data folder, made when it is not there")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="start only these")
    parser.add_argument("--fast", action="store_true", help="no fsync: data may not survive a loss of power")
    parser.add_argument("--while", dest="owner", type=int, metavar="PID", help="stop when that process is gone")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with start(options.data, only=options.only, durable=not options.fast, report=_report) as supervisor:
            for name, value in supervisor.services.as_environment().items():
                print(f"{name}={shlex.quote(value)}")
            print("ready", flush=True)
            while options.owner is None or _exists(options.owner):
                supervisor.poll()
                time.sleep(0.5)
    except KeyboardInterrupt:
        return 0
    except (AlreadyRunning, CannotStart) as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


sys.exit(main())

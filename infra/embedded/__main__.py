"""
The built-in services alone, in the foreground: `python -m infra.embedded .data`.

Prints the settings that lead to them as shell assignments once they are ready, restarts what dies, stops on Ctrl-C.
"""

import argparse
import shlex
import shutil
import signal
import sys
import time
from pathlib import Path

from infra.embedded import PARTS, AlreadyRunning, CannotStart, start
from infra.embedded.child import is_locked


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.embedded", description=__doc__.split("\n\n")[0].strip())
    parser.add_argument("data", type=Path, help="data folder, made when it is not there")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="start only these")
    parser.add_argument("--while-locked", type=Path, metavar="FILE", help="stop when nobody keeps FILE locked any more")
    parser.add_argument("--temporary", action="store_true", help="remove the data folder in the end")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        supervisor = start(options.data, only=options.only, report=_report)
    except (AlreadyRunning, CannotStart) as problem:
        print(problem, file=sys.stderr)
        return 1
    try:
        with supervisor:
            for name, value in supervisor.services.as_environment().items():
                print(f"{name}={shlex.quote(value)}")
            print("ready", flush=True)
            while options.while_locked is None or is_locked(options.while_locked):
                supervisor.poll()
                time.sleep(0.2)
            if options.temporary and "s3" in options.only:
                supervisor.kill_part("s3")  # it takes two seconds to end in good order, for data that nobody wants
    except KeyboardInterrupt:
        pass
    except CannotStart as problem:
        print(problem, file=sys.stderr)
        return 1
    finally:
        if options.temporary:
            shutil.rmtree(options.data, ignore_errors=True)
    return 0


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


sys.exit(main())

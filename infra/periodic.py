"""
The clock: functions rung at a steady pace, one after the other, in one process.

They run here and not in the queue, so that time-outs are kept while Redis is away; what takes long they leave to the queue
by recording an event. Two clocks at once do no harm: each row is taken by one of them.
"""

import threading
import time
from collections.abc import Callable, Mapping

from infra import telemetry

_log = telemetry.log(__name__)


def run(rounds: Mapping[Callable[[], object], float], stop: threading.Event) -> None:
    """
    Call every function each so many seconds until told to stop. A call that fails is logged and tried again at its next
    turn: nothing that happens to one function stops the others.
    """
    due = dict.fromkeys(rounds, 0.0)
    while not stop.is_set():
        for function, seconds in rounds.items():
            if time.monotonic() >= due[function] and not stop.is_set():
                due[function] = time.monotonic() + seconds
                _ring(function)
        stop.wait(max(0.05, min(due.values()) - time.monotonic()))


def _ring(function: Callable[[], object]) -> None:
    name = f"{function.__module__}.{function.__name__}"
    telemetry.bind(f"clock-{name}")
    try:
        function()
    except Exception:  # noqa: BLE001 - the edge of the clock: logged, and tried again at the next turn
        _log.exception("clock function failed", function=name)
    finally:
        telemetry.bind(None)

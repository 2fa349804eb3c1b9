"""The one place that reads the wall clock. Domain code takes `now` as an argument instead."""

from datetime import UTC, datetime, timedelta

_shift = timedelta()


def now() -> datetime:
    """The server's time, aware, in UTC."""
    return datetime.now(UTC) + _shift


def shift(by: timedelta) -> None:
    """Move this process's clock, for tests of windows and deadlines. `timedelta()` puts it right again."""
    global _shift
    _shift = by

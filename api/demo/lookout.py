"""Lookouts: what a phone's feed shows when, found out by asking again and again as an app in the foreground does."""

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx

from api.demo.phone import Phone, Refused

PAUSE = 0.4  # seconds between two looks


@dataclass
class Lookout:
    """
    One phone looking for one job.

    :param until_seen: stop at the first sight; else go on until told to stop
    """

    phone: Phone
    job_id: str
    until_seen: bool = True
    looks: int = 0
    last_without: datetime | None = None
    first_seen: datetime | None = None
    trouble: Exception | None = None
    _stop: threading.Event = field(default_factory=threading.Event, repr=False)
    _thread: threading.Thread | None = field(default=None, repr=False)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._look, name=f"lookout {self.phone.email}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(10)

    @property
    def over(self) -> bool:
        """Whether it has seen the job, or cannot look any more."""
        return self.first_seen is not None or self.trouble is not None

    def _look(self) -> None:
        """Times are those of the answers' arrival, so a job is never said to be seen earlier than it was."""
        while not self._stop.is_set():
            try:
                seen = self.phone.sees(self.job_id)
            except (Refused, httpx.HTTPError) as trouble:
                self.trouble = trouble
                return
            self.looks += 1
            now = datetime.now(UTC)
            if seen:
                self.first_seen = self.first_seen or now
                if self.until_seen:
                    return
            else:
                self.last_without = now
            self._stop.wait(PAUSE)

"""Progress: what is going on, while it is: a moving display on a terminal, plain lines elsewhere."""

import time
from collections import deque
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.text import Text

LINES = 12  # of the latest that the moving display shows


class Progress:
    """`act` says what begins, `note` what has happened. The moving display leaves nothing behind; the report says it all."""

    def __init__(self, out: Console, acts: int) -> None:
        self._out = out
        self._began = time.monotonic()
        self._lines: deque[RenderableType] = deque(maxlen=LINES)
        self._bar = Bar(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=out,
        )
        self._task = self._bar.add_task("", total=acts)
        self._begun = 0
        self._live: Live | None = None

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began

    def act(self, what: str) -> None:
        self._bar.update(self._task, description=what, completed=self._begun)
        self._begun += 1
        if self._live is None:
            self._print(Text(what, style="bold"))

    def note(self, what: str) -> None:
        line = Text.assemble(
            (f"{self.seconds:5.1f} s  ", "dim"), what, overflow="ellipsis", no_wrap=self._live is not None
        )
        if self._live is None:
            self._print(line)
        else:
            self._lines.append(line)
            self._live.update(self._display())

    def _print(self, line: Text) -> None:
        self._out.print(line, soft_wrap=True, highlight=False)

    def _display(self) -> RenderableType:
        return Group(*self._lines, self._bar)

    def __enter__(self) -> Self:
        if self._out.is_terminal:
            self._live = Live(self._display(), console=self._out, transient=True, refresh_per_second=8)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

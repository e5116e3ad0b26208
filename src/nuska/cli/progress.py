"""A progress bar on a terminal; nothing anywhere else."""

import sys
from types import TracebackType
from typing import Self


class Progress:
    """Shows how many messages are posted, and how much of the input is left if that is known."""

    def __init__(self, size: int | None) -> None:
        self._bar = None
        if not sys.stderr.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self._bar = Bar(
            TextColumn("{task.fields[posted]:,} messages posted"),
            BarColumn(),
            TimeRemainingColumn() if size else TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task("", total=size, posted=0)

    def show(self, posted: int, consumed: int) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=consumed, posted=posted)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

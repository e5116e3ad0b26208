"""A progress bar on a terminal; nothing anywhere else."""

import sys
from types import TracebackType
from typing import Self


class Progress:
    """Shows how much is done, how fast that goes, and how long the rest takes if that is known.

    ``done`` is what has happened to what is counted, such as "messages posted"; ``size`` is
    what ``consumed`` will be in the end.
    """

    def __init__(self, size: int | None, done: str, *, in_bytes: bool = False) -> None:
        self._bar = None
        if not sys.stderr.isatty():
            return
        from rich.console import Console
        from rich.filesize import decimal
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self._shown = decimal if in_bytes else "{:,}".format
        self._done = done
        self._bar = Bar(
            TextColumn("{task.fields[told]}"),
            BarColumn(),
            TimeRemainingColumn() if size else TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task("", total=size, told=f"{self._shown(0)} {done}")

    def show(self, count: int, consumed: int | None = None, size: int | None = None) -> None:
        """So many are done; ``consumed`` if progress is measured in something else."""
        if self._bar is None:
            return
        elapsed = self._bar.tasks[0].elapsed
        rate = f", {self._shown(int(count / elapsed))}/s" if elapsed else ""
        self._bar.update(
            self._task,
            completed=count if consumed is None else consumed,
            total=size,
            told=f"{self._shown(count)} {self._done}{rate}",
        )

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

"""Showing how far a move or a drain has come, until it is over.

The server does the work; who watches may go at any time.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated

from cyclopts import Parameter
from msgspec import to_builtins

from nuska.cli.exits import CommandFailed, Exit
from nuska.cli.options import Options
from nuska.cli.output import counted, printable
from nuska.cli.progress import Progress
from nuska.client import Carriage

ASKED_EVERY = 0.25
"""Seconds; the server writes it down twice a second."""
LINE_EVERY = 5.0
"""Seconds before the first and between two lines, where there is no terminal for a bar."""

Detach = Annotated[bool, Parameter(help="Do not wait for the end.")]


async def watch(carriage: Carriage, ask: Callable[[], Awaitable[Carriage]], what: str) -> Carriage:
    """The carriage once it is over; raises ``CommandFailed`` when it has failed."""
    lines = _Lines(what)
    try:
        with Progress(1, "messages moved") as progress:
            while not carriage.is_over:
                size = carriage.messages_done + carriage.messages_left
                progress.show(carriage.messages_done, size=max(size, 1))
                lines.show(carriage)
                await asyncio.sleep(ASKED_EVERY)
                carriage = await ask()
    except asyncio.CancelledError:
        sys.stderr.write(f"{printable(what)} goes on.\n")
        raise
    if carriage.state == "failed":
        raise CommandFailed(Exit.REFUSED, f"{printable(what)} failed: {carriage.problem}")
    return carriage


def report(options: Options, carriage: Carriage, outcome: str) -> None:
    """What has become of it."""
    if options.as_json:
        options.output.json(to_builtins(carriage))
    elif carriage.state == "done" and not carriage.messages_done:
        options.output.note(f"{outcome}; no message had to be moved.")
    elif carriage.state == "done":
        queues = counted(carriage.queues_done, "queue")
        messages = counted(carriage.messages_done, "message")
        seconds = f"{carriage.seconds:.1f} s"
        options.output.note(f"{outcome}: {queues} with {messages} moved in {seconds}.")
    else:
        options.output.note("It is under way; the same command without --detach shows how far.")


class _Lines:
    """Plain lines for a log, and on a terminal only what is in the way."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._problem: str | None = None
        self._next = asyncio.get_running_loop().time() + LINE_EVERY

    def show(self, carriage: Carriage) -> None:
        if carriage.problem and carriage.problem != self._problem:
            self._write(f"{self._what} waits: {carriage.problem}")
        self._problem = carriage.problem
        now = asyncio.get_running_loop().time()
        if sys.stderr.isatty() or carriage.state != "running" or now < self._next:
            return
        self._next = now + LINE_EVERY
        rate = carriage.messages_done / carriage.seconds if carriage.seconds else 0.0
        line = f"{counted(carriage.messages_done, 'message')} moved"
        line += f", {carriage.messages_left} left in {counted(carriage.queues_left, 'queue')}"
        if rate:
            line += f"; {rate:.0f}/s, {carriage.messages_left / rate:.0f} s to go"
        self._write(f"{line}.")

    def _write(self, line: str) -> None:
        sys.stderr.write(f"{printable(line)}\n")

"""Writes of one queue that wait together share one transaction (D11).

Posts to a queue take the lock of its row one after another, so each would wait for the
commits of all before it. Here those that arrive while one is being committed become the next
transaction together. Refuses to hold more than ``MAX_WAITING``.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from copy import copy
from itertools import islice
from typing import Generic, TypeVar

from nuska.domain.errors import QueueAway, Unavailable
from nuska.stores.sql.database import BUGS

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
R = TypeVar("R")

MAX_WAITING = 10_000
"""Writes of a queue in line; more are refused, since they could not be answered in time."""
TOGETHER = 100
"""Writes in one transaction at most."""


class Lines(Generic[K, T, R]):
    """A line per key while anybody stands in it; ``perform`` does what stands at its head.

    It answers a result or an exception for each, or for the first of them, and then the others
    stay at the head; or it raises one for all.
    """

    def __init__(self, perform: Callable[[K, Sequence[T]], Awaitable[list[R | Exception]]]) -> None:
        self._perform = perform
        self._lines: dict[K, dict[asyncio.Future[R], T]] = {}
        self._workers: set[asyncio.Task[None]] = set()

    async def stand(self, key: K, write: T) -> R:
        """Do ``write`` in its turn, and return what it answers."""
        line = self._lines.get(key)
        if line is not None and len(line) >= MAX_WAITING:
            raise Unavailable("Too many writes are waiting for the database.")
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        if line is None:
            self._lines[key] = line = {}
            worker = asyncio.create_task(self._work_off(key, line), name="sql line")
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)
        line[future] = write
        return await future

    async def close(self) -> None:
        """Wait for what stands in line."""
        while self._workers:
            await asyncio.wait(set(self._workers))

    async def _work_off(self, key: K, line: dict[asyncio.Future[R], T]) -> None:
        while line:
            group = {future: line.pop(future) for future in list(islice(line, TOGETHER))}
            # Whoever has gone before the write began does not get it.
            group = {future: write for future, write in group.items() if not future.done()}
            if group:
                left = await self._do(key, group)
                if left:
                    behind = dict(line)
                    line.clear()
                    line.update(left | behind)
        del self._lines[key]

    async def _do(self, key: K, group: dict[asyncio.Future[R], T]) -> dict[asyncio.Future[R], T]:
        """Do what a group asks; those that have not been answered."""
        answers: Sequence[R | Exception]
        try:
            answers = await self._perform(key, list(group.values()))
        except QueueAway:
            answers = [QueueAway() for _ in group]
        except Unavailable as error:
            answers = [_another(error) for _ in group]
        except BUGS as error:
            if len(group) > 1:  # nothing has happened; only whose fault it is hears of it
                for future, write in group.items():
                    await self._do(key, {future: write})
                return {}
            answers = [error]
        except Exception as error:
            answers = [error] * len(group)
        for future, answer in zip(group, answers, strict=False):
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
        return dict(islice(group.items(), len(answers), None))


def _another(error: Unavailable) -> Unavailable:
    """The same for one more caller: an exception that several raise gathers all their traces."""
    another = copy(error)
    another.__cause__ = error.__cause__
    return another

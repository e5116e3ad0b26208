"""Writes in line for a transaction, and who goes next.

Short writes go in the order of their arrival. A long one (a post of thousands of messages)
closes the group it is in, one a group: so a client that sends nothing but long posts makes
others wait for one of them, not for all that it has sent, and is itself served every time.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Generator
from typing import Any, TypeVar

from nuska.domain.moments import Moment
from nuska.stores.sqlite.transaction import Transaction

T = TypeVar("T")
Work = (
    Callable[[Transaction], T]
    | Callable[[Transaction], Generator[None, None, T]]
    | Callable[[Transaction], T | Generator[None, None, T]]
)

MAX_WRITES_PER_COMMIT = 512
"""Keeps the wait of the first in a group short."""


def _done(_transaction: Transaction) -> None:
    """What is left to do of a write that has been answered."""


class Write:
    """A write in line and the caller who waits for it."""

    __slots__ = ("error", "finish", "future", "long", "now", "relaxed", "result", "work")

    def __init__(
        self,
        work: Work[Any],
        now: Moment,
        relaxed: bool,
        long: bool,
        future: asyncio.Future[Any],
        finish: Callable[[Any], Any] | None = None,
    ) -> None:
        self.work: Work[Any] = work
        self.now = now
        self.relaxed = relaxed
        self.long = long
        self.future: asyncio.Future[Any] | None = future
        self.finish = finish
        self.result: Any = None
        self.error: BaseException | None = None

    def make_answer(self) -> None:
        """Finish the result, once; an exception there is this caller's alone."""
        finish, self.finish = self.finish, None
        if finish is None or self.error is not None:
            return
        try:
            self.result = finish(self.result)
        except Exception as error:
            self.error = error

    def let_go(self) -> None:
        """Hold nothing any more: the traceback of an error leads to the frames that had this,
        and so to the error itself. What was refused would stay in memory, bodies and all,
        until the collector comes."""
        self.work = _done
        self.future = self.result = self.error = self.finish = None


class Line:
    """The writes that wait."""

    def __init__(self) -> None:
        self._short: deque[Write] = deque()
        self._long: deque[Write] = deque()
        self._passed_over = False
        """A long write did not fit the last group, and so leads the next."""

    def __len__(self) -> int:
        return len(self._short) + len(self._long)

    def add(self, write: Write) -> None:
        (self._long if write.long else self._short).append(write)

    def take(self, share: int = MAX_WRITES_PER_COMMIT) -> list[Write]:
        """The next group: all relaxed or none (D18), of about ``share`` writes, and at least
        one. There must be somebody in line."""
        long_leads = self._long and (self._passed_over or not self._short)
        relaxed = (self._long if long_leads else self._short)[0].relaxed
        group: list[Write] = []
        short = self._short
        most = min(share, MAX_WRITES_PER_COMMIT)
        while short and len(group) < most and short[0].relaxed is relaxed:
            group.append(short.popleft())
        self._passed_over = bool(self._long)
        if self._long and self._long[0].relaxed is relaxed:
            group.append(self._long.popleft())
            self._passed_over = False
        return group

    def clear(self) -> list[Write]:
        """Everybody leaves the line."""
        left = [*self._short, *self._long]
        self._short.clear()
        self._long.clear()
        return left

"""Wake-ups within one process, and to other nodes where there are some.

Every queue that somebody waits for has two groups: takers, who take messages away and are
woken one per message, longest waiting first, and readers, who are all woken. A wake-up is a
hint: who is woken looks again, and waits on when it finds nothing. A crowd of readers is woken
a few in each turn of the loop, so that others get their turns while thousands look.

A taker that leaves without having looked since it was woken passes the hint on to the next,
so that a client that hangs up never swallows a wake-up meant for somebody else.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import islice

from nuska.domain.errors import Unavailable
from nuska.domain.messages import QueueRef
from nuska.interfaces.storage import Hear, SelectiveStore

MAX_WAITERS = 20_000
"""Requests that may wait at once in one process."""
WOKEN_ON_SUSPICION = 100
"""Takers of one queue that look for themselves when hints may have been lost."""
READERS_PER_TURN = 8
"""Each of them will read a page in the turn that follows."""


class LocalWaiter:
    """One request that waits; made by ``LocalWakeups.waiting``."""

    __slots__ = ("_future", "_interrupted", "woken")

    def __init__(self) -> None:
        self.woken = False
        """Woken, and has not looked since."""
        self._interrupted = False
        self._future: asyncio.Future[None] | None = None

    async def wait(self, seconds: float) -> bool:
        if not (self.woken or self._interrupted):
            loop = asyncio.get_running_loop()
            self._future = loop.create_future()
            timer = loop.call_later(seconds, self._resolve)
            try:
                await self._future
            finally:
                timer.cancel()
                self._future = None
        woken, self.woken, self._interrupted = self.woken, False, False
        return woken

    def wake(self) -> None:
        self.woken = True
        self._resolve()

    def interrupt(self) -> None:
        self._interrupted = True
        self._resolve()

    def _resolve(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)


class _Waiters:
    """Those who wait for one queue; dictionaries keep the order of arrival."""

    __slots__ = ("readers", "takers", "to_wake")

    def __init__(self) -> None:
        self.takers: dict[LocalWaiter, None] = {}
        self.readers: dict[LocalWaiter, None] = {}
        self.to_wake: dict[LocalWaiter, None] = {}
        """Readers whose turn to be woken comes; while there are any, a turn is ordered."""


class Overhearing:
    """Somebody who hears of more than the queue that a waiter waits for; made by
    ``LocalWakeups.overhear``."""

    def __init__(
        self, callback: Hear, all_of_them: "list[Overhearing]", *, everything: bool
    ) -> None:
        self.callback = callback
        self._everything = everything
        self._followed: set[QueueRef] = set()
        self._selective: SelectiveStore | None = None
        self._all = all_of_them
        self._all.append(self)

    def attend(self, store: SelectiveStore) -> None:
        self._selective = store
        for queue in self._wanted():
            store.heed(queue)

    def follow(self, queue: QueueRef) -> None:
        """Hear of ``queue`` from other nodes too. Who looks after this misses nothing."""
        if queue not in self._followed:
            self._followed.add(queue)
            if self._selective is not None:
                self._selective.heed(queue)

    def unfollow(self, queue: QueueRef) -> None:
        if queue in self._followed:
            self._followed.discard(queue)
            if self._selective is not None:
                self._selective.disregard(queue)

    def stop(self) -> None:
        """Hear nothing more."""
        self._all.remove(self)
        if self._selective is not None:
            for queue in self._wanted():
                self._selective.disregard(queue)

    def _wanted(self) -> "list[QueueRef | None]":
        return [*self._followed, None] if self._everything else [*self._followed]


class LocalWakeups:
    """``Wakeups`` for a server that is one process."""

    def __init__(self, *, max_waiters: int = MAX_WAITERS) -> None:
        self._max_waiters = max_waiters
        self._count = 0
        self._queues: dict[QueueRef, _Waiters] = {}
        self._overhearing: list[Overhearing] = []
        self._selective: SelectiveStore | None = None
        self._stopping = False

    @property
    def stopping(self) -> bool:
        return self._stopping

    @property
    def waiters(self) -> int:
        """How many requests wait now."""
        return self._count

    def waiting(self, queue: QueueRef, *, taker: bool) -> AbstractContextManager[LocalWaiter]:
        if self._count >= self._max_waiters:
            raise Unavailable("Too many requests are waiting for messages already.")
        return self._registered(queue, taker)

    def attend(self, store: SelectiveStore) -> None:
        """From now on ``store`` need pass on only what somebody here waits for or overhears."""
        self._selective = store
        for queue in self._queues:
            store.heed(queue)
        for one in self._overhearing:
            one.attend(store)
        store.disregard(None)

    def overhear(self, callback: Hear, *, everything: bool = True) -> "Overhearing":
        """Pass on all wake-ups: of this node, and what other nodes tell. Unless ``everything``,
        other nodes' only of those queues that are followed. ``callback`` does not wait and does
        not fail; None for a queue: any may have something."""
        overhearing = Overhearing(callback, self._overhearing, everything=everything)
        if self._selective is not None:
            overhearing.attend(self._selective)
        return overhearing

    def wake(self, queue: QueueRef, messages: int) -> None:
        if messages <= 0:
            return
        for one in self._overhearing:
            one.callback(queue, messages)
        if self._queues:
            self._wake(queue, messages)

    def _wake(self, queue: QueueRef, messages: int) -> None:
        waiters = self._queues.get(queue)
        if waiters is None:
            return
        if waiters.readers:
            ordered = bool(waiters.to_wake)
            waiters.to_wake.update(waiters.readers)
            if not ordered:
                self._wake_readers(waiters)
        for taker in waiters.takers:
            if taker.woken:
                continue
            taker.wake()
            messages -= 1
            if not messages:
                break

    def hear(self, queue: QueueRef | None, messages: int) -> None:
        """What another node tells; None: any queue may have something."""
        if queue is not None:
            self.wake(queue, messages)
            return
        for one in self._overhearing:
            one.callback(None, 0)
        for waited_for in list(self._queues):
            self._wake(waited_for, WOKEN_ON_SUSPICION)

    def stop(self) -> None:
        """From now on nobody waits: every wait returns at once."""
        self._stopping = True
        for waiters in self._queues.values():
            for waiter in (*waiters.takers, *waiters.readers):
                waiter.wake()

    def _wake_readers(self, waiters: _Waiters) -> None:
        """Wake the next few; several messages that come meanwhile wake each only once."""
        for reader in tuple(islice(waiters.to_wake, READERS_PER_TURN)):
            del waiters.to_wake[reader]
            reader.wake()
        if waiters.to_wake:
            asyncio.get_running_loop().call_soon(self._wake_readers, waiters)

    @contextmanager
    def _registered(self, queue: QueueRef, taker: bool) -> Iterator[LocalWaiter]:
        waiters = self._queues.get(queue)
        if waiters is None:
            waiters = self._queues[queue] = _Waiters()
            if self._selective is not None:
                self._selective.heed(queue)
        group = waiters.takers if taker else waiters.readers
        waiter = LocalWaiter()
        group[waiter] = None
        self._count += 1
        try:
            yield waiter
        finally:
            self._count -= 1
            del group[waiter]
            waiters.to_wake.pop(waiter, None)
            if taker and waiter.woken:
                self._wake(queue, 1)
            if not waiters.takers and not waiters.readers:
                self._queues.pop(queue, None)
                if self._selective is not None:
                    self._selective.disregard(queue)


class SharedWakeups:
    """``Wakeups`` for one node of several: what is woken here is told to the others."""

    def __init__(self, here: LocalWakeups, tell: Callable[[QueueRef, int], None]) -> None:
        self._here = here
        self._tell = tell

    @property
    def stopping(self) -> bool:
        return self._here.stopping

    def waiting(self, queue: QueueRef, *, taker: bool) -> AbstractContextManager[LocalWaiter]:
        return self._here.waiting(queue, taker=taker)

    def wake(self, queue: QueueRef, messages: int) -> None:
        self._here.wake(queue, messages)
        if messages > 0:
            self._tell(queue, messages)

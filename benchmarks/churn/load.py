"""Messages that come and go at full speed, in every way in which they do.

Most are claimed and deleted; some are popped, some released and claimed again, some left to
their claim's end, some to their own. Half of the queues have followers, who read what is posted
from the announcement log and trim it. The backlog stays about the same, so a table that grows
grows with what is gone.
"""

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from nuska.domain.messages import NewMessage, QueueRef
from nuska.domain.moments import Duration, Moment
from nuska.domain.positions import claim_id
from nuska.interfaces.announcing import AnnouncingStore

QUEUES = [QueueRef("acme", f"queue-{number}") for number in range(4)]
FOLLOWED = QUEUES[::2]
READ_AT_ONCE = 100
"""Announcements."""
POSTERS = 4
WORKERS = 8
BATCH = 20
PER_CLAIM = 10
BACKLOG = 1_000
"""Messages of a queue that stand ready, about."""
BODY = b'{"job": 17, "kind": "resize", "path": "/in/a.png"}'
LONG, SHORT = Duration(3_600_000), Duration(5_000)
"""How long most messages live, and those that nobody takes in time."""
SHORT_LIVED, POPPED, RELEASED, ABANDONED = 0.1, 0.05, 0.05, 0.05
"""Shares of posts, and of what is taken."""
CLAIMED_FOR, ABANDONED_FOR = Duration(30_000), Duration(2_000)
"""A claim is kept until its end, also when its messages are gone."""
REST = 0.005
CLAIM_ID_BYTES = 12


class Load:
    """Runs until it is cancelled, and counts."""

    def __init__(self, store: AnnouncingStore, moment: Callable[[], Moment]) -> None:
        self._store = store
        self._moment = moment
        self._random = random.Random(7)
        self._ready = Counter[QueueRef]()
        self.posted = 0
        self.gone = 0
        self.heard = 0
        self.claim_seconds: list[float] = []

    async def run(self) -> None:
        doing: list[Coroutine[Any, Any, None]] = [self._sweep()]
        doing += [self._post(queue) for queue in itertools.islice(itertools.cycle(QUEUES), POSTERS)]
        doing += [self._work(queue) for queue in itertools.islice(itertools.cycle(QUEUES), WORKERS)]
        doing += [self._follow(queue) for queue in FOLLOWED]
        async with asyncio.TaskGroup() as group:
            for one in doing:
                group.create_task(one)

    async def _post(self, queue: QueueRef) -> None:
        while True:
            if self._ready[queue] > BACKLOG:
                await asyncio.sleep(REST)
                continue
            ttl = SHORT if self._random.random() < SHORT_LIVED else LONG
            batch = [NewMessage(body=BODY, ttl=ttl, delay=Duration(0))] * BATCH
            await self._store.messages.add(queue, batch, now=self._moment())
            self.posted += BATCH
            self._ready[queue] += BATCH

    async def _work(self, queue: QueueRef) -> None:
        while True:
            lot = self._random.random()
            found = await (self._pop(queue) if lot < POPPED else self._claim(queue, lot - POPPED))
            if not found:
                self._ready[queue] = 0  # those that expired were never counted out
                await asyncio.sleep(REST)

    async def _pop(self, queue: QueueRef) -> int:
        popped = await self._store.messages.pop(queue, limit=PER_CLAIM, now=self._moment())
        self.gone += len(popped)
        self._ready[queue] -= len(popped)
        return len(popped)

    async def _claim(self, queue: QueueRef, lot: float) -> int:
        name = claim_id(self._random.randbytes(CLAIM_ID_BYTES))
        began = time.perf_counter()
        claimed = await self._store.claims.create(
            queue,
            claim_id=name,
            limit=PER_CLAIM,
            ttl=ABANDONED_FOR if lot < ABANDONED else CLAIMED_FOR,
            grace=Duration(0),
            now=self._moment(),
        )
        self.claim_seconds.append(time.perf_counter() - began)
        if lot < ABANDONED or not claimed.messages:
            return len(claimed.messages)
        if lot < ABANDONED + RELEASED:
            await self._store.claims.release(queue, name, now=self._moment())
            return len(claimed.messages)
        await asyncio.gather(
            *(
                self._store.messages.delete(queue, message.id, claim_id=name, now=self._moment())
                for message in claimed.messages
            )
        )
        self.gone += len(claimed.messages)
        self._ready[queue] -= len(claimed.messages)
        return len(claimed.messages)

    async def _follow(self, queue: QueueRef) -> None:
        logs = self._store.announcements
        position = (await logs.open(queue, now=self._moment())).last
        while True:
            page = await logs.page(queue, after=position, limit=READ_AT_ONCE, now=self._moment())
            if not page:
                await asyncio.sleep(REST)
                continue
            self.heard += len(page)
            position = page[-1].position
            while await logs.trim(queue, through=position, now=self._moment()):
                pass

    async def _sweep(self) -> None:
        while True:
            report = await self._store.sweep(now=self._moment())
            if not report.more:
                await asyncio.sleep(REST)

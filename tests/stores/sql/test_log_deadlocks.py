"""Whatever is done to a queue and its log at the same time, nobody waits for who waits for him."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from itertools import count

import pytest

from nuska.domain.errors import Conflict, QueueAway
from nuska.stores.sql.store import SqlStore
from nuska.testing.clock import ManualClock
from nuska.testing.conformance.announcements import Log
from nuska.testing.conformance.inbox import HOUR, MINUTE, Inbox, bodies
from nuska.testing.opening import opening_stores

DEADLOCKS = {
    "postgresql": "SELECT sum(deadlocks) FROM pg_stat_database",
    "mariadb": "SELECT variable_value FROM information_schema.global_status "
    "WHERE variable_name = 'INNODB_DEADLOCKS'",
}
SECONDS = 6.0
"""For which everything goes on at the same time."""
POSTERS = 3
BATCH = 5
EPOCHS = count(1)
CLAIMS = count(1)

Doing = Callable[["Node"], Awaitable[None]]


class Node:
    """What one of the nodes does, over and over."""

    def __init__(self, store: SqlStore, clock: ManualClock) -> None:
        self.inbox = Inbox(store, clock)
        self.log = Log(store, self.inbox)
        self.clock = clock

    async def post(self) -> None:
        await self.inbox.add(*"abcde"[:BATCH], ttl=MINUTE)
        await self.inbox.add("remembered", ttl=HOUR, key=f"key {next(CLAIMS)}")

    async def work(self) -> None:
        claimed = await self.inbox.claim(next(CLAIMS), limit=3)
        await self.inbox.delete_many(*(message.id for message in claimed))
        await self.inbox.pop(2)

    async def listen(self) -> None:
        opened = await self.log.open()
        for _ in range(5):
            page = await self.log.all(after=opened.last, limit=20)
            if page:
                await self.log.trim(page[-1].position)
            assert "".join(bodies(page)).count("a") <= len(page)
        await self.log.state()
        await self.log.close(opened.version)

    async def purge(self) -> None:
        await asyncio.sleep(0.05)
        await self.inbox.purge()

    async def drop(self) -> None:
        await asyncio.sleep(0.1)
        await self.inbox.drop()

    async def fence(self) -> None:
        await asyncio.sleep(0.1)
        transfers, epoch = self.inbox.store.transfers, next(EPOCHS)
        with contextlib.suppress(Conflict):
            await transfers.fence(self.inbox.ref, epoch=epoch, now=self.inbox.now)
        await transfers.open(self.inbox.ref, epoch=epoch, now=self.inbox.now)

    async def sweep(self) -> None:
        self.clock.advance(seconds=7)
        for _ in range(20):
            await self.inbox.store.sweep(now=self.inbox.now)


ABOUT_LOGS = [Node.listen, Node.purge, Node.fence]
TOGETHER = {
    "postgresql": [*ABOUT_LOGS, Node.drop, Node.sweep, Node.work],
    # There the sweep and workers, or two who make one queue, do deadlock, and try again.
    "mariadb": ABOUT_LOGS,
}


@pytest.mark.slow
async def test_posts_listeners_purges_and_fences_never_deadlock(
    kind: str, server, store: SqlStore, url: str, clock: ManualClock
) -> None:
    async def over_and_over(node: Node, doing: Doing) -> None:
        async with asyncio.timeout(SECONDS):
            while True:
                with contextlib.suppress(QueueAway):
                    await doing(node)

    async with opening_stores() as open_at:
        nodes = [Node(store, clock), Node(await open_at(url, now=clock.now()), clock)]
        await nodes[0].inbox.post("first")  # two who make one queue may deadlock
        before = int(await server.ask(DEADLOCKS[kind]))
        doing = [*TOGETHER[kind], *[Node.post] * POSTERS]
        ended = await asyncio.gather(
            *(over_and_over(node, one) for node in nodes for one in doing), return_exceptions=True
        )
        assert [one for one in ended if not isinstance(one, TimeoutError)] == []
        assert int(await server.ask(DEADLOCKS[kind])) == before

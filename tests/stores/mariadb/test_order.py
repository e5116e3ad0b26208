"""Whoever takes gets what stands first, whatever else the server locks for a moment."""

import asyncio
from collections.abc import Awaitable, Callable

from nuska.domain.messages import Message, NewMessage, QueueRef
from nuska.domain.moments import Duration
from nuska.stores.sql.store import SqlStore
from nuska.testing.clock import START
from nuska.testing.mariadb_server import MariadbServer

Open = Callable[[str], Awaitable[SqlStore]]
TTL = Duration(3_600_000)
LEFT, RIGHT = QueueRef("acme", "left"), QueueRef("acme", "right")
"""The rows of the second follow those of the first in every index."""
MESSAGES = 100
NEIGHBOURS = 3
WITHIN = 60.0
"""Seconds."""


async def post(store: SqlStore, queue: QueueRef, *bodies: str) -> None:
    new = [NewMessage(body=body.encode(), ttl=TTL) for body in bodies]
    await store.messages.add(queue, new, now=START)


async def pop(store: SqlStore, queue: QueueRef) -> list[Message]:
    return await store.messages.pop(queue, limit=1, now=START)


async def test_a_taker_waits_for_a_message_that_somebody_looks_at(
    store: SqlStore, server: MariadbServer
) -> None:
    await post(store, LEFT, "first", "second")
    looking = await server.connect()
    try:
        async with looking.cursor() as cursor:
            await cursor.execute("START TRANSACTION")
            await cursor.execute("SELECT 1 FROM messages ORDER BY position LIMIT 1 FOR UPDATE")
            popping = asyncio.create_task(pop(store, LEFT))
            asked = "SELECT COUNT(*) FROM information_schema.innodb_trx "
            async with asyncio.timeout(WITHIN):
                while not popping.done():
                    if await server.ask(asked + "WHERE trx_state = 'LOCK WAIT'"):
                        break
                    await asyncio.sleep(0.1)  # the server looks for them no more often
            await cursor.execute("ROLLBACK")
        assert [message.body for message in await popping] == [b"first"]
    finally:
        await looking.ensure_closed()


async def test_takers_of_one_queue_leave_the_order_of_the_next_alone(
    store: SqlStore, server: MariadbServer, open_at: Open
) -> None:
    other = await open_at(server.url())
    for queue in (LEFT, RIGHT):
        await store.queues.create(queue, {}, now=START)
    over = False

    async def take_nothing(node: SqlStore) -> None:
        while not over:
            assert await pop(node, LEFT) == []

    async with asyncio.timeout(WITHIN), asyncio.TaskGroup() as group:
        for _ in range(NEIGHBOURS):
            group.create_task(take_nothing(other))
        taken = []
        for number in range(0, MESSAGES, 2):
            await post(store, RIGHT, str(number), str(number + 1))
            for _ in range(2):
                taken += [int(message.body) for message in await pop(store, RIGHT)]
        over = True
    assert taken == list(range(MESSAGES))


async def test_takers_that_come_together_each_get_their_own(store: SqlStore) -> None:
    await post(store, LEFT, *map(str, range(MESSAGES)))
    taken = await asyncio.gather(*(pop(store, LEFT) for _ in range(MESSAGES)))
    assert [int(message.body) for [message] in taken] == list(range(MESSAGES))

"""A fence is seen by statements that began before it stood."""

import asyncio

import asyncpg

from nuska.stores.sql.store import SqlStore
from nuska.testing.clock import ManualClock
from nuska.testing.conformance.inbox import Inbox
from nuska.testing.postgresql_server import PostgresqlServer

SOON = 15
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
HOLD_UP = "SELECT pg_advisory_lock(1)"
# The lock of a claim, by a statement that is held up when it has begun.
HELD_UP = f"""
    WITH held_up AS MATERIALIZED ({HOLD_UP})
    SELECT fenced FROM held_up, queues FOR KEY SHARE OF queues
"""


async def test_a_statement_that_is_held_up_before_it_has_its_lock_sees_the_fence(
    server: PostgresqlServer, store: SqlStore
) -> None:
    inbox = Inbox(store, ManualClock())
    await inbox.post("here")
    other, claim = await asyncpg.connect(server.url()), await asyncpg.connect(server.url())
    try:
        await other.execute(HOLD_UP)
        claiming = asyncio.create_task(claim.fetchval(HELD_UP))
        async with asyncio.timeout(SOON):
            while not await server.ask(WAITING):  # noqa: ASYNC110  it is another process
                await asyncio.sleep(0.02)
        await store.transfers.fence(inbox.ref, epoch=1, now=inbox.now)
        await other.close()
        assert await claiming is True
    finally:
        await other.close()
        await claim.close()

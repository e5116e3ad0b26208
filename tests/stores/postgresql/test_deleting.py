"""A message that moves while somebody deletes it is deleted where it then stands."""

import asyncio

import asyncpg
import pytest

from nuska.domain.messages import DeleteOutcome
from nuska.stores.sql.store import SqlStore
from nuska.testing.clock import ManualClock
from nuska.testing.conformance.inbox import Inbox
from nuska.testing.postgresql_server import PostgresqlServer

SOON = 15
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
# What a claim does to a message that was claimed too often, where the queue takes its own
# dead letters.
TAKE_AWAY = "DELETE FROM messages RETURNING *"
PUT_AT_THE_TAIL = """
    INSERT INTO messages SELECT generation, position + 1000, salt, position, body, poster, ttl,
        created_at, expires_at, available_at, claim, claim_count, attributes, dead
    FROM before
"""
REMEMBER = """
    INSERT INTO moved SELECT generation, position, salt, position + 1000 FROM before
"""


@pytest.mark.parametrize("many", [False, True])
async def test_a_delete_that_waited_for_a_move_follows_the_message(
    server: PostgresqlServer, store: SqlStore, many: bool
) -> None:
    inbox = Inbox(store, ManualClock())
    [tired] = await inbox.post("tired")
    mover = await asyncpg.connect(server.url())
    try:
        async with mover.transaction():
            await mover.execute("CREATE TEMPORARY TABLE before AS SELECT * FROM messages")
            for statement in (TAKE_AWAY, PUT_AT_THE_TAIL, REMEMBER):
                await mover.execute(statement)
            doing = inbox.delete_many(tired) if many else inbox.delete(tired)
            deleting = asyncio.create_task(doing)
            async with asyncio.timeout(SOON):
                while not await server.ask(WAITING):  # noqa: ASYNC110  it is another process
                    await asyncio.sleep(0.02)
    finally:
        await mover.close()
    assert await deleting is (True if many else DeleteOutcome.DELETED)
    assert await inbox.all() == []

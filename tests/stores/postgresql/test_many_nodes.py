"""Several nodes on one database: exclusive claims, one order, one set of tables."""

import asyncio

import pytest

from nuska.domain.errors import Unavailable
from nuska.stores.sql.store import SqlStore
from nuska.testing.clock import ManualClock
from nuska.testing.conformance.inbox import Inbox, bodies, sweep_all
from nuska.testing.postgresql_server import PostgresqlServer

NODES = 3
LETTERS = 60


async def nodes(server: PostgresqlServer, open_at) -> list[Inbox]:
    """Opened at once on an empty database."""
    clock = ManualClock()
    stores = await asyncio.gather(*(open_at(server.url()) for _ in range(NODES)))
    return [Inbox(store, clock) for store in stores]


async def test_nodes_that_start_together_set_the_database_up_once(
    server: PostgresqlServer, open_at
) -> None:
    everyone = await nodes(server, open_at)
    await everyone[0].post("here")
    assert [await node.listed() for node in everyone] == [["here"]] * NODES
    assert await server.ask("SELECT count(*) FROM alembic_version") == 1


async def test_a_reader_that_pages_misses_no_post_of_any_node(
    server: PostgresqlServer, open_at
) -> None:
    everyone = await nodes(server, open_at)
    seen: list[str] = []

    async def post_all(name: int, node: Inbox) -> None:
        for number in range(LETTERS):
            await node.post(f"{name}:{number}")

    async def follow() -> None:
        marker = (await everyone[0].page()).marker
        while len(seen) < NODES * LETTERS:
            page = await everyone[0].page(after=marker)
            seen.extend(bodies(page.messages))
            marker = page.marker

    async with asyncio.timeout(60):
        await asyncio.gather(follow(), *(post_all(*one) for one in enumerate(everyone)))
    assert seen == await everyone[1].listed(limit=NODES * LETTERS)


async def test_no_message_is_in_two_claims_of_different_nodes(
    server: PostgresqlServer, open_at
) -> None:
    everyone = await nodes(server, open_at)
    await everyone[0].post(*(str(n) for n in range(NODES * LETTERS)))
    taken: list[str] = []

    async def work(name: int, node: Inbox) -> None:
        for number in range(LETTERS):
            found = await node.claim(name * LETTERS + number, limit=7)
            taken.extend(bodies(found))

    await asyncio.gather(*(work(*one) for one in enumerate(everyone)))
    assert sorted(taken) == sorted(str(n) for n in range(NODES * LETTERS))


async def test_nodes_that_sweep_at_once_leave_nothing_and_break_nothing(
    server: PostgresqlServer, open_at
) -> None:
    everyone = await nodes(server, open_at)
    await everyone[0].post(*(str(n) for n in range(1_000)))
    await everyone[0].purge()
    await asyncio.gather(*(sweep_all(node.store, node.clock) for node in everyone))
    assert await server.ask("SELECT count(*) FROM messages") == 0
    assert await server.ask("SELECT count(*) FROM generations") == 1


async def test_dead_letters_that_cross_between_nodes_are_neither_lost_nor_doubled(
    server: PostgresqlServer, open_at
) -> None:
    """Two rings of dead letters that turn against each other."""
    everyone = (await nodes(server, open_at))[:2]
    for number in range(20):
        first = [node.beside(name) for node, name in zip(everyone, "ab", strict=True)]
        for box in first:
            await box.post("one", "two")
        await asyncio.gather(
            first[0].claiming(number, dead_letters=first[0].beside("b").rule(0)),
            first[1].claiming(number, dead_letters=first[1].beside("a").rule(0)),
        )
    left = [await everyone[0].beside(name).counts() for name in "ab"]
    assert sum(ready for ready, _, _ in left) == 80


async def test_a_database_of_a_newer_version_is_refused(
    server: PostgresqlServer, store: SqlStore, open_at
) -> None:
    await server.ask("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(Unavailable, match="newer version"):
        await open_at(server.url())

"""A server that is killed, paused or restarted: refused clearly, recovered alone."""

import asyncio
import time

import pytest

from nuska.domain.errors import Unavailable
from nuska.stores.sql.database import ANSWER_WITHIN, CONNECT_WITHIN
from nuska.stores.sql.store import SqlStore
from nuska.testing.clock import ManualClock
from nuska.testing.conformance.inbox import Inbox, bodies
from nuska.testing.postgresql_server import PostgresqlServer

BOUND = ANSWER_WITHIN + CONNECT_WITHIN
"""Seconds after which every request has been answered, whatever the server does."""
RECOVERS_WITHIN = 30.0


@pytest.fixture
def inbox(store: SqlStore) -> Inbox:
    return Inbox(store, ManualClock())


async def until_posted(inbox: Inbox, body: str) -> None:
    """Post until it succeeds; refusals on the way are clear ones."""
    deadline = time.monotonic() + RECOVERS_WITHIN
    while True:
        try:
            await inbox.post(body)
        except Unavailable:
            assert time.monotonic() < deadline, "the store does not recover by itself"
            await asyncio.sleep(0.05)
        else:
            return


async def test_what_was_acknowledged_is_there_after_the_server_was_killed(
    server: PostgresqlServer, inbox: Inbox
) -> None:
    acknowledged: list[str] = []
    enough = asyncio.Event()

    async def post_on(name: int) -> None:
        for number in range(1_000_000):
            try:
                await inbox.post(f"{name}:{number}")
            except Unavailable:
                return
            acknowledged.append(f"{name}:{number}")
            if len(acknowledged) == 200:
                enough.set()

    posters = [asyncio.create_task(post_on(name)) for name in range(8)]
    await enough.wait()
    server.kill()
    await asyncio.gather(*posters)
    with pytest.raises(Unavailable):
        await inbox.post("while it is down")
    server.start()
    await until_posted(inbox, "after")
    listed = await inbox.listed(limit=1_000_000)
    assert set(acknowledged) <= set(listed)
    assert len(listed) == len(set(listed))
    assert len(listed) - 1 <= len(acknowledged) + len(posters)
    assert await inbox.counts() == (len(listed), 0, 0)


async def test_claims_outlive_a_restart_of_the_server(
    server: PostgresqlServer, inbox: Inbox
) -> None:
    await inbox.post("held", "free")
    held = await inbox.claim(1, limit=1)
    server.stop()
    server.start()
    await until_posted(inbox, "after")
    claim = await inbox.held(1)
    assert claim is not None
    assert claim.messages == held
    assert bodies(await inbox.claim(2)) == ["free", "after"]


async def test_a_paused_server_is_unavailable_within_a_bound_and_then_goes_on(
    server: PostgresqlServer, inbox: Inbox
) -> None:
    await inbox.post("before")
    server.pause()
    began = time.monotonic()
    outcomes = await asyncio.gather(
        inbox.post("during"), inbox.listed(), inbox.pop(), return_exceptions=True
    )
    took = time.monotonic() - began
    server.resume()
    assert [type(outcome) for outcome in outcomes] == [Unavailable] * 3
    assert took < BOUND
    await until_posted(inbox, "after")
    # What was in flight may have happened once, and never twice.
    assert (await inbox.listed())[-1] == "after"
    assert (await inbox.listed()).count("during") <= 1


async def test_a_store_that_cannot_be_reached_is_not_opened(
    server: PostgresqlServer, open_at
) -> None:
    server.stop()
    with pytest.raises(Unavailable, match="cannot be opened"):
        await open_at(server.url())


async def test_a_database_that_is_not_there_is_named_as_the_cause(
    server: PostgresqlServer, open_at
) -> None:
    with pytest.raises(Unavailable, match="3D000"):
        await open_at(server.url("nowhere"))

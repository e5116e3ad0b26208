"""A node that dies or stands still in the middle of a transaction holds its queue up for a
moment, not for as long as MongoDB keeps transactions (I5)."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from pymongo.asynchronous.client_session import AsyncClientSession

from nuska.domain.errors import Unavailable
from nuska.domain.messages import QueueRef
from nuska.stores.mongodb.store import MongoStore
from nuska.testing.clock import ManualClock
from nuska.testing.conformance.inbox import Inbox
from nuska.testing.mongodb_server import MongoServer

Open = Callable[[str], Awaitable[MongoStore]]
I5_BOUND = 1.0
"""Seconds in which what nobody holds any more can be had."""
SLACK = 1.0
"""Seconds that this machine may take for what is not waiting."""
START_WITHIN = 30.0

# Opens a claim's transaction and stands still before the commit, when it says so.
STANDS_STILL = """
import asyncio, sys
from pymongo.asynchronous.client_session import AsyncClientSession
from nuska.testing.clock import ManualClock
from nuska.testing.conformance.inbox import Inbox
from nuska.interfaces.storage import StoreOptions
from nuska.stores.mongodb.store import open_mongodb
from nuska.testing.clock import START, seeded_bytes

commit = AsyncClientSession.commit_transaction

async def commit_later(session):
    print("here", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await commit(session)

async def main(url):
    store = await open_mongodb(
        StoreOptions(url=url, data_dir="", now=START, random_bytes=seeded_bytes(7))
    )
    AsyncClientSession.commit_transaction = commit_later
    taken = await Inbox(store, ManualClock()).claim(9, limit=1)
    print(len(taken), flush=True)

asyncio.run(main(sys.argv[1]))
"""


@asynccontextmanager
async def node_in_the_middle(url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Another process that has claimed a message and not committed it."""
    node = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        STANDS_STILL,
        url,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ,
    )
    try:
        assert await said_by(node) == b"here\n"
        yield node
    finally:
        if node.returncode is None:
            node.kill()
        await node.communicate()


async def said_by(node: asyncio.subprocess.Process) -> bytes:
    assert node.stdout is not None
    async with asyncio.timeout(START_WITHIN):
        return await node.stdout.readline()


@pytest.fixture
async def inbox(store: MongoStore) -> Inbox:
    inbox = Inbox(store, ManualClock())
    await inbox.post("one", "two")
    return inbox


async def test_a_node_that_dies_in_a_transaction_holds_its_queue_up_for_a_moment_only(
    server: MongoServer, inbox: Inbox
) -> None:
    async with node_in_the_middle(server.url()) as node:
        node.kill()
        await node.wait()
        began = time.monotonic()
        await inbox.post("three")
        assert [message.body for message in await inbox.claim(1, limit=9)] == [
            b'"one"',
            b'"two"',
            b'"three"',
        ]
        assert time.monotonic() - began < I5_BOUND + SLACK


async def test_a_node_that_slept_in_a_transaction_begins_again_and_takes_nothing_twice(
    server: MongoServer, inbox: Inbox
) -> None:
    async with node_in_the_middle(server.url()) as node:
        node.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        [taken] = await inbox.claim(1, limit=1)
        assert time.monotonic() - began < I5_BOUND + SLACK
        assert taken.body == b'"one"'
        node.send_signal(signal.SIGCONT)
        assert node.stdin is not None
        node.stdin.write(b"\n\n")  # the first commit, and that of the second attempt
        assert await said_by(node) == b"here\n"
        assert await said_by(node) == b"1\n"
    claim = await inbox.held(9)
    assert claim is not None
    assert [message.body for message in claim.messages] == [b'"two"']


async def test_a_sweep_is_held_up_for_a_moment_only(
    server: MongoServer, store: MongoStore, inbox: Inbox
) -> None:
    await inbox.claim(1, limit=1)
    inbox.clock.advance(seconds=3600)  # both are over, and the node that dies holds one
    async with node_in_the_middle(server.url()) as node:
        node.kill()
        await node.wait()
        began = time.monotonic()
        report = await store.sweep(now=inbox.now)
        assert time.monotonic() - began < I5_BOUND + SLACK
        assert report.due or report.removed


async def test_transactions_that_go_on_are_left_alone(
    server: MongoServer, store: MongoStore, open_at: Open, inbox: Inbox
) -> None:
    others = [Inbox(await open_at(server.url()), ManualClock()) for _ in range(3)]
    posts = [box.post(f"{n}") for box in [inbox, *others] for n in range(25)]
    store._forsaken.suspect()
    await asyncio.gather(*posts)
    assert store._forsaken.ended == 0
    assert len(await inbox.listed(limit=1000)) == 102


async def test_whatever_a_commit_ends_with_nothing_is_carried_out_again(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = AsyncClientSession.commit_transaction

    async def commit_and_break(session: AsyncClientSession) -> None:
        await commit(session)
        raise RuntimeError("nobody expected this")

    with monkeypatch.context() as patch:
        patch.setattr(AsyncClientSession, "commit_transaction", commit_and_break)
        outcomes = await asyncio.gather(
            *(inbox.post(f"unknown {n}") for n in range(4)), return_exceptions=True
        )
    assert {type(outcome) for outcome in outcomes} == {Unavailable}
    listed = await inbox.listed()
    assert len(listed) == len(set(listed)) == 6


async def test_one_work_that_breaks_before_the_commit_leaves_the_others_be(
    store: MongoStore, inbox: Inbox
) -> None:
    async def breaks(transaction: object) -> None:
        raise RuntimeError("nobody expected this")

    breaking = store._writer.run(QueueRef("acme", inbox.ref.name), breaks, now=inbox.now)
    outcomes = await asyncio.gather(
        inbox.post("three"), breaking, inbox.post("four"), return_exceptions=True
    )
    assert [isinstance(outcome, RuntimeError) for outcome in outcomes] == [False, True, False]
    assert await inbox.listed() == ["one", "two", "three", "four"]

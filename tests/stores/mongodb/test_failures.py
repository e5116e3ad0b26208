"""A server that is killed, paused or the wrong one: refused clearly, recovered alone."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
from pymongo import MongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import AutoReconnect, OperationFailure

from nuska.domain.errors import Unavailable
from nuska.stores.mongodb.connection import ANSWER_WITHIN
from nuska.stores.mongodb.store import MongoStore
from nuska.testing.clock import ManualClock
from nuska.testing.conformance.inbox import Inbox, bodies
from nuska.testing.mongodb_server import MongoServer

# A client that is closed while it connects leaves its socket to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

Open = Callable[[str], Awaitable[MongoStore]]
BOUND = 2 * ANSWER_WITHIN + 1
"""Seconds after which every request has been answered: those that waited, and their turn."""
RECOVERS_WITHIN = 30.0


@pytest.fixture
def inbox(store: MongoStore) -> Inbox:
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


@pytest.mark.slow
async def test_what_was_acknowledged_is_there_after_the_server_was_killed(
    server: MongoServer, inbox: Inbox
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
            if len(acknowledged) == 100:
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


@pytest.mark.slow
async def test_a_paused_server_is_unavailable_within_a_bound_and_then_goes_on(
    server: MongoServer, inbox: Inbox
) -> None:
    await inbox.post("before")
    held = await inbox.claim(1)
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
    claim = await inbox.held(1)
    assert claim is not None
    assert claim.messages == held
    # What was in flight may have happened once, and never twice.
    assert (await inbox.listed())[-1] == "after"
    assert (await inbox.listed()).count("during") <= 1


async def test_a_commit_of_unknown_outcome_is_no_success_and_is_not_done_again(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = AsyncClientSession.commit_transaction

    async def commit_and_lose_the_answer(session: AsyncClientSession) -> None:
        await commit(session)
        lost = AutoReconnect("the answer was lost")
        lost._add_error_label("UnknownTransactionCommitResult")
        raise lost

    await inbox.post("before")
    with monkeypatch.context() as patch:
        patch.setattr(AsyncClientSession, "commit_transaction", commit_and_lose_the_answer)
        with pytest.raises(Unavailable):
            await inbox.post("unknown")
    assert await inbox.listed() == ["before", "unknown"]


async def test_a_refused_transaction_is_tried_again_and_done_once(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = AsyncClientSession.commit_transaction
    refusals = 3

    async def refuse_a_few(session: AsyncClientSession) -> None:
        nonlocal refusals
        if refusals == 0:
            return await commit(session)
        refusals -= 1
        await session.abort_transaction()
        refused = OperationFailure("write conflict", 112)
        refused._add_error_label("TransientTransactionError")
        raise refused

    monkeypatch.setattr(AsyncClientSession, "commit_transaction", refuse_a_few)
    [message_id] = await inbox.post("once")
    assert refusals == 0
    assert await inbox.listed() == ["once"]
    assert bodies(await inbox.get(message_id)) == ["once"]


async def test_two_nodes_at_one_queue_share_no_claim_and_give_no_place_twice(
    server: MongoServer, open_at: Open, inbox: Inbox
) -> None:
    clock = ManualClock()
    nodes = [inbox, Inbox(await open_at(server.url()), clock)]
    await asyncio.gather(
        *(node.post(f"{number}:{n}") for number, node in enumerate(nodes) for n in range(40))
    )
    everything = await inbox.all()
    assert len({message.position for message in everything}) == 80
    claims = await asyncio.gather(
        *(node.claim(2 * n + m, limit=5) for m, node in enumerate(nodes) for n in range(10))
    )
    taken = [message.id for claim in claims for message in claim]
    assert len(taken) == len(set(taken)) == 80


async def test_two_nodes_dead_letter_each_message_once(
    server: MongoServer, open_at: Open, inbox: Inbox
) -> None:
    nodes = [inbox, Inbox(await open_at(server.url()), ManualClock())]
    ids = await inbox.post(*(str(n) for n in range(30)))
    dead = inbox.beside("dead")
    claims = await asyncio.gather(
        *(
            node.claiming(2 * n + m, limit=10, dead_letters=dead.rule(0))
            for m, node in enumerate(nodes)
            for n in range(3)
        )
    )
    assert sum(claim.dead_lettered for claim in claims) == 30
    assert await inbox.all() == []
    assert [message.id for message in await dead.all()] == ids


async def test_an_index_that_is_otherwise_is_refused_at_the_start(
    server: MongoServer, store: MongoStore, open_at: Open
) -> None:
    with MongoClient(server.url()) as client:
        client["nuska"]["records"].drop_index("due")
        client["nuska"]["records"].create_index("other", name="due")
    with pytest.raises(Unavailable, match="index"):
        await open_at(server.url())


async def test_a_newer_layout_is_refused(
    server: MongoServer, store: MongoStore, open_at: Open
) -> None:
    with MongoClient(server.url()) as client:
        client["nuska"]["about"].update_one({"_id": "store"}, {"$set": {"layout": 99}})
    with pytest.raises(Unavailable, match="newer"):
        await open_at(server.url())


async def test_a_server_that_is_not_there_cannot_be_opened(open_at: Open) -> None:
    with pytest.raises(Unavailable, match="cannot be opened"):
        await open_at("mongodb://127.0.0.1:1/")


@pytest.mark.parametrize("url", ["mongodb://", "mongodb://host:port/", "mongodb://h/?w=many&w"])
async def test_a_wrong_url_is_refused_with_a_sentence(url: str, open_at: Open) -> None:
    with pytest.raises(ValueError, match="MongoDB URL"):
        await open_at(url)

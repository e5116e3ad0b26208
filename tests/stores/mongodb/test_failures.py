"""A server that is killed, paused or the wrong one: refused clearly, recovered alone."""

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterator

import pytest
from pymongo import MongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import AutoReconnect, OperationFailure

from nuska.domain.errors import Unavailable
from nuska.stores.mongodb.connection import ANSWER_WITHIN
from nuska.stores.mongodb.store import MongoStore
from nuska.testing.clock import ManualClock
from nuska.testing.conformance import (
    FailureConformance,
    LostHintConformance,
    NetworkFaultConformance,
    ServiceFailureConformance,
)
from nuska.testing.conformance.inbox import Inbox, bodies
from nuska.testing.mongodb_server import MongoServer, mongodb_server

# A client that is closed while it connects leaves its socket to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

Open = Callable[[str], Awaitable[MongoStore]]


@pytest.fixture(autouse=True)
def nothing_is_left_over() -> Iterator[None]:
    yield
    gc.collect()  # here, where a socket that is left over is expected, and not in another file


@pytest.fixture(scope="module")
def failing_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    with mongodb_server(tmp_path_factory.mktemp("mongodb")) as server:
        yield server


@pytest.mark.slow
class TestMongodb(FailureConformance, LostHintConformance, NetworkFaultConformance):
    BOUND = 2 * ANSWER_WITHIN + 1  # those that waited, and their turn

    @pytest.fixture
    def engine(self, failing_server: MongoServer) -> MongoServer:
        return failing_server


class TestServiceOnMongodb(ServiceFailureConformance):
    SETUP = "mongodb"
    OUTAGE = ANSWER_WITHIN + 1

    @pytest.fixture
    def engine(self, failing_server: MongoServer) -> MongoServer:
        return failing_server


@pytest.fixture
def inbox(store: MongoStore) -> Inbox:
    return Inbox(store, ManualClock())


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


@pytest.mark.parametrize("url", ["mongodb://", "mongodb://host:port/", "mongodb://h/?w=many&w"])
async def test_a_wrong_url_is_refused_with_a_sentence(url: str, open_at: Open) -> None:
    with pytest.raises(ValueError, match="MongoDB URL"):
        await open_at(url)

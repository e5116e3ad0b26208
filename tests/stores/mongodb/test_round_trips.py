"""How often an operation asks the servers, one question after another: its time is made of that."""

import asyncio
from functools import partial

import pytest
from pymongo import AsyncMongoClient
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)

from nuska.domain.messages import DeleteOutcome, QueueRef
from nuska.domain.moments import Duration
from nuska.stores.mongodb import connection, looking
from nuska.stores.mongodb.looking import Reader, Seen
from nuska.stores.mongodb.store import MongoStore
from nuska.testing.clock import ManualClock
from nuska.testing.conformance.announcements import Log
from nuska.testing.conformance.inbox import HOUR, Inbox
from nuska.testing.mongodb_server import MongoServer

from .conftest import Open

OPENED = "findAndModify"
SOON = 20.0


class Asked(CommandListener):
    """The commands that were sent since it was last read."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self.deletes = asyncio.Event()
        """A delete is on its way, or was."""

    def started(self, event: CommandStartedEvent) -> None:
        self._names.append(event.command_name)
        if event.command_name == "delete":
            self.deletes.set()

    def succeeded(self, event: CommandSucceededEvent) -> None:
        pass

    def failed(self, event: CommandFailedEvent) -> None:
        pass

    def read(self) -> list[str]:
        names, self._names = self._names, []
        return names


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    asked = Asked()
    listened_to = partial(AsyncMongoClient, event_listeners=[asked])
    monkeypatch.setattr(connection, "AsyncMongoClient", listened_to)
    monkeypatch.setattr(looking, "RELIED_ON_FOR", Duration(60_000))  # machines that test are slow
    return asked


@pytest.fixture
async def store(server: MongoServer, open_at: Open, asked: Asked) -> MongoStore:
    assert asked
    return await open_at(server.url())


@pytest.fixture
def inbox(store: MongoStore) -> Inbox:
    return Inbox(store, ManualClock())


async def test_a_post_opens_the_queue_inserts_and_commits_also_when_somebody_listens(
    store: MongoStore, inbox: Inbox, asked: Asked
) -> None:
    await inbox.post("first")
    log = Log(store, inbox)
    for listens in (False, True):
        if listens:
            await log.open()
        asked.read()
        await inbox.post("a", "b", "c")
        assert asked.read() == [OPENED, "insert", "commitTransaction"]
    assert await log.bodies() == ["a", "b", "c"]


@pytest.mark.parametrize("claimed", [False, True])
async def test_a_delete_looks_at_the_queue_and_deletes(
    inbox: Inbox, asked: Asked, claimed: bool
) -> None:
    [posted] = await inbox.post("one")
    if claimed:
        await inbox.claim(1, ttl=HOUR)
    asked.read()
    claim = 1 if claimed else None
    assert await inbox.delete(posted, claim=claim) is DeleteOutcome.DELETED
    assert asked.read() == ["find", "delete"]


@pytest.mark.parametrize("claimed", [False, True])
async def test_a_delete_of_many_looks_at_the_queue_while_it_deletes_and_commits(
    inbox: Inbox, asked: Asked, monkeypatch: pytest.MonkeyPatch, claimed: bool
) -> None:
    see = Reader.see

    async def see_when_it_deletes(reader: Reader, ref: QueueRef) -> Seen | None:
        async with asyncio.timeout(SOON):
            await asked.deletes.wait()
        return await see(reader, ref)

    await inbox.post("so that the queue is known")
    ids = await inbox.post(*"abcde")
    if claimed:
        await inbox.claim(1, ttl=HOUR)
    asked.read()
    monkeypatch.setattr(Reader, "see", see_when_it_deletes)
    assert await inbox.delete_many(*ids, claims=[1] if claimed else None)
    assert asked.read() == ["delete", "find", "commitTransaction"]


@pytest.mark.parametrize("claimed", [False, True])
async def test_a_delete_of_some_that_are_gone_is_begun_anew(
    inbox: Inbox, asked: Asked, claimed: bool
) -> None:
    ids = await inbox.post(*"abcde")
    if claimed:
        await inbox.claim(1, ttl=HOUR)
    claims = [1] if claimed else None
    assert await inbox.delete_many(ids[2], claims=claims)
    asked.read()
    assert await inbox.delete_many(*ids, claims=claims)
    names = asked.read()
    assert sorted(names[:2]) == ["delete", "find"]
    whether_others_are_there = ["find"] if claimed else []
    assert names[2:] == [
        "abortTransaction",
        *("find", "delete", *whether_others_are_there),
        "commitTransaction",
    ]


async def test_a_trim_is_one_transaction_of_keys(
    store: MongoStore, inbox: Inbox, asked: Asked
) -> None:
    log = Log(store, inbox)
    opened = await log.open()
    await inbox.post("a", "b")
    asked.read()
    await log.trim((await log.all())[-1].position)
    assert asked.read()[2:] == [OPENED, "find", "delete", "commitTransaction"]
    await log.trim(opened.last)
    assert asked.read() == [OPENED, "find", "abortTransaction"]

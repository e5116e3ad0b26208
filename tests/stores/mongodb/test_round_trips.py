"""How often an operation asks the servers, one question after another: its time is made of that."""

from functools import partial

import pytest
from pymongo import AsyncMongoClient
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)

from nuska.domain.messages import DeleteOutcome
from nuska.domain.moments import Duration
from nuska.stores.mongodb import connection, looking
from nuska.stores.mongodb.store import MongoStore
from nuska.testing.clock import ManualClock
from nuska.testing.conformance.announcements import Log
from nuska.testing.conformance.inbox import HOUR, Inbox
from nuska.testing.mongodb_server import MongoServer

from .conftest import Open

OPENED = "findAndModify"


class Asked(CommandListener):
    """The commands that were sent since it was last read."""

    def __init__(self) -> None:
        self._names: list[str] = []

    def started(self, event: CommandStartedEvent) -> None:
        self._names.append(event.command_name)

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
async def test_a_delete_of_many_looks_at_the_queue_deletes_and_commits(
    inbox: Inbox, asked: Asked, claimed: bool
) -> None:
    ids = await inbox.post(*"abcde")
    if claimed:
        await inbox.claim(1, ttl=HOUR)
    asked.read()
    assert await inbox.delete_many(*ids, claims=[1] if claimed else None)
    assert asked.read() == ["find", "delete", "commitTransaction"]


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

"""A MongoDB store as a ``Store``: opened, asked, swept, closed.

connection.py   the client and its bounds      writer.py, transaction.py   writes
looking.py      reads                          records.py, headers.py, indexes.py   what is stored
timeline.py     the time of all nodes          hints.py        what they tell each other
announcements.py   what was posted while somebody listens (interfaces/announcing.py)
queues.py   messages.py   deleting.py   claims.py     the promises of interfaces/storage.py
transfers.py    queues carried out and in      catalogue.py    records (interfaces/pooling.py)
"""

from contextlib import suppress

from pymongo.errors import OperationFailure, PyMongoError

from nuska.domain.errors import Unavailable
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment
from nuska.interfaces.storage import Capabilities, Hear, RandomBytes, StoreOptions, SweepReport
from nuska.stores.mongodb.announcements import MongoAnnouncements
from nuska.stores.mongodb.catalogue import MongoRecords
from nuska.stores.mongodb.claims import MongoClaims
from nuska.stores.mongodb.connection import Connection, bounded, open_client, options_of
from nuska.stores.mongodb.durability import Promise, check, promise_of
from nuska.stores.mongodb.forsaken import Forsaken
from nuska.stores.mongodb.hints import Hints
from nuska.stores.mongodb.indexes import make_indexes
from nuska.stores.mongodb.looking import Reader
from nuska.stores.mongodb.messages import MongoMessages
from nuska.stores.mongodb.queues import MongoQueues
from nuska.stores.mongodb.records import Document
from nuska.stores.mongodb.sweeping import Sweeper
from nuska.stores.mongodb.timeline import Timeline
from nuska.stores.mongodb.transfers import MongoTransfers
from nuska.stores.mongodb.writer import Writer

NAMES = frozenset({"FIFO", "CLAIMS", "DURABILITY", "AOD", "HIGH_THROUGHPUT"})


class MongoStore:
    """``PoolableStore`` and ``AnnouncingStore`` on MongoDB."""

    def __init__(
        self,
        connection: Connection,
        timeline: Timeline,
        hints: Hints,
        promise: Promise,
        latest: Moment,
        random_bytes: RandomBytes,
    ) -> None:
        self._connection = connection
        self._timeline = timeline
        self._hints = hints
        self._promise = promise
        self._is_closed = False
        self._forsaken = Forsaken(connection.client)
        self._writer = Writer(connection, self._forsaken, latest)
        reader = Reader(connection, self._writer)
        self.queues = MongoQueues(connection, self._writer, reader)
        self.messages = MongoMessages(self._writer, reader, random_bytes)
        self.claims = MongoClaims(self._writer, reader)
        self.announcements = MongoAnnouncements(self._writer, reader)
        self.records = MongoRecords(connection)
        self.transfers = MongoTransfers(self._writer, reader)
        self._sweeper = Sweeper(connection, self._writer, timeline)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(names=NAMES, durable=True, shared=True, durability=self._promise.level)

    @property
    def durability(self) -> str:
        return self._promise.sentence

    @property
    def latest(self) -> Moment:
        return self._writer.latest

    async def ping(self) -> None:
        if self._is_closed:
            raise Unavailable("The MongoDB store is closed.")
        with bounded():
            await self._connection.client.admin.command("ping")

    async def time(self) -> Moment:
        with bounded():
            return await self._timeline.time(self._connection.hello)

    def tell(self, queue: QueueRef, messages: int) -> None:
        self._hints.tell(queue, messages)

    async def hear_others(self, hear: Hear) -> None:
        await self._hints.hear_others(hear)

    async def sweep(self, *, now: Moment) -> SweepReport:
        with self._forsaken.suspected():
            return await self._sweeper.sweep(now)

    async def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        await self._writer.close()
        await self._hints.close()
        await self._forsaken.close()
        with suppress(Unavailable), bounded():
            await self._timeline.note(self._writer.latest)
        await self._connection.close()


async def open_mongodb(options: StoreOptions) -> MongoStore:
    """Connect, see that the servers can do what is needed, and make what is missing."""
    connection = open_client(options.url)
    timeline, hints = Timeline(connection), Hints(connection)
    try:
        with bounded():
            hello = await connection.hello()
            promise = promise_of(hello, await _members_of_shards(connection, hello))
            check(promise, options.required, options_of(options.url))
            await make_indexes(connection.records)
            await hints.open()
            latest = await timeline.open()
    except BaseException as error:
        await connection.close()
        if isinstance(error.__cause__, PyMongoError):
            cause = error.__cause__
            words = str(cause).partition(", full error:")[0]
            raise Unavailable(f"The MongoDB store cannot be opened: {words}") from cause
        raise
    return MongoStore(connection, timeline, hints, promise, latest, options.random_bytes)


async def _members_of_shards(connection: Connection, hello: Document) -> list[int] | None:
    """How many members each shard has; None when we may not know, or there are no shards."""
    if hello.get("msg") != "isdbgrid":
        return None
    try:
        answer = await connection.client.admin.command("listShards")
    except OperationFailure:
        return None
    return [shard["host"].count(",") + 1 for shard in answer["shards"]]

"""A MongoDB store as a ``Store``: opened, asked, swept, closed.

connection.py   the client and its bounds      writer.py, transaction.py   writes
looking.py      reads                          records.py, headers.py, indexes.py   what is stored
queues.py   messages.py   claims.py            the promises of interfaces/storage.py
"""

from contextlib import suppress

from pymongo.errors import PyMongoError

from nuska.domain.errors import Unavailable
from nuska.domain.moments import Moment
from nuska.interfaces.storage import Capabilities, StoreOptions, SweepReport
from nuska.stores.mongodb.claims import MongoClaims
from nuska.stores.mongodb.connection import Connection, bounded, open_client
from nuska.stores.mongodb.indexes import make_indexes
from nuska.stores.mongodb.looking import Reader
from nuska.stores.mongodb.messages import MongoMessages
from nuska.stores.mongodb.queues import MongoQueues
from nuska.stores.mongodb.records import Document
from nuska.stores.mongodb.sweeping import Sweeper
from nuska.stores.mongodb.timeline import Timeline
from nuska.stores.mongodb.writer import Writer

NAMES = frozenset({"FIFO", "CLAIMS", "DURABILITY", "AOD", "HIGH_THROUGHPUT"})
OLDEST_WIRE_VERSION = 17
"""That of MongoDB 6.0."""


class MongoStore:
    """``Store`` on MongoDB."""

    capabilities = Capabilities(names=NAMES, durable=True, shared=True)

    def __init__(
        self,
        connection: Connection,
        timeline: Timeline,
        durability: str,
        options: StoreOptions,
    ) -> None:
        self._connection = connection
        self._timeline = timeline
        self._is_closed = False
        self.durability = durability
        self._writer = Writer(connection, options.now)
        reader = Reader(connection, self._writer)
        self.queues = MongoQueues(connection, self._writer, reader)
        self.messages = MongoMessages(self._writer, reader, options.random_bytes)
        self.claims = MongoClaims(self._writer, reader)
        self._sweeper = Sweeper(connection, self._writer, timeline)

    @property
    def latest(self) -> Moment:
        return self._writer.latest

    async def ping(self) -> None:
        if self._is_closed:
            raise Unavailable("The MongoDB store is closed.")
        with bounded():
            await self._connection.client.admin.command("ping")

    async def sweep(self, *, now: Moment) -> SweepReport:
        return await self._sweeper.sweep(now)

    async def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        await self._writer.close()
        with suppress(Unavailable), bounded():
            await self._timeline.note(self._writer.latest)
        await self._connection.close()


async def open_mongodb(options: StoreOptions) -> MongoStore:
    """Connect, see that the servers can do what is needed, and make what is missing."""
    connection = open_client(options.url)
    timeline = Timeline(connection)
    try:
        with bounded():
            durability = _durability(await connection.client.admin.command("hello"))
            await make_indexes(connection.records)
            latest = await timeline.open(options.now)
    except BaseException as error:
        await connection.close()
        if isinstance(error.__cause__, PyMongoError):
            cause = error.__cause__
            raise Unavailable(f"The MongoDB store cannot be opened: {cause}") from cause
        raise
    store = MongoStore(connection, timeline, durability, options)
    store._writer.moment(latest)
    return store


def _durability(hello: Document) -> str:
    """What a majority means here; refuses servers without transactions."""
    if hello.get("maxWireVersion", 0) < OLDEST_WIRE_VERSION:
        raise Unavailable("The MongoDB store needs MongoDB 6.0 or later.")
    if hello.get("msg") == "isdbgrid":
        return "every acknowledged write is on the disks of a majority of its shard's members"
    if "setName" not in hello:
        raise Unavailable(
            "The MongoDB store needs a replica set (one member is enough) or a sharded cluster; "
            "this server is neither."
        )
    members = len(hello.get("hosts", []))
    if members == 1:
        return "every acknowledged write is on the disk of the one MongoDB server"
    return f"every acknowledged write is on the disks of a majority of {members} MongoDB servers"

"""A PostgreSQL store as a ``Store``: opened, asked, swept, closed.

database.py   connections, transactions, retries     line.py      posts that wait together
locking.py    the row of a queue                     migrations/  the tables
queues.py   messages.py   claims.py                  the promises of interfaces/storage.py
"""

from contextlib import suppress

from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from nuska.domain.errors import Unavailable
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment
from nuska.interfaces.storage import Capabilities, Hear, StoreOptions, SweepReport
from nuska.stores.sql.claims import SqlClaims
from nuska.stores.sql.database import Database
from nuska.stores.sql.durability import Durability, durability
from nuska.stores.sql.hints import Hints, Notifications
from nuska.stores.sql.messages import SqlMessages
from nuska.stores.sql.migrations import prepare
from nuska.stores.sql.queues import SqlQueues
from nuska.stores.sql.sweeping import Sweeper
from nuska.stores.sql.tables import timeline
from nuska.stores.sql.url import parse

MIGRATE_WITHIN = 3600.0
"""Seconds: rewriting a large table takes its time."""
SERVER_TIME = text("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)")
NAMES = frozenset({"FIFO", "CLAIMS", "AOD", "HIGH_THROUGHPUT"})


class SqlStore:
    """``Store`` on PostgreSQL."""

    def __init__(self, database: Database, found: Durability, options: StoreOptions) -> None:
        self._database = database
        durable = found.survives_restart
        self.capabilities = Capabilities(
            names=NAMES | {"DURABILITY"} if durable else NAMES, durable=durable, shared=True
        )
        self.durability = found.sentence
        self.queues = SqlQueues(database)
        self.messages = SqlMessages(database, options.random_bytes)
        self.claims = SqlClaims(database)
        self._sweeper = Sweeper(database)
        self._hints: Hints = Notifications(database)
        self._closed = False

    @property
    def latest(self) -> Moment:
        return self._database.latest

    async def ping(self) -> None:
        async def work(connection: AsyncConnection) -> None:
            await connection.execute(select(1))

        await self._database.ask(work)

    async def time(self) -> Moment:
        """What the server's clock says."""

        async def work(connection: AsyncConnection) -> Moment:
            return Moment(int((await connection.execute(SERVER_TIME)).scalar_one()))

        return await self._database.ask(work)

    def tell(self, queue: QueueRef, messages: int) -> None:
        self._hints.tell(queue, messages)

    async def listen(self, hear: Hear) -> None:
        await self._hints.listen(hear)

    async def sweep(self, *, now: Moment) -> SweepReport:
        return await self._sweeper.sweep(now)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await self.messages.close()
        await self._hints.close()
        with suppress(Unavailable):
            await self._database.write(self._keep_moment)
        await self._database.close()

    async def _keep_moment(self, connection: AsyncConnection) -> None:
        """What the next opening starts from."""
        latest = self._database.latest
        await connection.execute(
            update(timeline).where(timeline.c.last_moment < latest).values(last_moment=latest)
        )


async def open_sql(options: StoreOptions) -> SqlStore:
    """Connect, set up an empty database, and see what the server promises."""
    database = Database(parse(options.url))
    try:
        await database.write(_prepare)
        database.moment(await database.read(_last_moment))
        found = await database.read(durability)
    except BaseException as error:
        await database.close()
        if isinstance(error, Unavailable) and error.__cause__ is not None:
            raise Unavailable(f"The PostgreSQL store cannot be opened: {error}") from error
        raise
    return SqlStore(database, found, options)


async def migrate_sql(url: str) -> bool:
    """Bring a database to the tables of this version; False when it has them already."""
    database = Database(parse(url), answer_within=MIGRATE_WITHIN)
    try:
        return await database.write(_migrate)
    finally:
        await database.close()


async def _migrate(connection: AsyncConnection) -> bool:
    return await connection.run_sync(prepare, migrate=True)


async def _prepare(connection: AsyncConnection) -> None:
    await connection.run_sync(prepare, migrate=False)


async def _last_moment(connection: AsyncConnection) -> int:
    return int((await connection.execute(select(func.max(timeline.c.last_moment)))).scalar_one())

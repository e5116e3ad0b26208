"""A store on a database server as a ``Store``: opened, asked, swept, closed.

database.py   connections, transactions, retries     line.py      posts that wait together
locking.py    the row of a queue                     migrations/  the tables
promises.py   what a write survives                  hints.py     wake-ups between nodes
dialects/     what servers do differently
queues.py   messages.py   claims.py                  the promises of interfaces/storage.py
announcing.py                                        the promises of interfaces/announcing.py
records.py  transfers.py                             the promises of interfaces/pooling.py
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from nuska.domain.errors import Unavailable
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment
from nuska.ending import ended
from nuska.interfaces.storage import Capabilities, Durability, Hear, StoreOptions, SweepReport
from nuska.stores.sql.announcing import SqlAnnouncements
from nuska.stores.sql.at_once import AtOnce, PostgresqlAtOnce
from nuska.stores.sql.blocks import MariadbAtOnce
from nuska.stores.sql.claims import SqlClaims
from nuska.stores.sql.database import Database
from nuska.stores.sql.dialects import named
from nuska.stores.sql.hints import Hints, Looking, Notifications
from nuska.stores.sql.messages import SqlMessages
from nuska.stores.sql.migrations import prepare
from nuska.stores.sql.polling import Polling
from nuska.stores.sql.promises import Demand, Promise, TooWeak
from nuska.stores.sql.queues import SqlQueues
from nuska.stores.sql.records import SqlRecords
from nuska.stores.sql.sweeping import Sweeper
from nuska.stores.sql.tables import timeline
from nuska.stores.sql.taking import Takers
from nuska.stores.sql.transfers import SqlTransfers
from nuska.stores.sql.url import parse

MIGRATE_WITHIN = 3600.0
"""Seconds: rewriting a large table takes its time."""
LOOK_AT_SETTINGS_EVERY = 10.0
"""Seconds; somebody may change them."""
HINTS: dict[str, Callable[[Database], Hints]] = {
    "postgresql": Notifications,
    "mysql": Polling,
}
"""What carries them, by the kind of server."""
AT_ONCE: dict[str, Callable[[Database], AtOnce]] = {
    "postgresql": PostgresqlAtOnce,
    "mysql": MariadbAtOnce,
}
"""By the kind of server."""
NAMES = frozenset({"FIFO", "CLAIMS", "AOD", "HIGH_THROUGHPUT"})

log = logging.getLogger("nuska.stores.sql")


class SqlStore:
    """``Store`` on one database."""

    def __init__(
        self, database: Database, demand: Demand, promise: Promise, options: StoreOptions
    ) -> None:
        self._database = database
        self._demand = demand
        self._promise = promise
        self.queues = SqlQueues(database)
        self._at_once = AT_ONCE[database.dialect.migrations](database)
        self._takers = Takers(database)
        self.messages = SqlMessages(database, self._at_once, self._takers, options.random_bytes)
        self.claims = SqlClaims(database, self._at_once, self._takers)
        self.records = SqlRecords(database, options.random_bytes)
        self.announcements = SqlAnnouncements(database)
        self.transfers = SqlTransfers(database, self.announcements)
        self._sweeper = Sweeper(database)
        carrier = HINTS[database.dialect.migrations]
        self._hints: Hints = carrier(database) if database.carries_hints else Looking()
        self._looking = asyncio.create_task(self._look_at_settings(), name="sql settings")
        self._closed = False

    @property
    def capabilities(self) -> Capabilities:
        durable = self._promise.level is not Durability.NONE
        return Capabilities(
            names=NAMES | {"DURABILITY"} if durable else NAMES,
            durable=durable,
            shared=True,
            durability=self._promise.level,
        )

    @property
    def durability(self) -> str:
        return self._promise.sentence

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
            return Moment(int((await connection.execute(self._database.dialect.time)).scalar_one()))

        return await self._database.ask(work)

    def tell(self, queue: QueueRef, messages: int) -> None:
        self._hints.tell(queue, messages)

    async def hear_others(self, hear: Hear) -> None:
        await self._hints.hear_others(hear)

    async def sweep(self, *, now: Moment) -> SweepReport:
        return await self._sweeper.sweep(now)

    async def look_at_settings(self) -> None:
        """See what the server promises now; one that is too weak is not written to."""
        try:
            promise = await self._database.ask(self._demand.promise)
        except Unavailable as error:
            if isinstance(error.__cause__, TooWeak):
                await self._database.renew()
            raise
        if promise != self._promise:
            log.warning(
                "the store's durability has changed", extra={"durability": promise.sentence}
            )
        self._promise = promise

    async def _look_at_settings(self) -> None:
        while True:
            await asyncio.sleep(LOOK_AT_SETTINGS_EVERY)
            try:
                await self.look_at_settings()
            except Unavailable as error:  # requests say so
                if isinstance(error.__cause__, TooWeak):
                    reason = str(error.__cause__)
                    log.error("the store promises less than is demanded", extra={"reason": reason})

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await ended(self._looking)
        await self.messages.close()
        await self._at_once.close()
        await self._takers.close()
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
    url = parse(options.url)
    dialect = named(url.drivername)
    demand = dialect.demand(options.required, url)
    database = Database(url, demand)
    try:
        await database.ask(dialect.check_server)
        await database.write(_prepare)
        database.moment(await database.write(_last_moment))
        promise = await database.ask(demand.promise)
    except BaseException as error:
        await database.close()
        cause = error.__cause__
        if isinstance(error, Unavailable) and isinstance(cause, TooWeak):
            raise Unavailable(str(cause)) from cause
        if isinstance(error, Unavailable) and cause is not None:
            raise Unavailable(f"The {dialect.title} store cannot be opened: {error}") from error
        raise
    return SqlStore(database, demand, promise, options)


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
    """Written anew: an opening that cannot write as durably as is demanded does not succeed."""
    await connection.execute(update(timeline).values(last_moment=timeline.c.last_moment))
    return int((await connection.execute(select(func.max(timeline.c.last_moment)))).scalar_one())

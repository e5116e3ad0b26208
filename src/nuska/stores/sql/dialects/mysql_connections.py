"""Connections to MariaDB and MySQL.

Two pools, one for transactions and one for snapshots, and the driver's own for what is one
statement or one block; these and the snapshots' commit by themselves. To turn a connection
from one into the other would cost round trips each time.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

from sqlalchemy import URL, event, exc
from sqlalchemy.exc import DBAPIError, DisconnectionError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from nuska.stores.sql.dialects.encryption import OPTIONS, check_encryption, encryption
from nuska.stores.sql.dialects.interface import (
    CONNECT_WITHIN,
    IDLE_AT_MOST,
    LOCKED_AT_MOST,
    TRANSACTIONS,
)
from nuska.stores.sql.dialects.kept import KeptConnections
from nuska.stores.sql.dialects.mysql_durability import MysqlDemand
from nuska.stores.sql.promises import Demand

UNENCRYPTED = "disable"
"""And what holds where nothing is said."""
READING_CONNECTIONS = 8
"""For what only reads."""
PREPARED_AT_MOST = 16
"""Statements that a connection has the server keep, those of ``statements``; blocks are never
prepared."""
UNUSED_AT_MOST = 20
"""Seconds after which an idle connection is replaced rather than used. MySQL cannot give up
the transaction of a silent node alone, so there a connection may not be silent for longer
than ``SILENT_AT_MOST``, in a transaction or not."""
SILENT_AT_MOST = 30
SESSION = (
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00', "
    f"innodb_lock_wait_timeout = {LOCKED_AT_MOST}, lock_wait_timeout = {LOCKED_AT_MOST}"
    f"/*M!100600 , idle_transaction_timeout = {IDLE_AT_MOST} */"
    f"/*!80000 , wait_timeout = {SILENT_AT_MOST} */"
)
"""What must not depend on how a server is set up: nothing is cut to fit, no time has a zone,
no wait is without end. The last two lines are for MariaDB and for MySQL alone."""

# It repeats the server's warnings, which may quote what a statement carried.
logging.getLogger("asyncmy").setLevel(logging.CRITICAL)


class MysqlConnections:
    """``Connections`` of two pools."""

    def __init__(self, url: URL, demand: Demand | None, wait_at_most: float) -> None:
        arguments = {
            "connect_timeout": CONNECT_WITHIN,
            "init_command": SESSION,
            "program_name": "nuska",
            "ssl": encryption(url),
            "async_creator_fn": _connect,
        }
        bare = url.set(query={})
        self._writing = create_async_engine(
            bare,
            isolation_level="READ COMMITTED",
            pool_size=TRANSACTIONS,
            max_overflow=0,
            pool_timeout=wait_at_most,
            pool_reset_on_return=None,  # a transaction ends by commit or rollback, here below
            connect_args=arguments,
        )
        self._reading = create_async_engine(
            bare,
            isolation_level="AUTOCOMMIT",
            skip_autocommit_rollback=True,
            pool_size=READING_CONNECTIONS,
            max_overflow=0,
            pool_timeout=wait_at_most,
            connect_args=arguments,
        )
        for engine in (self._writing, self._reading):
            event.listen(engine.sync_engine, "checkout", _refuse_closed)
            if isinstance(demand, MysqlDemand):
                event.listen(engine.sync_engine, "connect", demand.make_ready)
        event.listen(self._reading.sync_engine, "connect", _see_snapshots)
        bare_engine = create_async_engine(
            bare,
            isolation_level="READ COMMITTED",
            poolclass=NullPool,
            pool_reset_on_return=None,  # whoever lets go of one has ended what it was in
            connect_args={**arguments, "autocommit": True, "stmt_cache_size": PREPARED_AT_MOST},
        )
        if isinstance(demand, MysqlDemand):
            event.listen(bare_engine.sync_engine, "connect", demand.make_ready)
        self._kept = KeptConnections(bare_engine, usable=_is_usable, end=lambda one: one.close())
        self._errors: Any = import_module("asyncmy.errors")  # others need not have it
        self._apart = create_async_engine(
            bare,
            isolation_level="AUTOCOMMIT",
            poolclass=NullPool,
            pool_reset_on_return=None,
            connect_args=arguments,
        )

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        async with self._writing.connect() as connection, connection.begin():
            yield connection

    @asynccontextmanager
    async def bare(self) -> AsyncIterator[Any]:
        errors = self._errors
        try:
            async with self._kept.one(harmless=(errors.MySQLError,)) as kept:
                try:
                    yield kept.driver
                except errors.MySQLError:
                    if not kept.driver._stream_broken:  # a block that has begun a transaction
                        await kept.driver.rollback()
                    raise
        except errors.MySQLError as error:
            kind: type[DBAPIError] = getattr(exc, type(error).__name__, OperationalError)
            raise kind(None, None, error) from error

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        async with self._reading.connect() as connection:
            try:
                await connection.exec_driver_sql(
                    "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"
                )
                yield connection
                await connection.exec_driver_sql("COMMIT")
            except BaseException:
                await connection.invalidate()
                raise

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[AsyncConnection]:
        async with self._reading.connect() as connection:
            yield connection

    @asynccontextmanager
    async def doing(self) -> AsyncIterator[AsyncConnection]:
        async with self.writing() as connection:
            yield connection

    def apart(self) -> AsyncConnection:
        return self._apart.connect()

    async def close(self) -> None:
        await self._kept.close()
        await self._writing.dispose()
        await self._reading.dispose()


def check_options(url: URL) -> None:
    """Raise ``ValueError`` for what an address may not say."""
    unknown = sorted(set(url.query) - OPTIONS)
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no option; known are {', '.join(sorted(OPTIONS))}")
    check_encryption(url, [UNENCRYPTED])
    if not url.username:
        raise ValueError("the address names no user")


async def _connect(**arguments: Any) -> Any:
    """A connection of the driver's. Where the server ends one while it is being made, as it does
    when it is about to stop, the driver misses the socket, and that is no error of its own."""
    try:
        return await import_module("asyncmy").connect(**arguments)
    except RuntimeError as error:
        raise ConnectionResetError("the server ended the connection at once") from error


def _refuse_closed(connection: Any, _record: object, _proxy: object) -> None:
    """A connection that the server has ended while it was idle is replaced, not used."""
    if not _is_usable(connection.driver_connection):
        raise DisconnectionError


def _is_usable(driver: Any) -> bool:
    idle = asyncio.get_running_loop().time() - driver.last_usage
    return not driver._stream_broken and idle <= UNUSED_AT_MOST


def _see_snapshots(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    cursor.close()

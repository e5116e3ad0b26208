"""Connections and transactions: each of bounded length, retried only when it is certain that
nothing of it has happened.

A deadlock or a failed serialization is such a case: the server has rolled back and says so.
A connection that is lost, or silent for too long, is not: the transaction may have been
committed. It is answered with ``Unavailable`` and never repeated here, for a repeated post
would be a second message.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from sqlalchemy import URL, event
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    DisconnectionError,
    IntegrityError,
    ProgrammingError,
    SQLAlchemyError,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from nuska.domain.errors import Unavailable
from nuska.domain.moments import Moment
from nuska.stores.sql.postgresql_durability import PostgresqlDemand, has_confirmed
from nuska.stores.sql.promises import TooWeak
from nuska.stores.sql.url import without_own_options

T = TypeVar("T")
Work = Callable[[AsyncConnection], Awaitable[T]]

CONNECTIONS = 16
"""Transactions a node has under way at most; more wait for one of them."""
CONNECT_WITHIN = 3.0
"""Seconds."""
ANSWER_WITHIN = 5.0
"""Seconds a transaction may take, its wait for a connection and its repetitions included."""
LOCKED_AT_MOST = 3_000
"""Milliseconds a statement waits for a lock."""
IDLE_AT_MOST = 10_000
"""Milliseconds until the server gives up a transaction whose node has fallen silent, so that
its locks are in nobody's way."""
LISTENER = "nuska listener"
"""What the connection calls itself on which a node hears others."""
ATTEMPTS = 8
PAUSE = 0.005
"""Seconds before a second attempt, at most; doubled with each."""
ROLLED_BACK = frozenset({"40001", "40P01"})
"""SQLSTATEs that say that nothing has happened: serialization failure, deadlock."""
BUGS = (IntegrityError, ProgrammingError, DataError)
"""What the server says when it was asked for nonsense."""


class Database:
    """A pool of connections to one database, and the node's end of its timeline."""

    def __init__(
        self,
        url: URL,
        demand: PostgresqlDemand | None = None,
        *,
        answer_within: float = ANSWER_WITHIN,
    ) -> None:
        url = without_own_options(url)
        engine = create_async_engine(
            url,
            isolation_level="READ COMMITTED",
            pool_size=CONNECTIONS,
            max_overflow=0,
            pool_timeout=ANSWER_WITHIN,
            connect_args=_connect_args("nuska"),
        )
        event.listen(engine.sync_engine, "checkout", _refuse_closed)
        if demand is not None:
            event.listen(engine.sync_engine, "connect", demand.make_ready)
        self._engine: AsyncEngine = engine
        self._snapshots = engine.execution_options(isolation_level="REPEATABLE READ")
        self._statements = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._apart = create_async_engine(
            url,
            isolation_level="AUTOCOMMIT",
            poolclass=NullPool,
            connect_args=_connect_args(LISTENER),
        )
        self._closed = False
        self._answer_within = answer_within
        self.latest = Moment(0)

    def moment(self, now: int) -> Moment:
        """The moment of an operation of which the caller, or a queue, says ``now``."""
        if now > self.latest:
            self.latest = Moment(now)
        return self.latest

    async def write(self, work: Work[T]) -> T:
        """Do ``work`` in a transaction; returns when it is committed.

        ``work`` may run several times, each on what the one before has left: nothing.
        """
        return await self._bounded(self._attempts(work))

    async def read(self, work: Work[T]) -> T:
        """Do ``work`` on one unchanging state of the database."""
        return await self._bounded(self._once(self._snapshots, work))

    async def ask(self, work: Work[T]) -> T:
        """Do ``work``, which is one reading statement: one round trip instead of three."""
        return await self._bounded(self._once(self._statements, work))

    def connection_apart(self) -> AsyncConnection:
        """A new connection that no transaction uses, to be opened and closed by ``async with``."""
        return self._apart.connect()

    async def renew(self) -> None:
        """Let go of the connections, for new ones that are looked at before they are used."""
        await self._engine.dispose()

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await self._engine.dispose()

    async def _attempts(self, work: Work[T]) -> T:
        for attempt in range(ATTEMPTS - 1):
            try:
                return await self._once(self._engine, work)
            except DBAPIError as error:
                if _state(error) not in ROLLED_BACK:
                    raise
            await asyncio.sleep(random.uniform(0, PAUSE * 2**attempt))  # noqa: S311  not a secret
        return await self._once(self._engine, work)

    async def _once(self, engine: AsyncEngine, work: Work[T]) -> T:
        async with engine.connect() as connection:
            async with connection.begin():
                done = await work(connection)
            if not has_confirmed(connection.sync_connection.info):  # type: ignore[union-attr]
                raise Unavailable(
                    "The database did not confirm this as demanded: it may or may not last."
                )
            return done

    async def _bounded(self, doing: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._answer_within):
                return await doing
        except BUGS:
            raise
        except TimeoutError as error:
            raise Unavailable("The database does not answer.") from error
        except TooWeak as error:
            raise Unavailable("The database promises less than is demanded.") from error
        except (SQLAlchemyError, OSError) as error:
            raise unavailable(error) from error


def _connect_args(name: str) -> dict[str, Any]:
    """What is asked of each connection; ``name`` is what the server's list of them shows."""
    return {
        "timeout": CONNECT_WITHIN,
        "server_settings": {
            "application_name": name,
            "lock_timeout": str(LOCKED_AT_MOST),
            "idle_in_transaction_session_timeout": str(IDLE_AT_MOST),
        },
    }


def unavailable(error: BaseException) -> Unavailable:
    """What callers are told; nothing of what the statement carried."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    state = _state(error)
    return Unavailable(f"The database cannot do this now ({state or type(cause).__name__}).")


def _state(error: BaseException) -> str:
    """The server's own code for what went wrong, if it was the server who said so."""
    return str(getattr(getattr(error, "orig", None), "sqlstate", None) or "")


def _refuse_closed(connection: Any, _record: object, _proxy: object) -> None:
    """A connection that the server has ended while it was idle is replaced, not used."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError

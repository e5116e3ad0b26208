"""Connections and transactions: each of bounded length, retried only when it is certain that
nothing of it has happened.

A deadlock or a failed serialization is such a case: the server has rolled back and says so.
A connection that is lost, or silent for too long, is not: the transaction may have been
committed. It is answered with ``Unavailable`` and never repeated here, for a repeated post
would be a second message.
"""

import asyncio
import random
import ssl
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from sqlalchemy import URL
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    ProgrammingError,
    SQLAlchemyError,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from nuska.domain.errors import Unavailable
from nuska.domain.moments import Moment
from nuska.stores.sql.dialects import named
from nuska.stores.sql.promises import Demand, TooWeak

T = TypeVar("T")
C = TypeVar("C")
Work = Callable[[AsyncConnection], Awaitable[T]]

ANSWER_WITHIN = 5.0
"""Seconds a transaction may take, its wait for a connection and its repetitions included."""
ATTEMPTS = 8
PAUSE = 0.005
"""Seconds before a second attempt, at most; doubled with each."""
BUGS = (IntegrityError, ProgrammingError, DataError)
"""What the server says when it was asked for nonsense."""


class Database:
    """A pool of connections to one database, and the node's end of its timeline."""

    def __init__(
        self,
        url: URL,
        demand: Demand | None = None,
        *,
        answer_within: float = ANSWER_WITHIN,
    ) -> None:
        self.dialect = named(url.drivername)
        self.carries_hints = self.dialect.carries_hints(url)
        self._connections = self.dialect.connect(url, demand, ANSWER_WITHIN)
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
        return await self._bounded(self._attempts(self._connections.writing, work))

    async def do(self, work: Work[T]) -> T:
        """Do ``work``, which is one writing statement, and committed with it."""
        return await self._bounded(self._attempts(self._connections.doing, work))

    async def do_bare(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """``do`` on the driver's own connection."""
        return await self._bounded(self._attempts(self._connections.bare, work))

    async def read(self, work: Work[T]) -> T:
        """Do ``work`` on one unchanging state of the database."""
        return await self._bounded(self._once(self._connections.reading, work))

    async def ask(self, work: Work[T]) -> T:
        """Do ``work``, which is one reading statement: one round trip instead of three."""
        return await self._bounded(self._once(self._connections.asking, work))

    def connection_apart(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A new connection that no transaction uses."""
        return self._connections.apart()

    async def renew(self) -> None:
        """Let go of the connections, for new ones that are looked at before they are used."""
        await self._connections.close()

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await self._connections.close()

    async def _attempts(
        self,
        connect: Callable[[], AbstractAsyncContextManager[C]],
        work: Callable[[C], Awaitable[T]],
    ) -> T:
        for attempt in range(ATTEMPTS - 1):
            try:
                return await self._once(connect, work)
            except DBAPIError as error:
                if not self.dialect.nothing_happened(error):
                    raise
            await asyncio.sleep(random.uniform(0, PAUSE * 2**attempt))  # noqa: S311  not a secret
        return await self._once(connect, work)

    async def _once(
        self,
        connect: Callable[[], AbstractAsyncContextManager[C]],
        work: Callable[[C], Awaitable[T]],
    ) -> T:
        async with connect() as connection:
            return await work(connection)

    async def _bounded(self, doing: Awaitable[T]) -> T:
        bound = asyncio.timeout(self._answer_within)
        try:
            async with bound:
                return await doing
        except BUGS:
            raise
        except TimeoutError as error:
            raise Unavailable("The database does not answer.") from error
        except TooWeak as error:
            raise Unavailable("The database promises less than is demanded.") from error
        except (SQLAlchemyError, OSError) as error:
            if bound.expired():  # a driver may make an error of its own of the end of its time
                raise Unavailable("The database does not answer.") from error
            raise self.unavailable(error) from error

    def unavailable(self, error: BaseException) -> Unavailable:
        """What callers are told; nothing of what the statement carried."""
        cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        said = self.dialect.says(error) or _in_words(cause)
        return Unavailable(f"The database cannot do this now ({said}).")


def _in_words(error: BaseException) -> str:
    match error:
        case ConnectionRefusedError():
            return "nothing listens there: connection refused"
        case ssl.SSLCertVerificationError():
            return f"whom the address leads to is not believed: {error.verify_message}"
        case ConnectionError() if "SSL" in str(error):
            return "the server does not speak TLS, which the address asks for"
        case _:
            return type(error).__name__

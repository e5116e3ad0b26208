"""The client, the bounds on how long it may take, and what its errors mean.

Everything is read from the primary and from what a majority has; everything is written to a
majority, whatever the URL says. Whether a write that failed was carried out is not known, and
nobody here guesses: all that reaches a caller is ``Unavailable``.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import pymongo
from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import ConfigurationError, InvalidURI, OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference
from pymongo.uri_parser import parse_uri
from pymongo.write_concern import WriteConcern

from nuska.domain.errors import Unavailable
from nuska.stores.mongodb.records import Document

ANSWER_WITHIN = 5.0
"""Seconds for one operation with all its attempts; nobody waits longer for the store."""
CONNECT_WITHIN_MS = 2_000
SELECT_WITHIN_MS = 3_000
FIRST_DELAY = 0.002
LONGEST_DELAY = 0.1
ATTEMPTS_AT_MOST = 200
DEFAULT_DATABASE = "nuska"
APPLICATION = "nuska"
"""By this name nodes know the sessions of others."""
SNAPSHOT_UNAVAILABLE = 246

SAFE = WriteConcern("majority", j=True)
"""In the journals of a majority, synced, whatever the servers' defaults are."""

Client = AsyncMongoClient[Document]
Collection = AsyncCollection[Document]
Session = AsyncClientSession
T = TypeVar("T")


class Connection:
    """One client and the collections of one store."""

    def __init__(self, client: Client, database: str) -> None:
        self.client = client
        where = client.get_database(
            database,
            read_preference=ReadPreference.PRIMARY,
            read_concern=ReadConcern("majority"),
            write_concern=SAFE,
        )
        self.records: Collection = where["records"]
        self.about: Collection = where["about"]
        # In a session, concerns are the session's.
        self.in_session: Collection = client.get_database(
            database,
            read_preference=ReadPreference.PRIMARY,
            read_concern=ReadConcern(),
            write_concern=WriteConcern(),
        )["records"]

    async def read(self, look: Callable[[Session], Awaitable[T]]) -> T:
        """What ``look`` finds; all it reads is of one instant, which a majority has."""
        with bounded():
            async for _ in attempts():
                try:
                    async with self.client.start_session(snapshot=True) as session:
                        return await look(session)
                except OperationFailure as failure:
                    # An index was made a moment ago, and the instant is before that.
                    if failure.code != SNAPSHOT_UNAVAILABLE:
                        raise
        raise busy()

    async def hello(self) -> Document:
        """What the primary, or a router, says of itself."""
        return await self.client.admin.command("hello", read_preference=ReadPreference.PRIMARY)

    def term(self) -> object | None:
        """Whose time in office it is, as far as we have heard; behind routers nobody's."""
        servers = self.client.topology_description.server_descriptions().values()
        known = (one.election_id for one in servers if one.server_type_name == "RSPrimary")
        return next(known, None)

    async def close(self) -> None:
        await self.client.close()


def open_client(url: str) -> Connection:
    """A client for ``url``; it connects when it is first used."""
    try:
        named = parse_uri(url, validate=True)["database"]
        client: Client = AsyncMongoClient(
            url,
            appname=APPLICATION,
            serverSelectionTimeoutMS=SELECT_WITHIN_MS,
            connectTimeoutMS=CONNECT_WITHIN_MS,
            retryWrites=True,
        )
    except (InvalidURI, ConfigurationError, ValueError) as error:
        raise ValueError(f"this is no MongoDB URL: {error}") from error
    except OSError as error:  # of one of the files that the URL names
        raise ValueError(f"a file for TLS cannot be used: {error.strerror or 'wrong'}") from error
    return Connection(client, named or DEFAULT_DATABASE)


def options_of(url: str) -> dict[str, object]:
    """The options that a URL names."""
    return dict(parse_uri(url, validate=True)["options"])


@contextmanager
def bounded() -> Iterator[None]:
    """Whatever is done with MongoDB in here ends in time, or with ``Unavailable``."""
    try:
        with pymongo.timeout(ANSWER_WITHIN):
            yield
    except PyMongoError as error:
        raise unavailable(error) from error


async def attempts() -> AsyncIterator[int]:
    """Numbers of attempts, with growing random rests between them, while there is time."""
    loop = asyncio.get_running_loop()
    until = loop.time() + ANSWER_WITHIN
    for number in range(ATTEMPTS_AT_MOST):
        yield number
        longest = min(FIRST_DELAY * 2**number, LONGEST_DELAY)
        await asyncio.sleep(random.uniform(0, longest))  # noqa: S311  # spreads, hides nothing
        if loop.time() > until:
            return


def busy() -> Unavailable:
    return Unavailable("The MongoDB store has too many writers of one queue at the moment.")


def unavailable(error: BaseException) -> Unavailable:
    """``error`` for clients, who need not know where the store is; the cause says more."""
    translation = Unavailable("The MongoDB store cannot answer now.")
    translation.__cause__ = error
    return translation

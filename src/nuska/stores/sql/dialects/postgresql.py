"""PostgreSQL, by asyncpg.

The row of a queue has locks of four strengths there, of which three are what is needed: one
that excludes nobody but who changes the row's key, one that excludes its like, and one that
excludes everybody.
"""

import re
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from uuid import uuid4

from sqlalchemy import (
    URL,
    ClauseElement,
    ColumnElement,
    Connection,
    Executable,
    Table,
    delete,
    event,
    func,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    DisconnectionError,
    IntegrityError,
    OperationalError,
    ProgrammingError,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from nuska.domain.errors import Unavailable
from nuska.interfaces.storage import Durability
from nuska.stores.sql.dialects.encryption import OPTIONS as ENCRYPTION_OPTIONS
from nuska.stores.sql.dialects.encryption import check_encryption, encryption
from nuska.stores.sql.dialects.interface import (
    CONNECT_WITHIN,
    IDLE_AT_MOST,
    LISTENER,
    LOCKED_AT_MOST,
    TRANSACTIONS,
    Connections,
    Lock,
)
from nuska.stores.sql.dialects.kept import KeptConnections
from nuska.stores.sql.postgresql_durability import PostgresqlDemand, has_confirmed
from nuska.stores.sql.promises import Demand
from nuska.stores.sql.rows import QUEUE_ROW, QueueRow
from nuska.stores.sql.tables import queues

UNENCRYPTED, PREFER = "disable", "prefer"
REPLICAS = "replicas"
"""How many standby servers there ought to be."""
POOLER = "pooler"
"""``transaction``: what we speak to gives every transaction another session of the server."""
OPTIONS = ENCRYPTION_OPTIONS | {REPLICAS, POOLER}
ROLLED_BACK = frozenset({"40001", "40P01"})
"""SQLSTATEs that say that nothing has happened: serialization failure, deadlock."""
BY_CLASS: dict[str, type[DBAPIError]] = {
    "22": DataError,
    "23": IntegrityError,
    "42": ProgrammingError,
}
"""What SQLAlchemy calls an error, by the first two characters of its SQLSTATE."""
FIRST = (14,)
PLANS = {
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}
"""Every statement has its index. A table that is full now may have been empty when the server
last looked, and what it then believes to be quick walks over everything."""
UNCONFIRMED = "The database did not confirm this as demanded: it may or may not last."
ONE_AT_A_TIME = 7_811_884_105_021_973_867
"""Number of the lock under which tables are made, so that nodes that start together do not
both try."""


SENTENCES = {
    "28000": "that user may not connect like this, or does not exist",
    "28P01": "the user's password is wrong",
    "3D000": "there is no such database; createdb makes one",
    "42501": "that user may not do this",
    "53300": "the server has too many connections",
    "57P03": "the server is starting or stopping",
}
"""What an operator can do something about, by the server's code."""


class PostgresqlConnections:
    """``Connections`` of one pool."""

    def __init__(self, url: URL, demand: Demand | None, wait_at_most: float) -> None:
        import asyncpg  # type: ignore[import-untyped]  # here: others need not have it

        pooled = POOLER in url.query
        tls = encryption(url) or str(url.query.get("ssl", PREFER))
        url = url.difference_update_query(OPTIONS)
        engine = create_async_engine(
            url,
            isolation_level="READ COMMITTED",
            pool_size=TRANSACTIONS,
            max_overflow=0,
            pool_timeout=wait_at_most,
            connect_args=_connect_args("nuska", tls, pooled=pooled),
        )
        bare = create_async_engine(
            url,
            isolation_level="AUTOCOMMIT",
            poolclass=NullPool,
            connect_args=_connect_args("nuska", tls, pooled=pooled),
        )
        event.listen(engine.sync_engine, "checkout", _refuse_closed)
        if isinstance(demand, PostgresqlDemand):
            for one in (engine, bare):
                event.listen(one.sync_engine, "connect", demand.make_ready)
        self._engine: AsyncEngine = engine
        self._kept = KeptConnections(
            bare,
            usable=lambda connection: not connection.is_closed(),
            end=lambda connection: connection.terminate(),
        )
        self._pooled = pooled
        self._said_by_server = asyncpg.PostgresError
        self._errors: tuple[type[Exception], ...] = (
            asyncpg.PostgresError,
            asyncpg.InterfaceError,
            asyncpg.InternalClientError,
            engine.dialect.dbapi.Error,  # type: ignore[union-attr]  # of making a connection
        )
        self._snapshots = engine.execution_options(isolation_level="REPEATABLE READ")
        self._statements = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._apart = create_async_engine(
            url,
            isolation_level="AUTOCOMMIT",
            poolclass=NullPool,
            connect_args=_connect_args(LISTENER, tls, pooled=pooled),
        )

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        async with _confirmed(self._engine) as connection:
            yield connection

    @asynccontextmanager
    async def doing(self) -> AsyncIterator[AsyncConnection]:
        async with _confirmed(self._statements) as connection:
            yield connection

    @asynccontextmanager
    async def bare(self) -> AsyncIterator[Any]:
        try:
            async with self._kept.one(harmless=(self._said_by_server,)) as kept:
                if self._pooled:  # else a statement is prepared in one session, done in another
                    async with kept.driver.transaction():
                        yield kept.driver
                else:
                    yield kept.driver
                confirmed = has_confirmed(kept.info)
        except self._errors as error:
            kind = BY_CLASS.get((getattr(error, "sqlstate", None) or "")[:2], OperationalError)
            raise kind(None, None, error) from error
        if not confirmed:
            raise Unavailable(UNCONFIRMED)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        async with self._snapshots.connect() as connection, connection.begin():
            yield connection

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[AsyncConnection]:
        async with self._statements.connect() as connection, connection.begin():
            yield connection

    def apart(self) -> AsyncConnection:
        return self._apart.connect()

    async def close(self) -> None:
        await self._kept.close()
        await self._engine.dispose()


class PostgreSQL:
    """``Dialect`` of PostgreSQL 14 and later."""

    title = "PostgreSQL"
    time = text("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)")
    makes_tables_at_once = True
    takes_in_turn = False
    migrations = "postgresql"

    def check(self, url: URL) -> None:
        unknown = sorted(set(url.query) - OPTIONS)
        if unknown:
            known = ", ".join(sorted(OPTIONS))
            raise ValueError(f"{unknown[0]!r} is no option; known are {known}")
        check_encryption(url, [UNENCRYPTED, PREFER])
        if not re.fullmatch(r"[1-9]\d?", str(url.query.get(REPLICAS, "1"))):
            raise ValueError(f"{REPLICAS} must be a number from 1 to 99")
        if url.query.get(POOLER, "transaction") != "transaction":
            raise ValueError(f"{POOLER} can only be transaction")

    def demand(self, required: Durability, url: URL) -> Demand:
        replicas = int(str(url.query[REPLICAS])) if REPLICAS in url.query else None
        return PostgresqlDemand(required, replicas, may_set=POOLER not in url.query)

    def carries_hints(self, url: URL) -> bool:
        return POOLER not in url.query

    def connect(self, url: URL, demand: Demand | None, wait_at_most: float) -> Connections:
        return PostgresqlConnections(url, demand, wait_at_most)

    def says(self, error: BaseException) -> str:
        state = _state(error)
        return f"{state}, {SENTENCES[state]}" if state in SENTENCES else state

    def nothing_happened(self, error: BaseException) -> bool:
        return _state(error) in ROLLED_BACK

    def compiled(self, clause: ClauseElement) -> tuple[str, Sequence[str]]:
        compiled: Any = clause.compile(dialect=PGDialect_asyncpg())  # type: ignore[no-untyped-call]
        return str(compiled), compiled.positiontup

    async def fetch(
        self, connection: Any, sql: str, values: Sequence[Any]
    ) -> tuple[Sequence[str], Sequence[Any]]:
        records = await connection.fetch(sql, *values)
        return list(records[0].keys()) if records else (), records

    async def find(
        self, connection: AsyncConnection, project: bytes, name: bytes, lock: Lock
    ) -> QueueRow | None:
        wanted = select(*QUEUE_ROW).where(queues.c.project == project, queues.c.name == name)
        if lock is not Lock.NONE:
            wanted = wanted.with_for_update(
                read=lock is Lock.SHARING, key_share=lock is not Lock.EXCLUDING
            )
        row = (await connection.execute(wanted)).one_or_none()
        return None if row is None else QueueRow(*row)

    async def insert_queue(
        self, connection: AsyncConnection, values: Mapping[str, Any]
    ) -> int | None:
        made = insert(queues).values(values).on_conflict_do_nothing().returning(queues.c.id)
        row_id: int | None = (await connection.execute(made)).scalar_one_or_none()
        return row_id

    async def change_queue(
        self, connection: AsyncConnection, row_id: int, values: Mapping[str, Any]
    ) -> None:
        await connection.execute(update(queues).where(queues.c.id == row_id).values(values))

    async def delete_queue(self, connection: AsyncConnection, row_id: int) -> None:
        await connection.execute(delete(queues).where(queues.c.id == row_id))

    def upsert(self, table: Table, key: Mapping[str, Any], values: Mapping[str, Any]) -> Executable:
        statement = insert(table).values({**key, **values})
        return statement.on_conflict_do_update(index_elements=list(key), set_=dict(values))

    def insert_missing(
        self, table: Table, key: Mapping[str, Any], values: Mapping[str, Any]
    ) -> Executable:
        return insert(table).values({**key, **values}).on_conflict_do_nothing()

    def is_one_of(
        self, columns: Sequence[ColumnElement[Any]], keys: Sequence[Sequence[Any]]
    ) -> ColumnElement[bool]:
        return tuple_(*columns).in_(keys)

    def contains(self, column: ColumnElement[bytes], part: bytes) -> ColumnElement[bool]:
        return func.pg_catalog.position(column, part) > 0

    @contextmanager
    def making_tables(self, connection: Connection) -> Iterator[None]:
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": ONE_AT_A_TIME})
        yield

    async def check_server(self, connection: AsyncConnection) -> None:
        dialect: Any = connection.dialect
        if dialect.server_version_info < FIRST:
            raise Unavailable(f"PostgreSQL must be at least {FIRST[0]}.")

    async def relax(self, connection: AsyncConnection) -> None:
        await connection.execute(text("SET LOCAL synchronous_commit = off"))


@asynccontextmanager
async def _confirmed(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """What is written is committed at the end, as durably as is demanded."""
    async with engine.connect() as connection:
        async with connection.begin():
            yield connection
        if not has_confirmed(connection.sync_connection.info):  # type: ignore[union-attr]
            raise Unavailable(UNCONFIRMED)


def _connect_args(name: str, tls: ssl.SSLContext | str, *, pooled: bool) -> dict[str, Any]:
    """What is asked of each connection; ``name`` is what the server's list of them shows.

    Behind a pooler a session is not ours to set up, nor does it know our statements next time.
    """
    if pooled:
        return {
            "timeout": float(CONNECT_WITHIN),
            "ssl": tls,
            "statement_cache_size": 0,
            "prepared_statement_cache_size": 0,
            "prepared_statement_name_func": lambda: f"nuska_{uuid4().hex}",
        }
    return {
        "timeout": float(CONNECT_WITHIN),
        "ssl": tls,
        "server_settings": {
            "application_name": name,
            **PLANS,
            "lock_timeout": f"{LOCKED_AT_MOST}s",
            "idle_in_transaction_session_timeout": f"{IDLE_AT_MOST}s",
        },
    }


def _refuse_closed(connection: Any, _record: object, _proxy: object) -> None:
    """A connection that the server has ended while it was idle is replaced, not used."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def _state(error: BaseException) -> str:
    """The server's code for what went wrong; empty when it did not say."""
    return str(getattr(getattr(error, "orig", None), "sqlstate", None) or "")

"""The databases that churn is measured on: started, and asked how large their tables are.

One that keeps tables joins by a class with ``running``, ``tables`` and ``round_trip``, and a
line in ``ENGINES``.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import asyncpg  # type: ignore[import-untyped]  # it has no types
from msgspec import Struct

from nuska.testing.mariadb_server import MariadbServer, mariadb_server
from nuska.testing.postgresql_server import PostgresqlServer, postgresql_server


class Table(Struct, frozen=True, kw_only=True):
    """What a table takes up now."""

    name: str
    data: int
    """Bytes."""
    indexes: int
    """Bytes."""
    dead: int
    """Rows that are gone and not cleared away yet, as the server counts them."""

    @property
    def bytes(self) -> int:
        return self.data + self.indexes


class Engine(Protocol):
    url: str
    about: str
    """The settings that matter, in words."""

    async def tables(self) -> list[Table]:
        """Every table of the store."""
        ...

    async def round_trip(self) -> float:
        """Seconds that the smallest question takes: what the machine is worth at the moment."""
        ...


class Postgresql:
    """The server with its own settings, except that it looks for work more often, as the load
    is compressed too."""

    LOOKS_EVERY = 10
    """Seconds; a minute is usual."""
    SIZES = """
        SELECT relname, pg_table_size(relid), pg_indexes_size(relid), n_dead_tup
        FROM pg_stat_user_tables ORDER BY relname
    """

    def __init__(self, server: PostgresqlServer) -> None:
        self.url = server.url()
        self.about = f"PostgreSQL, autovacuum_naptime {self.LOOKS_EVERY} s"

    async def tables(self) -> list[Table]:
        connection = await asyncpg.connect(self.url)
        try:
            rows = await connection.fetch(self.SIZES)
        finally:
            await connection.close()
        return [Table(name=row[0], data=row[1], indexes=row[2], dead=row[3]) for row in rows]

    async def round_trip(self) -> float:
        connection = await asyncpg.connect(self.url)
        try:
            began = time.perf_counter()
            await connection.fetchval("SELECT 1")
            return time.perf_counter() - began
        finally:
            await connection.close()


@contextmanager
def _postgresql() -> Iterator[Engine]:
    with postgresql_server({"autovacuum_naptime": f"{Postgresql.LOOKS_EVERY}s"}) as server:
        yield Postgresql(server)


class Mariadb:
    """The server with its own settings, but for what keeps it small."""

    SIZES = """
        SELECT table_name, data_length, index_length + data_free FROM information_schema.tables
        WHERE table_schema = DATABASE() ORDER BY table_name
    """
    UNPURGED = """
        SELECT count FROM information_schema.innodb_metrics WHERE name = 'trx_rseg_history_len'
    """

    def __init__(self, server: MariadbServer) -> None:
        self.url = server.url()
        self.about = "MariaDB; its dead rows are transactions that it has not purged yet"
        self._server = server

    async def tables(self) -> list[Table]:
        connection = await self._server.connect()
        try:
            async with connection.cursor() as cursor:
                await cursor.execute(self.SIZES)
                rows = await cursor.fetchall()
                await cursor.execute(self.UNPURGED)
                unpurged = int((await cursor.fetchone())[0])
        finally:
            await connection.ensure_closed()
        tables = [Table(name=row[0], data=row[1] or 0, indexes=row[2] or 0, dead=0) for row in rows]
        return [*tables, Table(name="(to purge)", data=0, indexes=0, dead=unpurged)]

    async def round_trip(self) -> float:
        connection = await self._server.connect()
        try:
            began = time.perf_counter()
            async with connection.cursor() as cursor:
                await cursor.execute("SELECT 1")
            return time.perf_counter() - began
        finally:
            await connection.ensure_closed()


@contextmanager
def _mariadb() -> Iterator[Engine]:
    with mariadb_server("--innodb-monitor-enable=trx_rseg_history_len") as server:
        yield Mariadb(server)


ENGINES = {"postgresql": _postgresql, "mariadb": _mariadb}

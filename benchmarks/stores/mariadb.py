"""MariaDB with its usual durable settings; raw is asyncmy on Nuska's own tables.

A post raises the queue's counter and inserts, so that positions follow commit order; a claim
locks the first rows that nobody has locked, marks them and writes the lease; a delete is one
statement.
"""

import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import asyncmy

from benchmarks.filling import in_store_at, small, wall_clock
from benchmarks.stores.engine import CLAIM_TTL, POSTER, RAW_QUEUE, Held
from nuska.domain.messages import NewMessage
from nuska.domain.positions import SALT_BYTES
from nuska.interfaces.storage import Store
from nuska.testing.engine import running as started
from nuska.testing.mariadb_server import PASSWORD, USER, MariadbServer

CLAIM_BYTES = 12
ROOMY = ("--innodb-buffer-pool-size=1G", "--innodb-log-file-size=512M")
DURABLE = "1"

COUNT = """
    UPDATE queues SET last_position = LAST_INSERT_ID(last_position + %s), last_moment = %s
    WHERE id = %s"""
INSERT = """
    INSERT INTO messages (generation, position, salt, body, poster, ttl, created_at, expires_at,
                          available_at, claim_count)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, 0, 0)"""
CHOOSE = """
    SELECT * FROM messages WHERE generation = %s AND available_at = 0 AND expires_at > %s
    ORDER BY position LIMIT %s FOR UPDATE SKIP LOCKED"""
MARK = """
    UPDATE messages SET available_at = %s, claim = %s, claim_count = claim_count + 1
    WHERE generation = %s AND position IN %s"""
LEASE = """
    INSERT INTO claims (generation, claim, ttl, started_at, expires_at)
    VALUES (%s, %s, %s, %s, %s)"""
DELETE = "DELETE FROM messages WHERE generation = %s AND position IN %s"
ROOM = """
    SELECT SUM(file_size) FROM information_schema.innodb_sys_tablespaces
    WHERE name LIKE CONCAT(%s, '/%%')"""
STEPS = {
    "commits": "Com_commit",
    "roll-backs": "Com_rollback",
    "deadlocks": "Innodb_deadlocks",
}


@contextmanager
def running(directory: Path) -> Iterator["MariadbEngine"]:
    with started(MariadbServer(directory, ROOMY)) as server:
        yield MariadbEngine(server, directory)


class MariadbEngine:
    """``Engine``; a store of its own is a database of its own."""

    def __init__(self, server: MariadbServer, directory: Path) -> None:
        self._server = server
        self._directory = directory
        self._version = ""

    @property
    def about(self) -> str:
        return f"MariaDB {self._version}, one server, innodb_flush_log_at_trx_commit 1"

    def pids(self) -> list[int]:
        return self._server.pids()

    async def space(self, name: str) -> str:
        self._version = str(await self._server.ask("SELECT VERSION()"))
        flushed = await self._server.ask("SELECT @@innodb_flush_log_at_trx_commit")
        if str(flushed) != DURABLE:
            raise RuntimeError("commits are not synced")
        await self._server.ask(f"CREATE DATABASE {_plain(name)}")
        return self._server.url(_plain(name))

    async def raw(self, name: str) -> "RawMariadb":
        url = await self.space(name)
        await in_store_at(url, _prepare, data=self._directory)
        connection = await asyncmy.connect(
            host="127.0.0.1",
            port=self._server.port,
            user=USER,
            password=PASSWORD,
            database=_plain(name),
            autocommit=True,
            init_command="SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        )
        async with connection.cursor() as cursor:
            await cursor.execute("SELECT id, generation FROM queues")
            queue, generation = await cursor.fetchone()
        return RawMariadb(connection, queue, generation)

    async def held(self, name: str) -> Held:
        async with self._cursor() as cursor:
            await cursor.execute(ROOM, (_plain(name),))
            [room] = await cursor.fetchone()
        return Held(memory=0, disk=int(room or 0))

    async def steps(self) -> dict[str, float]:
        async with self._cursor() as cursor:
            await cursor.execute("SHOW GLOBAL STATUS")
            found = dict(await cursor.fetchall())
        return {name: float(found.get(status, 0)) for name, status in STEPS.items()}

    @asynccontextmanager
    async def _cursor(self) -> AsyncIterator[Any]:
        connection = await asyncmy.connect(
            host="127.0.0.1", port=self._server.port, user=USER, password=PASSWORD
        )
        try:
            async with connection.cursor() as cursor:
                yield cursor
        finally:
            await connection.ensure_closed()


def _plain(name: str) -> str:
    """``name`` as a database that is called in its files what it is called in statements."""
    return name.replace("-", "_")


async def _prepare(store: Store) -> None:
    """Make the tables and the queue."""
    await store.messages.add(RAW_QUEUE, [small()], now=wall_clock())
    await store.messages.pop(RAW_QUEUE, limit=1, now=wall_clock())


class RawMariadb:
    """``Raw``; a message is named by its position."""

    def __init__(self, connection: Any, queue: int, generation: int) -> None:
        self._connection = connection
        self._queue = queue
        self._generation = generation

    async def post(self, messages: Sequence[NewMessage]) -> list[int]:
        now, count = wall_clock(), len(messages)
        async with self._transaction() as cursor:
            await cursor.execute(COUNT, (count, now, self._queue))
            positions = range(cursor.lastrowid - count + 1, cursor.lastrowid + 1)
            terms = (messages[0].ttl, now, now + messages[0].ttl)
            rows = [
                (self._generation, position, os.urandom(SALT_BYTES), message.body, POSTER, *terms)
                for position, message in zip(positions, messages, strict=True)
            ]
            await cursor.executemany(INSERT, rows)
        return list(positions)

    async def claim(self, limit: int) -> list[int]:
        now, claim = wall_clock(), os.urandom(CLAIM_BYTES)
        end = now + CLAIM_TTL
        async with self._transaction() as cursor:
            await cursor.execute(CHOOSE, (self._generation, now, limit))
            positions = tuple(row[1] for row in await cursor.fetchall())
            await cursor.execute(MARK, (end, claim, self._generation, positions))
            await cursor.execute(LEASE, (self._generation, claim, CLAIM_TTL, now, end))
        return list(positions)

    async def delete(self, messages: Sequence[int]) -> None:
        async with self._connection.cursor() as cursor:
            await cursor.execute(DELETE, (self._generation, tuple(messages)))

    async def close(self) -> None:
        await self._connection.ensure_closed()

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Any]:
        await self._connection.begin()
        async with self._connection.cursor() as cursor:
            yield cursor
        await self._connection.commit()

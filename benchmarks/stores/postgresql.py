"""PostgreSQL with its usual durable settings; raw is asyncpg on Nuska's own tables.

A post raises the queue's counter and inserts, so that positions follow commit order; a claim
marks the first rows that nobody has locked and writes the lease; a delete is one statement.
"""

import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it has no types

from benchmarks.filling import in_store_at, small, wall_clock
from benchmarks.processes import with_descendants
from benchmarks.stores.engine import CLAIM_TTL, POSTER, RAW_QUEUE, Held
from nuska.domain.messages import NewMessage
from nuska.domain.positions import SALT_BYTES
from nuska.interfaces.storage import Store
from nuska.testing.engine import running as started
from nuska.testing.postgresql_server import PostgresqlServer

CLAIM_BYTES = 12

COUNT = """
    UPDATE queues SET last_position = last_position + $2, last_moment = $3 WHERE id = $1
    RETURNING last_position"""
INSERT = """
    INSERT INTO messages (generation, position, salt, body, poster, ttl, created_at, expires_at,
                          available_at, claim_count)
    SELECT $1, $2 + new.number, new.salt, new.body, $3, $4, $5, $6, 0, 0
    FROM unnest($7::bytea[], $8::bytea[]) WITH ORDINALITY AS new (salt, body, number)"""
CLAIM = """
    WITH chosen AS MATERIALIZED (  -- once: as a subquery it might be looked up for each row
        SELECT position FROM messages
        WHERE generation = $1 AND available_at = 0 AND expires_at > $2
        ORDER BY position LIMIT $5 FOR UPDATE SKIP LOCKED)
    UPDATE messages SET available_at = $3, claim = $4, claim_count = claim_count + 1
    FROM chosen WHERE generation = $1 AND messages.position = chosen.position
    RETURNING messages.*"""
LEASE = """
    INSERT INTO claims (generation, claim, ttl, started_at, expires_at)
    VALUES ($1, $2, $3, $4, $5)"""
DELETE = "DELETE FROM messages WHERE generation = $1 AND position = ANY($2::bigint[])"
COMMITS = """
    SELECT sum(xact_commit)::float, sum(xact_rollback)::float, sum(deadlocks)::float
    FROM pg_stat_database"""


@contextmanager
def running(directory: Path) -> Iterator["PostgresqlEngine"]:
    with started(PostgresqlServer(directory)) as server:
        yield PostgresqlEngine(server, directory)


class PostgresqlEngine:
    """``Engine``; a store of its own is a database of its own."""

    def __init__(self, server: PostgresqlServer, directory: Path) -> None:
        self._server = server
        self._directory = directory
        self._version = ""

    @property
    def about(self) -> str:
        return f"PostgreSQL {self._version}, one server, fsync and synchronous_commit on"

    def pids(self) -> list[int]:
        return with_descendants(self._server.pids()[0])

    async def space(self, name: str) -> str:
        async with self._connection() as connection:
            self._version = await connection.fetchval("SHOW server_version")
            for setting in ("fsync", "synchronous_commit"):
                if await connection.fetchval(f"SHOW {setting}") != "on":
                    raise RuntimeError(f"{setting} is off")
            await connection.execute(f'CREATE DATABASE "{name}"')
        return self._server.url(name)

    async def raw(self, name: str) -> "RawPostgresql":
        url = await self.space(name)
        await in_store_at(url, _prepare, data=self._directory)
        connection = await asyncpg.connect(url)
        row = await connection.fetchrow("SELECT id, generation FROM queues")
        return RawPostgresql(connection, row["id"], row["generation"])

    async def held(self, name: str) -> Held:
        async with self._connection() as connection:
            disk = await connection.fetchval("SELECT pg_database_size($1)", name)
        return Held(memory=0, disk=disk)

    async def steps(self) -> dict[str, float]:
        async with self._connection() as connection:
            commits, rollbacks, deadlocks = await connection.fetchrow(COMMITS)
        return {"commits": commits, "roll-backs": rollbacks, "deadlocks": deadlocks}

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        connection = await asyncpg.connect(self._server.url())
        try:
            yield connection
        finally:
            await connection.close()


async def _prepare(store: Store) -> None:
    """Make the tables and the queue."""
    await store.messages.add(RAW_QUEUE, [small()], now=wall_clock())
    await store.messages.pop(RAW_QUEUE, limit=1, now=wall_clock())


class RawPostgresql:
    """``Raw``; a message is named by its position."""

    def __init__(self, connection: Any, queue: int, generation: int) -> None:
        self._connection = connection
        self._queue = queue
        self._generation = generation

    async def post(self, messages: Sequence[NewMessage]) -> list[int]:
        now, count, ttl = wall_clock(), len(messages), messages[0].ttl
        salts = [os.urandom(SALT_BYTES) for _ in messages]
        bodies = [message.body for message in messages]
        async with self._connection.transaction():
            last = await self._connection.fetchval(COUNT, self._queue, count, now)
            before = last - count
            await self._connection.execute(
                INSERT, self._generation, before, POSTER, ttl, now, now + ttl, salts, bodies
            )
        return list(range(before + 1, last + 1))

    async def claim(self, limit: int) -> list[int]:
        now, claim = wall_clock(), os.urandom(CLAIM_BYTES)
        end = now + CLAIM_TTL
        async with self._connection.transaction():
            rows = await self._connection.fetch(CLAIM, self._generation, now, end, claim, limit)
            await self._connection.execute(LEASE, self._generation, claim, CLAIM_TTL, now, end)
        return sorted(row["position"] for row in rows)

    async def delete(self, messages: Sequence[int]) -> None:
        await self._connection.execute(DELETE, self._generation, messages)

    async def close(self) -> None:
        await self._connection.close()

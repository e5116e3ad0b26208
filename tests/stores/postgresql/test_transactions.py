"""What is repeated, and what never is."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DataError
from sqlalchemy.ext.asyncio import AsyncConnection

from nuska.domain.errors import Unavailable
from nuska.stores.sql.database import Database
from nuska.stores.sql.url import parse
from nuska.testing.postgresql_server import PostgresqlServer


@pytest.fixture
async def database(server: PostgresqlServer):
    database = Database(parse(server.url()))
    yield database
    await database.close()


async def lock(connection: AsyncConnection, number: int) -> None:
    await connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})


async def test_a_deadlock_is_repeated_until_both_are_through(database: Database) -> None:
    attempts = 0
    holding = asyncio.Barrier(2)

    def crossing(first: int, second: int):
        async def work(connection: AsyncConnection) -> int:
            nonlocal attempts
            attempts += 1
            await lock(connection, first)
            if attempts <= 2:
                await holding.wait()
            await lock(connection, second)
            return first

        return work

    done = await asyncio.gather(database.write(crossing(1, 2)), database.write(crossing(2, 1)))
    assert done == [1, 2]
    assert attempts == 3


async def test_a_connection_that_is_lost_is_not_repeated(database: Database) -> None:
    attempts = 0

    async def work(connection: AsyncConnection) -> None:
        nonlocal attempts
        attempts += 1
        await connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with pytest.raises(Unavailable):
        await database.write(work)
    assert attempts == 1


async def test_a_commit_without_an_answer_is_not_called_a_success(
    server: PostgresqlServer, database: Database
) -> None:
    async def work(connection: AsyncConnection) -> None:
        await connection.execute(text("SELECT 1"))
        server.pause()

    try:
        with pytest.raises(Unavailable, match="does not answer"):
            await database.write(work)
    finally:
        server.resume()


async def test_a_deadlock_of_single_statements_is_repeated_until_both_are_through(
    server: PostgresqlServer, database: Database
) -> None:
    await server.ask("CREATE TABLE pair (number int PRIMARY KEY)")
    await server.ask("INSERT INTO pair VALUES (1), (2)")
    attempts = 0

    def crossing(first: int, second: int):
        async def work(connection: Any) -> int:
            nonlocal attempts
            attempts += 1
            together = f"""
                DO $$ BEGIN
                    PERFORM 1 FROM pair WHERE number = {first} FOR UPDATE;
                    PERFORM pg_sleep({0.5 if attempts <= 2 else 0});
                    PERFORM 1 FROM pair WHERE number = {second} FOR UPDATE;
                END $$"""
            await connection.execute(together)
            return first

        return work

    done = await asyncio.gather(database.do_bare(crossing(1, 2)), database.do_bare(crossing(2, 1)))
    assert done == [1, 2]
    assert attempts == 3


async def test_a_single_statement_without_an_answer_is_not_repeated_nor_called_a_success(
    server: PostgresqlServer, database: Database
) -> None:
    attempts = 0

    async def asking(connection: Any) -> None:
        nonlocal attempts
        attempts += 1
        await connection.fetch("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(Unavailable):
        await database.do_bare(asking)
    assert attempts == 1

    async def silent(connection: Any) -> None:
        nonlocal attempts
        attempts += 1
        server.pause()
        await connection.fetch("SELECT 1")

    try:
        with pytest.raises(Unavailable, match="does not answer"):
            await database.do_bare(silent)
    finally:
        server.resume()
    assert attempts == 2

    async def answered(connection: Any) -> int:
        return int(await connection.fetchval("SELECT 1"))

    assert await database.do_bare(answered) == 1


async def test_nonsense_is_a_bug_and_leaves_the_connection_as_it_was(database: Database) -> None:
    async def nonsense(connection: Any) -> None:
        await connection.fetch("SELECT 1 / 0")

    with pytest.raises(DataError):
        await database.do_bare(nonsense)

    async def answered(connection: Any) -> int:
        return int(await connection.fetchval("SELECT 1"))

    assert await database.do_bare(answered) == 1


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://host",
        "postgresql:///database",
        "postgresql://host:port/database",
        "postgresql://user:secret@host/database?prefix=x",
        "postgresql://user:secret@host/database?ssl=perhaps",
        "postgresql://user:secret@host/database?ca=/file",
        "postgresql://user:secret@host/database?ssl=prefer&ca=/file",
        "postgresql://user:secret@host/database?ssl=require&ca=/file",
        "postgresql://user:secret@host/database?ssl=verify-full&key=/file",
    ],
)
def test_a_wrong_address_is_refused_without_showing_the_password(url: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as refusal:
        parse(url)
    assert "secret" not in str(refusal.value)

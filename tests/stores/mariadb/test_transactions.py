"""What is repeated, and what never is."""

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from nuska.domain.errors import Unavailable
from nuska.stores.sql.database import Database
from nuska.stores.sql.url import parse
from nuska.testing.mariadb_server import MariadbServer


@pytest.fixture
async def database(server: MariadbServer):
    await server.ask("CREATE TABLE things (id INT PRIMARY KEY, n INT) ENGINE=InnoDB")
    await server.ask("INSERT INTO things VALUES (1, 0), (2, 0)")
    database = Database(parse(server.url()))
    yield database
    await database.close()


async def count_up(connection: AsyncConnection, thing: int) -> None:
    statement = text("UPDATE things SET n = n + 1 WHERE id = :thing")
    await connection.execute(statement, {"thing": thing})


async def test_a_deadlock_is_repeated_until_both_are_through(
    server: MariadbServer, database: Database
) -> None:
    attempts = 0
    holding = asyncio.Barrier(2)

    def crossing(first: int, second: int):
        async def work(connection: AsyncConnection) -> int:
            nonlocal attempts
            attempts += 1
            await count_up(connection, first)
            if attempts <= 2:
                await holding.wait()
            await count_up(connection, second)
            return first

        return work

    done = await asyncio.gather(database.write(crossing(1, 2)), database.write(crossing(2, 1)))
    assert done == [1, 2]
    assert attempts == 3
    assert await server.ask("SELECT SUM(n) FROM things") == 4


async def test_a_lock_that_is_not_had_in_time_takes_nothing_with_it(
    server: MariadbServer, database: Database
) -> None:
    """The server takes back the statement alone; the whole transaction must go."""
    attempts = 0
    held, over = asyncio.Event(), asyncio.Event()

    async def hold(connection: AsyncConnection) -> None:
        await count_up(connection, 2)
        held.set()
        await over.wait()

    async def wait_for_it(connection: AsyncConnection) -> None:
        nonlocal attempts
        attempts += 1
        await connection.execute(text("SET SESSION innodb_lock_wait_timeout = 1"))
        await count_up(connection, 1)
        if attempts == 2:
            over.set()
        await count_up(connection, 2)

    holding = asyncio.create_task(database.write(hold))
    await held.wait()
    await database.write(wait_for_it)
    await holding
    assert attempts == 2
    assert await server.ask("SELECT n FROM things WHERE id = 1") == 1
    assert await server.ask("SELECT n FROM things WHERE id = 2") == 2


async def test_a_connection_that_is_lost_is_not_repeated(database: Database) -> None:
    attempts = 0

    async def work(connection: AsyncConnection) -> None:
        nonlocal attempts
        attempts += 1
        own = (await connection.execute(text("SELECT CONNECTION_ID()"))).scalar_one()
        await connection.execute(text(f"KILL {own}"))
        await connection.execute(text("SELECT 1"))

    with pytest.raises(Unavailable):
        await database.write(work)
    assert attempts == 1


async def test_a_connection_that_was_lost_while_idle_is_replaced(
    server: MariadbServer, database: Database
) -> None:
    async def one(connection: AsyncConnection) -> int:
        return int((await connection.execute(text("SELECT 1"))).scalar_one())

    assert await database.write(one) == await database.ask(one) == await database.read(one) == 1
    server.restart()
    await asyncio.sleep(0.1)  # the loop hears that they have ended
    assert await database.write(one) == await database.ask(one) == await database.read(one) == 1


async def test_a_commit_without_an_answer_is_not_called_a_success(
    server: MariadbServer, database: Database
) -> None:
    async def work(connection: AsyncConnection) -> None:
        await connection.execute(text("SELECT 1"))
        server.pause()

    try:
        with pytest.raises(Unavailable, match="does not answer"):
            await database.write(work)
    finally:
        server.resume()


async def test_what_does_not_fit_is_an_error_and_never_cut(
    server: MariadbServer, database: Database
) -> None:
    """Whatever the server would do by itself."""
    await server.ask("SET GLOBAL sql_mode = ''")
    await server.ask("CREATE TABLE short (word VARBINARY(3))")

    async def work(connection: AsyncConnection) -> None:
        await connection.execute(text("INSERT INTO short VALUES ('four')"))

    with pytest.raises(Exception, match="Data too long"):
        await database.write(work)
    assert await server.ask("SELECT COUNT(*) FROM short") == 0

"""The tables: made once, current, and brought up to date by name only; whatever cuts it off."""

from collections.abc import Awaitable, Callable

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection

from nuska.cli import run
from nuska.domain.errors import Unavailable
from nuska.stores.sql import migrate, migrations, tables
from nuska.stores.sql.database import Database
from nuska.stores.sql.dialects.mysql import gates
from nuska.stores.sql.migrations import BEGINNING, UNFINISHED, prepare
from nuska.stores.sql.store import SqlStore
from nuska.stores.sql.url import parse
from nuska.testing.clock import ManualClock
from nuska.testing.conformance.announcements import Log
from nuska.testing.conformance.inbox import Inbox
from nuska.testing.mariadb_server import MariadbServer

Open = Callable[[str], Awaitable[SqlStore]]
STEPS = 17
STEPS_FROM_FIRST = 3
KEPT = (
    "INSERT INTO generations (retired) VALUES (false)",
    """
    INSERT INTO queues (project, name, generation, base_position, last_position, last_moment,
                        metadata, relaxed, version, fenced, epoch)
    SELECT 'acme', 'inbox', MAX(id), 0, 0, 0, '{}', false, 1, false, 0 FROM generations
    """,
    """
    INSERT INTO gates (project, name, queue, generation, base_position, fenced)
    SELECT project, name, id, generation, base_position, fenced FROM queues
    """,
)


class Cut(Exception):
    """The node has died here."""


def test_the_command_sets_an_empty_database_up_and_then_finds_nothing_to_do(
    server: MariadbServer, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["store", "migrate", "--store", server.url(scheme="mysql")]
    assert run(command) == 0
    assert run(command) == 0
    assert capsys.readouterr().out.splitlines() == [
        "The store is current now.",
        "The store was current.",
    ]


def test_the_command_says_what_is_wrong_and_not_the_password(
    server: MariadbServer, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = server.url().replace("s3cret", "guess")
    assert run(["store", "migrate", "--store", wrong]) == 1
    said = capsys.readouterr().err
    assert "1045, the user or the password is wrong" in said
    assert "guess" not in said


async def test_the_migrations_make_the_columns_that_queries_use(server: MariadbServer) -> None:
    def differences(connection: Connection) -> list[object]:
        assert prepare(connection, migrate=False)
        opts = {"compare_type": False}  # any length of bytes is bytes to them
        known = [tables.metadata, gates.metadata]
        found = compare_metadata(MigrationContext.configure(connection, opts=opts), known)
        return [one for one in found if one[0] not in ("remove_index", "remove_table")]

    database = Database(parse(server.url()))
    try:
        assert await database.write(lambda connection: connection.run_sync(differences)) == []
    finally:
        await database.close()


async def test_a_beginning_that_was_cut_off_is_taken_up_by_the_next_start(
    server: MariadbServer, open_at: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    for steps in range(STEPS + 1):
        url = server.new_url()
        await cut_off(url, open_at, monkeypatch, steps, STEPS)
        inbox = Inbox(await open_at(url), ManualClock())
        await inbox.post("here")
        assert await inbox.listed() == ["here"]
    marks = f"('{UNFINISHED}', '{BEGINNING}')"
    left = f"SELECT COUNT(*) FROM information_schema.tables WHERE table_name IN {marks}"
    assert await server.ask(left) == 0


async def test_a_migration_that_was_cut_off_is_taken_up_by_the_next_and_loses_nothing(
    server: MariadbServer, open_at: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    for steps in range(STEPS_FROM_FIRST + 1):
        url = server.new_url()
        await make_first(url, monkeypatch)
        for statement in KEPT:
            await server.ask(statement, str(parse(url).database))
        with pytest.raises(Unavailable, match=r"earlier version.*nuska store migrate"):
            await open_at(url)
        await cut_off(url, migrate, monkeypatch, steps, STEPS_FROM_FIRST)
        with pytest.raises(Unavailable, match=r"begun and not ended.*nuska store migrate"):
            await open_at(url)
        assert await migrate(url)
        inbox = Inbox(await open_at(url), ManualClock())
        assert await inbox.exists()
        log = Log(inbox.store, inbox)
        await log.open()
        await inbox.post("heard")
        assert await log.bodies() == await inbox.listed() == ["heard"]


async def make_first(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tables as the first version made them."""
    script = migrations.SCRIPTS["mysql"]
    upgrade = script._upgrade_revs
    database = Database(parse(url))
    with monkeypatch.context() as patch:
        patch.setattr(script, "get_current_head", lambda: "0001")
        patch.setattr(script, "_upgrade_revs", lambda _, found: upgrade("0001", found))
        try:
            assert await database.write(
                lambda connection: connection.run_sync(prepare, migrate=False)
            )
        finally:
            await database.close()


async def cut_off(
    url: str,
    making: Callable[[str], Awaitable[object]],
    monkeypatch: pytest.MonkeyPatch,
    steps: int,
    of: int,
) -> None:
    """Let tables be made as far as these steps."""
    made = 0
    execute = Operations.execute

    def some(self: Operations, *arguments, **options):
        nonlocal made
        if made == steps:
            raise Cut
        made += 1
        return execute(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Operations, "execute", some)
        if steps == of:
            patch.setattr(migrations, "_finish", lambda _: (_ for _ in ()).throw(Cut))
        with pytest.raises(Cut):
            await making(url)
    assert made == steps


async def test_a_database_of_somebody_else_is_refused_and_left_alone(
    server: MariadbServer, open_at: Open
) -> None:
    await server.ask("CREATE TABLE messages (id INT PRIMARY KEY)")
    with pytest.raises(Unavailable, match="not made by Nuska"):
        await open_at(server.url())
    there = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'nuska'"
    assert await server.ask(there) == 1


async def test_an_earlier_database_is_not_touched_by_a_start(
    server: MariadbServer, open_at: Open, store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(migrations.SCRIPTS, "mysql", Later())
    with pytest.raises(Unavailable, match=r"earlier version.*nuska store migrate"):
        await open_at(server.url())


async def test_a_later_migration_that_was_cut_off_is_said_to_every_start(
    server: MariadbServer, open_at: Open, store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await server.ask(f"CREATE TABLE {UNFINISHED} (one INT)")
    monkeypatch.setitem(migrations.SCRIPTS, "mysql", Later())
    with pytest.raises(Unavailable, match=r"begun and not ended.*nuska store migrate"):
        await open_at(server.url())


async def test_a_database_of_a_newer_version_is_refused(
    server: MariadbServer, store: SqlStore, open_at: Open
) -> None:
    await server.ask("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(Unavailable, match="newer version"):
        await open_at(server.url())


class Later:
    """The migrations of a version to come."""

    def get_current_head(self) -> str:
        return "0003"

    def walk_revisions(self) -> list["Revision"]:
        return [Revision(number) for number in ("0003", "0002", "0001")]


class Revision:
    def __init__(self, revision: str) -> None:
        self.revision = revision

"""The tables: made once, current, and brought up to date by name only."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection

from nuska.cli import run
from nuska.domain.errors import Unavailable
from nuska.stores.sql import migrate, migrations, tables
from nuska.stores.sql.database import Database
from nuska.stores.sql.migrations import prepare
from nuska.stores.sql.url import parse
from nuska.testing.clock import ManualClock
from nuska.testing.conformance.announcements import Log
from nuska.testing.conformance.inbox import Inbox
from nuska.testing.postgresql_server import PostgresqlServer

EARLIER = ("0001", "0002", "0003")
KEPT = """
    WITH made AS (INSERT INTO generations (retired) VALUES (false) RETURNING id)
    INSERT INTO queues (project, name, generation, base_position, last_position, last_moment,
                        metadata, relaxed, version)
    SELECT 'acme', 'inbox', id, 0, 0, 0, '{}', false, 1 FROM made
"""


def test_the_command_sets_an_empty_database_up_and_then_finds_nothing_to_do(
    server: PostgresqlServer, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["store", "migrate", "--store", server.url()]
    assert run(command) == 0
    assert run(command) == 0
    assert capsys.readouterr().out.splitlines() == [
        "The store is current now.",
        "The store was current.",
    ]


def test_the_command_says_which_database_it_does_not_find(
    server: PostgresqlServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["store", "migrate", "--store", server.url("nowhere")]) == 1
    assert "3D000" in capsys.readouterr().err


def test_a_store_that_never_needs_it_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["store", "migrate", "--store", "memory:"]) == 1
    assert "never needs this" in capsys.readouterr().err


async def test_the_migrations_make_the_columns_that_queries_use(
    server: PostgresqlServer,
) -> None:
    def differences(connection: Connection) -> list[object]:
        assert prepare(connection, migrate=False)
        found = compare_metadata(MigrationContext.configure(connection), tables.metadata)
        return [one for one in found if one[0] != "remove_index"]

    database = Database(parse(server.url()))
    try:
        assert await database.write(lambda connection: connection.run_sync(differences)) == []
    finally:
        await database.close()


async def test_an_earlier_database_is_not_touched_by_a_start(
    server: PostgresqlServer, open_at, store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(migrations.SCRIPTS, "postgresql", Later())
    with pytest.raises(Unavailable, match="nuska store migrate"):
        await open_at(server.url())


async def test_an_earlier_database_keeps_what_it_holds(
    server: PostgresqlServer, open_at, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every version there was."""
    for number, revision in enumerate(EARLIER):
        await server.ask(f"CREATE DATABASE earlier_{number}")
        url = server.url(f"earlier_{number}")
        with monkeypatch.context() as patch:
            patch.setattr(migrations.SCRIPTS["postgresql"], "get_current_head", lambda: revision)  # noqa: B023
            upgrade = migrations.SCRIPTS["postgresql"]._upgrade_revs
            patch.setattr(
                migrations.SCRIPTS["postgresql"],
                "_upgrade_revs",
                lambda _, found: upgrade(revision, found),  # noqa: B023
            )
            await make(url)
        await server.ask(KEPT, f"earlier_{number}")
        with pytest.raises(Unavailable, match="nuska store migrate"):
            await open_at(url)
        assert await migrate(url)
        inbox = Inbox(await open_at(url), ManualClock())
        assert await inbox.exists()
        log = Log(inbox.store, inbox)
        await log.open()
        await inbox.post("heard")
        assert await log.bodies() == await inbox.listed() == ["heard"]


async def make(url: str) -> None:
    database = Database(parse(url))
    try:
        assert await database.write(lambda connection: connection.run_sync(prepare, migrate=False))
    finally:
        await database.close()


class Later:
    """The migrations of a version to come."""

    def get_current_head(self) -> str:
        return "9999"

    def walk_revisions(self) -> list["Revision"]:
        return [Revision("9999"), Revision("0004")]


class Revision:
    def __init__(self, revision: str) -> None:
        self.revision = revision

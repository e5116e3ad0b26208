"""Bringing a database to the tables that this version knows, by alembic.

An empty database is set up at the start. One of an earlier version is not touched by a start,
since nodes of that version may still be at work: ``nuska store migrate`` does it, by name.

PostgreSQL does it whole or not at all. Other servers commit after every table, so what has
begun there is marked by a table of its own until it has ended: the beginning of an empty
database is taken up by the next start, a later one by the next ``nuska store migrate``.
"""

import logging
from pathlib import Path

# Before it is imported: it tells its plugins one by one.
logging.getLogger("alembic").setLevel(logging.WARNING)

from alembic.operations import Operations  # noqa: E402
from alembic.runtime.migration import MigrationContext  # noqa: E402
from alembic.script import ScriptDirectory  # noqa: E402
from sqlalchemy import Connection, inspect, text  # noqa: E402

from nuska.domain.errors import Unavailable  # noqa: E402
from nuska.stores.sql.dialects import DIALECTS  # noqa: E402

SCRIPTS = {name: ScriptDirectory(Path(__file__).parent / name) for name in DIALECTS}
"""The numbered changes, for each kind of server."""
UNFINISHED = "migration_under_way"
BEGINNING = "beginning_under_way"
"""The same, for a database that was empty: it may have come through some of the changes."""


def prepare(connection: Connection, *, migrate: bool) -> bool:
    """Make the tables current; whether anything was changed. Runs in the caller's transaction.

    Without ``migrate`` only an empty database is changed; another one that is not current
    raises ``Unavailable`` with what to do.
    """
    dialect = DIALECTS[connection.dialect.name]
    script = SCRIPTS[connection.dialect.name]
    with dialect.making_tables(connection):
        context = MigrationContext.configure(
            connection, opts={"fn": lambda found, _: script._upgrade_revs("head", found)}
        )
        found, newest = context.get_current_revision(), script.get_current_head()
        there = (
            set() if dialect.makes_tables_at_once else set(inspect(connection).get_table_names())
        )
        if found is not None and found not in {one.revision for one in script.walk_revisions()}:
            raise Unavailable(
                "The database was made by a newer version of Nuska; this one would not "
                "understand it."
            )
        if found == newest:
            if {UNFINISHED, BEGINNING} & there:
                _finish(connection)
            return False
        _refuse(found, there, migrate=migrate)
        if not dialect.makes_tables_at_once:
            mark = BEGINNING if found is None else UNFINISHED
            connection.execute(text(f"CREATE TABLE IF NOT EXISTS {mark} (one INT)"))
        with Operations.context(context):
            context.run_migrations()
        if not dialect.makes_tables_at_once:
            _finish(connection)
        return True


def _refuse(found: str | None, there: set[str], *, migrate: bool) -> None:
    """Raise ``Unavailable`` for a database that is not ours to change now."""
    if BEGINNING in there:
        return
    if found is None and there:
        raise Unavailable(
            "The database is not empty, and what is in it was not made by Nuska. "
            "Give it a database of its own."
        )
    if found is not None and not migrate:
        begun = "A migration of the database has begun and not ended. "
        earlier = "The database was made by an earlier version of Nuska. "
        raise Unavailable(
            (begun if UNFINISHED in there else earlier)
            + "Stop its other nodes, then run: nuska store migrate"
        )


def _finish(connection: Connection) -> None:
    """Commits what is not a table first, as every statement about tables does there."""
    connection.execute(text(f"DROP TABLE IF EXISTS {UNFINISHED}, {BEGINNING}"))

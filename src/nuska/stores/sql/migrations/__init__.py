"""Bringing a database to the tables that this version knows, by alembic.

An empty database is set up at the start. One of an earlier version is not touched by a start,
since nodes of that version may still be at work: ``nuska store migrate`` does it, by name.
"""

import logging
from pathlib import Path

# Before it is imported: it tells its plugins one by one.
logging.getLogger("alembic").setLevel(logging.WARNING)

from alembic.operations import Operations  # noqa: E402
from alembic.runtime.migration import MigrationContext  # noqa: E402
from alembic.script import ScriptDirectory  # noqa: E402
from sqlalchemy import Connection, text  # noqa: E402

from nuska.domain.errors import Unavailable  # noqa: E402

ONE_AT_A_TIME = 7_811_884_105_021_973_867
"""Number of the lock under which tables are made, so that nodes that start together do not
both try."""

_script = ScriptDirectory(Path(__file__).parent)


def prepare(connection: Connection, *, migrate: bool) -> bool:
    """Make the tables current; whether anything was changed. Runs in the caller's transaction.

    Without ``migrate`` only an empty database is changed; another one that is not current
    raises ``Unavailable`` with what to do.
    """
    connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": ONE_AT_A_TIME})
    context = MigrationContext.configure(
        connection, opts={"fn": lambda found, _: _script._upgrade_revs("head", found)}
    )
    found, newest = context.get_current_revision(), _script.get_current_head()
    if found == newest:
        return False
    if found is not None and found not in {one.revision for one in _script.walk_revisions()}:
        raise Unavailable(
            "The database was made by a newer version of Nuska; this one would not understand it."
        )
    if found is not None and not migrate:
        raise Unavailable(
            "The database was made by an earlier version of Nuska. "
            "Stop its other nodes, then run: nuska store migrate"
        )
    with Operations.context(context):
        context.run_migrations()
    return True

"""Statements of PostgreSQL that are written once and executed on the driver's own connection.

For what is done often: to have SQLAlchemy make, compile and read a statement takes several
times as long as the server takes to carry it out. Refuses to be for anything else; whatever is
rare, or is to run on every server, is made of tables and columns as elsewhere.
"""

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import TextClause
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg

from nuska.stores.sql.database import Database


class Statement:
    """What the server is sent, with the names of its values."""

    def __init__(self, clause: TextClause) -> None:
        compiled: Any = clause.compile(dialect=PGDialect_asyncpg())  # type: ignore[no-untyped-call]
        self._sql = str(compiled)
        self._names: Sequence[str] = compiled.positiontup
        self._row: Callable[[Any], Any] | None = None

    async def rows(self, database: Database, values: Mapping[str, Any]) -> list[Any]:
        """Do it, as a transaction of its own; what it returned, by the names of the columns."""
        given = [values[name] for name in self._names]

        async def work(connection: Any) -> list[Any]:
            return list(await connection.fetch(self._sql, *given))

        records = await database.do_bare(work)
        if not records:
            return []
        if self._row is None:
            row: Any = namedtuple("Row", records[0].keys())  # type: ignore[misc]
            self._row = row._make
        make = self._row
        return [make(record) for record in records]

"""Statements that are written once and executed on the driver's own connection.

For what is done often: to have SQLAlchemy make, compile and read a statement takes several
times as long as the server takes to carry it out. Refuses to be for anything else; whatever is
rare is made of tables and columns as elsewhere.
"""

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import ClauseElement

from nuska.stores.sql.database import Database


class Statement:
    """What a server is sent, with the names of its values."""

    def __init__(self, database: Database, clause: ClauseElement) -> None:
        self._database = database
        self._sql, self._names = database.dialect.compiled(clause)
        self._row: Callable[[Any], Any] | None = None

    async def rows(self, values: Mapping[str, Any]) -> list[Any]:
        """Do it, as a transaction of its own; what it returned, by the names of the columns."""
        given = [values[name] for name in self._names]
        fetch = self._database.dialect.fetch

        async def work(connection: Any) -> tuple[Sequence[str], Sequence[Any]]:
            return await fetch(connection, self._sql, given)

        columns, found = await self._database.do_bare(work)
        if not found:
            return []
        if self._row is None:
            row: Any = namedtuple("Row", columns)  # type: ignore[misc]
            self._row = row._make
        make = self._row
        return [make(one) for one in found]

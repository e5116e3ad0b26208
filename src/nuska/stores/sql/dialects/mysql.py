"""MariaDB and MySQL, by asyncmy.

A row has two locks there, shared and exclusive, and three are needed (see ``locking``). So a
queue has two rows: its gate, by its name, and its row in ``queues``. What works on messages
that exist shares the gate; what gives positions has the row in ``queues`` for itself; purge,
delete and fence have both.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

from sqlalchemy import (
    URL,
    BigInteger,
    Boolean,
    ClauseElement,
    Column,
    ColumnElement,
    Connection,
    Executable,
    LargeBinary,
    MetaData,
    Table,
    and_,
    delete,
    func,
    null,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.mysql import insert
from sqlalchemy.dialects.mysql.asyncmy import MySQLDialect_asyncmy
from sqlalchemy.ext.asyncio import AsyncConnection

from nuska.domain.errors import Unavailable
from nuska.interfaces.storage import Durability
from nuska.stores.sql.dialects.interface import LOCKED_AT_MOST, Connections, Lock
from nuska.stores.sql.dialects.mysql_connections import MysqlConnections, check_options
from nuska.stores.sql.dialects.mysql_durability import MysqlDemand
from nuska.stores.sql.promises import Demand
from nuska.stores.sql.rows import QUEUE_ROW, QueueRow
from nuska.stores.sql.tables import queues

DEADLOCK, LOCK_WAIT_TIMEOUT, CHANGED_SINCE = 1213, 1205, 1020
ROLLED_BACK = frozenset({DEADLOCK, LOCK_WAIT_TIMEOUT, CHANGED_SINCE})
"""Errors after which nothing of the transaction is left once it is rolled back, and that
another attempt may not meet."""
SENTENCES = {
    1044: "this user may not use this database",
    1045: "the user or the password is wrong",
    1049: "there is no such database",
    1142: "this user may not do that",
    1153: "a message is larger than the server's max_allowed_packet",
}
"""What an operator can mend."""
UNREACHED = 2003
NOT_BELIEVED = "CERTIFICATE_VERIFY_FAILED"
"""In the driver's words."""
MARIADB: tuple[int, ...] = (10, 6)
MYSQL: tuple[int, ...] = (8, 0, 1)
"""The first that pass over locked rows."""
PACKET_AT_LEAST = 4 * 1024 * 1024
"""Bytes that a statement may have."""

gates = Table(
    "gates",
    MetaData(),
    Column("project", LargeBinary, primary_key=True),
    Column("name", LargeBinary, primary_key=True),
    Column("queue", BigInteger, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("base_position", BigInteger, nullable=False),
    Column("fenced", Boolean, nullable=False),
)
ALSO_OF_GATE = frozenset({"generation", "base_position", "fenced"})
"""Columns that a queue's row and its gate both have."""


def _of_gate(name: str) -> Any:
    """A column of the queue's row, read without a lock."""
    column = select(queues.c[name]).where(queues.c.id == gates.c.queue)
    return column.scalar_subquery().label(name)


THROUGH_GATE = (
    gates.c.queue,
    gates.c.generation,
    gates.c.base_position,
    _of_gate("last_position"),
    _of_gate("last_moment"),
    _of_gate("relaxed"),
    gates.c.fenced,
    _of_gate("epoch"),
    null().label("log"),
)
"""A ``QueueRow``; what purge, delete and fence change is the gate's own, and thereby locked."""


class MySQL:
    """``Dialect`` of MariaDB 10.6 and MySQL 8.0, and later."""

    title = "MariaDB or MySQL"
    time = text("SELECT CAST(UNIX_TIMESTAMP(SYSDATE(3)) * 1000 AS SIGNED)")
    makes_tables_at_once = False
    takes_in_turn = True
    migrations = "mysql"

    def check(self, url: URL) -> None:
        check_options(url)

    def demand(self, required: Durability, url: URL) -> Demand:  # noqa: ARG002  PostgreSQL's says more
        return MysqlDemand(required)

    def carries_hints(self, url: URL) -> bool:  # noqa: ARG002  PostgreSQL's looks
        return True

    def connect(self, url: URL, demand: Demand | None, wait_at_most: float) -> Connections:
        return MysqlConnections(url, demand, wait_at_most)

    def says(self, error: BaseException) -> str:
        number = _number(error)
        if number is None:
            return ""
        if number == UNREACHED and NOT_BELIEVED in str(error):
            return f"{number}, whom the address leads to is not believed: a wrong certificate"
        return f"{number}, {SENTENCES[number]}" if number in SENTENCES else str(number)

    def nothing_happened(self, error: BaseException) -> bool:
        return _number(error) in ROLLED_BACK

    def compiled(self, clause: ClauseElement) -> tuple[str, Sequence[str]]:
        compiled: Any = clause.compile(dialect=MySQLDialect_asyncmy())
        return str(compiled), compiled.positiontup or ()

    async def fetch(
        self, connection: Any, sql: str, values: Sequence[Any]
    ) -> tuple[Sequence[str], Sequence[Any]]:
        async with connection.cursor() as cursor:
            await cursor.execute(sql, values)
            columns = [column[0] for column in cursor.description or ()]
            return columns, await cursor.fetchall() if columns else ()

    async def find(
        self, connection: AsyncConnection, project: bytes, name: bytes, lock: Lock
    ) -> QueueRow | None:
        if lock is Lock.SHARING:
            return await self._share(connection, project, name)
        if lock is Lock.EXCLUDING:
            gate = select(gates.c.queue).where(gates.c.project == project, gates.c.name == name)
            if (await connection.execute(gate.with_for_update())).one_or_none() is None:
                return None
        wanted = select(*QUEUE_ROW).where(queues.c.project == project, queues.c.name == name)
        if lock is not Lock.NONE:
            wanted = wanted.with_for_update()
        row = (await connection.execute(wanted)).one_or_none()
        return None if row is None else QueueRow(*row)

    async def _share(
        self, connection: AsyncConnection, project: bytes, name: bytes
    ) -> QueueRow | None:
        wanted = select(*THROUGH_GATE).where(gates.c.project == project, gates.c.name == name)
        shared = wanted.with_for_update(read=True)
        row = (await connection.execute(shared)).one_or_none()
        if row is not None and row.relaxed is None:
            # It was made while we waited for its gate; what is read without a lock is as old
            # as the statement, so ask again, now that we have the lock.
            row = (await connection.execute(shared)).one_or_none()
        return None if row is None else QueueRow(*row)

    async def insert_queue(
        self, connection: AsyncConnection, values: Mapping[str, Any]
    ) -> int | None:
        await connection.execute(
            insert(queues).values(values).on_duplicate_key_update(version=queues.c.version)
        )
        name = (queues.c.project == values["project"], queues.c.name == values["name"])
        there = select(queues.c.id, queues.c.generation).where(*name)
        row_id, generation = (await connection.execute(there)).one()
        if generation != values["generation"]:
            return None
        gate = {one: values[one] for one in ("project", "name", *ALSO_OF_GATE)}
        await connection.execute(insert(gates).values(queue=row_id, **gate))
        return int(row_id)

    async def change_queue(
        self, connection: AsyncConnection, row_id: int, values: Mapping[str, Any]
    ) -> None:
        gate = {name: value for name, value in values.items() if name in ALSO_OF_GATE}
        if gate:
            await connection.execute(update(gates).where(gates.c.queue == row_id).values(gate))
        await connection.execute(update(queues).where(queues.c.id == row_id).values(values))

    async def delete_queue(self, connection: AsyncConnection, row_id: int) -> None:
        await connection.execute(delete(gates).where(gates.c.queue == row_id))
        await connection.execute(delete(queues).where(queues.c.id == row_id))

    def upsert(self, table: Table, key: Mapping[str, Any], values: Mapping[str, Any]) -> Executable:
        return insert(table).values({**key, **values}).on_duplicate_key_update(dict(values))

    def insert_missing(
        self, table: Table, key: Mapping[str, Any], values: Mapping[str, Any]
    ) -> Executable:
        # Not INSERT IGNORE, which would also ignore that a value does not fit.
        first = next(iter(key))
        kept = {first: table.c[first]}
        return insert(table).values({**key, **values}).on_duplicate_key_update(kept)

    def is_one_of(
        self, columns: Sequence[ColumnElement[Any]], keys: Sequence[Sequence[Any]]
    ) -> ColumnElement[bool]:
        """Not as rows in a list of rows, for which MariaDB would read the whole table."""
        *leading, last = columns
        groups: dict[tuple[Any, ...], list[Any]] = defaultdict(list)
        for key in keys:
            groups[tuple(key[:-1])].append(key[-1])
        alternatives = []
        for prefix, ends in groups.items():
            same = [column == value for column, value in zip(leading, prefix, strict=True)]
            alternatives.append(and_(*same, last.in_(ends)))
        return or_(*alternatives)

    def contains(self, column: ColumnElement[bytes], part: bytes) -> ColumnElement[bool]:
        position: ColumnElement[int] = func.locate(part, column)
        return position > 0

    @contextmanager
    def making_tables(self, connection: Connection) -> Iterator[None]:
        database = str(connection.engine.url.database)
        name = {"name": f"nuska {sha256(database.encode()).hexdigest()[:32]}"}
        got = connection.execute(text(f"SELECT GET_LOCK(:name, {LOCKED_AT_MOST})"), name)
        if got.scalar_one() != 1:
            raise Unavailable("Another node is making the tables. Try again in a moment.")
        try:
            yield
        finally:
            connection.execute(text("SELECT RELEASE_LOCK(:name)"), name)

    async def check_server(self, connection: AsyncConnection) -> None:
        dialect: Any = connection.dialect
        maria = dialect.is_mariadb
        name, least = ("MariaDB", MARIADB) if maria else ("MySQL", MYSQL)
        if dialect.server_version_info < least:
            raise Unavailable(f"{name} must be at least {'.'.join(map(str, least))}.")
        found = await connection.execute(text("SELECT @@max_allowed_packet"))
        if int(found.scalar_one()) < PACKET_AT_LEAST:
            raise Unavailable(f"max_allowed_packet must be at least {PACKET_AT_LEAST} bytes.")

    async def relax(self, connection: AsyncConnection) -> None:
        """There it is a setting of the whole server."""


def _number(error: BaseException) -> int | None:
    """The server's number for what went wrong, or the driver's for a connection that is lost."""
    arguments = getattr(getattr(error, "orig", None), "args", ())
    return arguments[0] if arguments and isinstance(arguments[0], int) else None

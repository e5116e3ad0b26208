"""What the operations need of a database server that servers do not do alike."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from enum import Enum, auto
from typing import Any, Protocol

from sqlalchemy import (
    URL,
    ClauseElement,
    ColumnElement,
    Connection,
    Executable,
    Table,
    TextClause,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from nuska.interfaces.storage import Durability
from nuska.stores.sql.promises import Demand
from nuska.stores.sql.rows import QueueRow

CONNECTIONS = 16
"""Single statements, or blocks of them, that a node has under way at most; more wait for one
of them."""
TRANSACTIONS = 8
"""Of more than one statement, under way at most."""
CONNECT_WITHIN = 3
"""Seconds."""
LISTENER = "nuska listener"
"""What the connection calls itself on which a node hears others."""
LOCKED_AT_MOST = 3
"""Seconds a statement waits for a lock."""
IDLE_AT_MOST = 10
"""Seconds until the server gives up a transaction whose node has fallen silent, so that its
locks are in nobody's way."""


class Lock(Enum):
    """How a queue is held until the end of a transaction; see ``locking``."""

    NONE = auto()
    SHARING = auto()
    COUNTING = auto()
    EXCLUDING = auto()


class Connections(Protocol):
    """A node's connections to one database."""

    def writing(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A transaction at READ COMMITTED: committed at the end, rolled back by an error."""
        ...

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A transaction that reads one unchanging state."""
        ...

    def asking(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """For single statements that only read."""
        ...

    def doing(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """For single statements that write; each is a transaction."""
        ...

    def apart(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A new connection that is in no pool."""
        ...

    def bare(self) -> AbstractAsyncContextManager[Any]:
        """The driver's own connection, for single statements; each is a transaction. It spares
        what SQLAlchemy does around a statement, which takes longer than the statement."""
        ...

    async def close(self) -> None:
        """Let go of those that nobody uses; new ones are made when they are needed."""
        ...


class Dialect(Protocol):
    """One kind of server."""

    title: str
    """For people."""
    time: TextClause
    """A statement that says what the server's clock shows, in milliseconds."""
    makes_tables_at_once: bool
    """Changes of tables are part of a transaction, so they happen whole or not at all."""
    takes_in_turn: bool
    """Claims and pops of a queue come one after another, since those that pass over locked
    rows would not keep to the order of the queue."""
    migrations: str
    """The folder in ``migrations`` with the numbered changes of its tables."""

    def check(self, url: URL) -> None:
        """Raise ``ValueError`` for options of an address that are not known here."""
        ...

    def demand(self, required: Durability, url: URL) -> Demand:
        """What every connection must promise."""
        ...

    def carries_hints(self, url: URL) -> bool:
        """Whether what one node tells can reach the others by way of this address."""
        ...

    def connect(self, url: URL, demand: Demand | None, wait_at_most: float) -> Connections:
        """Connections that are made when they are needed, and keep to the demand."""
        ...

    def says(self, error: BaseException) -> str:
        """The server's own code for what went wrong, if it was the server who said so."""
        ...

    def nothing_happened(self, error: BaseException) -> bool:
        """Whether the server says that it has rolled back, so that trying again is safe."""
        ...

    def compiled(self, clause: ClauseElement) -> tuple[str, Sequence[str]]:
        """What the driver sends for a statement, and the names of its values in their order."""
        ...

    async def fetch(
        self, connection: Any, sql: str, values: Sequence[Any]
    ) -> tuple[Sequence[str], Sequence[Any]]:
        """Do a statement on the driver's own connection: its columns, and its rows."""
        ...

    async def find(
        self, connection: AsyncConnection, project: bytes, name: bytes, lock: Lock
    ) -> QueueRow | None:
        """The queue, locked until the end of the transaction; None when there is none."""
        ...

    async def insert_queue(
        self, connection: AsyncConnection, values: Mapping[str, Any]
    ) -> int | None:
        """Add a row to the table of queues; its id, or None when the name is taken."""
        ...

    async def change_queue(
        self, connection: AsyncConnection, row_id: int, values: Mapping[str, Any]
    ) -> None:
        """Change the row of a queue that was just inserted or is locked ``EXCLUDING``. Only so
        do its generation, its base and its fence change: who has it locked otherwise does not
        see them change."""
        ...

    async def delete_queue(self, connection: AsyncConnection, row_id: int) -> None:
        """Take away the row of a queue that was just inserted or is locked ``EXCLUDING``."""
        ...

    def upsert(self, table: Table, key: Mapping[str, Any], values: Mapping[str, Any]) -> Executable:
        """Insert a row, or give these values to the one that has this primary key."""
        ...

    def insert_missing(
        self, table: Table, key: Mapping[str, Any], values: Mapping[str, Any]
    ) -> Executable:
        """Insert a row unless there is one that has this primary key."""
        ...

    def is_one_of(
        self, columns: Sequence[ColumnElement[Any]], keys: Sequence[Sequence[Any]]
    ) -> ColumnElement[bool]:
        """Whether the columns are one of these keys; answered from the index."""
        ...

    def contains(self, column: ColumnElement[bytes], part: bytes) -> ColumnElement[bool]:
        """Whether bytes are within a column."""
        ...

    def making_tables(self, connection: Connection) -> AbstractContextManager[None]:
        """While nobody else makes tables in this database."""
        ...

    async def check_server(self, connection: AsyncConnection) -> None:
        """Raise ``Unavailable`` for a server that cannot do what is needed."""
        ...

    async def relax(self, connection: AsyncConnection) -> None:
        """Let this transaction be acknowledged before it is synced (D18), where one can."""
        ...

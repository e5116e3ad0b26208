"""What differs from one database server to another: a module for each, and how to find it.

Statements that every server understands alike are not here; they stand with the operation
that they are for.
"""

from sqlalchemy.ext.asyncio import AsyncConnection

from nuska.stores.sql.dialects.interface import Dialect
from nuska.stores.sql.dialects.mysql import MySQL
from nuska.stores.sql.dialects.postgresql import PostgreSQL

DIALECTS: dict[str, Dialect] = {"postgresql": PostgreSQL(), "mysql": MySQL()}
"""By the first part of SQLAlchemy's name of a driver."""


def named(drivername: str) -> Dialect:
    return DIALECTS[drivername.partition("+")[0]]


def dialect_of(connection: AsyncConnection) -> Dialect:
    return DIALECTS[connection.dialect.name]

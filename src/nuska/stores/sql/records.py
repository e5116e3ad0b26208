"""Records as rows; whoever reads one reads what was last committed."""

from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from nuska.interfaces.records import ABSENT, Record
from nuska.interfaces.storage import RandomBytes
from nuska.stores.sql.database import Database
from nuska.stores.sql.dialects import dialect_of
from nuska.stores.sql.tables import records

VERSION_BYTES = 12
"""Random: a version is not met again when a key is used again."""


class SqlRecords:
    """``RecordStore`` on one database."""

    def __init__(self, database: Database, random_bytes: RandomBytes) -> None:
        self._database = database
        self._random_bytes = random_bytes

    async def get(self, collection: str, key: str) -> Record | None:
        wanted = select(records.c.value, records.c.version).where(*_at(collection, key))

        async def work(connection: AsyncConnection) -> Record | None:
            row = (await connection.execute(wanted)).one_or_none()
            return None if row is None else Record(key, row.value, row.version.hex())

        return await self._database.ask(work)

    async def put(self, collection: str, key: str, value: bytes, *, version: str) -> str | None:
        new = self._random_bytes(VERSION_BYTES)
        values = {"value": value, "version": new}

        async def add(connection: AsyncConnection) -> bool:
            where = {"collection": collection.encode(), "key": key.encode()}
            await connection.execute(dialect_of(connection).insert_missing(records, where, values))
            there = select(records.c.version).where(*_at(collection, key))
            return (await connection.execute(there)).scalar_one_or_none() == new

        async def change(connection: AsyncConnection) -> bool:
            seen = _at(collection, key, version)
            changed = await connection.execute(update(records).where(*seen).values(values))
            return changed.rowcount == 1

        done = await self._database.write(add if version == ABSENT else change)
        return new.hex() if done else None

    async def remove(self, collection: str, key: str, *, version: str) -> bool:
        if version == ABSENT:
            return False

        async def work(connection: AsyncConnection) -> bool:
            seen = _at(collection, key, version)
            return (await connection.execute(delete(records).where(*seen))).rowcount == 1

        return await self._database.write(work)

    async def page(
        self, collection: str, *, after: str = "", before: str | None = None, limit: int
    ) -> list[Record]:
        wanted = select(records.c.key, records.c.value, records.c.version).where(
            records.c.collection == collection.encode(), records.c.key > after.encode()
        )
        if before is not None:
            wanted = wanted.where(records.c.key < before.encode())

        async def work(connection: AsyncConnection) -> list[Record]:
            rows = await connection.execute(wanted.order_by(records.c.key).limit(limit))
            return [Record(row.key.decode(), row.value, row.version.hex()) for row in rows]

        return await self._database.ask(work)


def _at(collection: str, key: str, version: str | None = None) -> list[Any]:
    """The record there; with ``version``, if it is still that."""
    where = [records.c.collection == collection.encode(), records.c.key == key.encode()]
    return where if version is None else [*where, records.c.version == bytes.fromhex(version)]

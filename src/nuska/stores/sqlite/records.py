"""Records in the database file; whoever reads one reads what was last committed."""

import apsw

from nuska.domain.moments import Moment
from nuska.interfaces.records import ABSENT, Record
from nuska.interfaces.storage import RandomBytes
from nuska.stores.sqlite.queries import query
from nuska.stores.sqlite.reader import Reader
from nuska.stores.sqlite.transaction import Transaction
from nuska.stores.sqlite.writer import Writer

GET_RECORD = query("get_record")
PUT_RECORD = query("put_record")
DELETE_RECORD = query("delete_record")
PAGE_RECORDS = query("page_records")

VERSION_BYTES = 12
"""Random: a version is not met again when a key is used again."""
NO_MOMENT = Moment(0)
"""Records know no time; the timeline stays where it is."""


class SqliteRecords:
    """``RecordStore`` on one database file."""

    def __init__(self, writer: Writer, reader: Reader, random_bytes: RandomBytes) -> None:
        self._writer = writer
        self._reader = reader
        self._random_bytes = random_bytes

    async def get(self, collection: str, key: str) -> Record | None:
        def work(connection: apsw.Connection) -> Record | None:
            found = connection.execute(GET_RECORD, (collection, key)).fetchone()
            return None if found is None else Record(key, *found)

        return self._reader.read(work)

    async def put(self, collection: str, key: str, value: bytes, *, version: str) -> str | None:
        new = self._random_bytes(VERSION_BYTES).hex()

        def work(transaction: Transaction) -> str | None:
            if _version(transaction, collection, key) != version:
                return None
            transaction.execute(PUT_RECORD, (collection, key, value, new))
            return new

        return await self._writer.run(work, now=NO_MOMENT)

    async def remove(self, collection: str, key: str, *, version: str) -> bool:
        def work(transaction: Transaction) -> bool:
            if version == ABSENT or _version(transaction, collection, key) != version:
                return False
            transaction.execute(DELETE_RECORD, (collection, key))
            return True

        return await self._writer.run(work, now=NO_MOMENT)

    async def page(
        self, collection: str, *, after: str = "", before: str | None = None, limit: int
    ) -> list[Record]:
        values = {"collection": collection, "after": after, "before": before, "limit": limit}

        def work(connection: apsw.Connection) -> list[Record]:
            return [Record(*found) for found in connection.execute(PAGE_RECORDS, values)]

        return self._reader.read(work)


def _version(transaction: Transaction, collection: str, key: str) -> str:
    found = transaction.execute(GET_RECORD, (collection, key)).fetchone()
    return ABSENT if found is None else str(found[1])

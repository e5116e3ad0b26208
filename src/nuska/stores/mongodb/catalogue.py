"""Records: small documents that change by compare-and-set, in a collection of their own.

Nothing here is sharded unless somebody shards it; then by ``{_id: 1}``. Keys are compared byte
by byte as UTF-8, which is the order of code points: neither the collection nor its index has
another collation. Each method is one statement, which the driver repeats safely when it lost
the answer.
"""

from typing import Any

from bson import MaxKey
from pymongo.errors import DuplicateKeyError

from nuska.interfaces.records import ABSENT, Record
from nuska.stores.mongodb.connection import Collection, Connection, bounded
from nuska.stores.mongodb.headers import unique
from nuska.stores.mongodb.records import Document

NAME = "catalogue"


class MongoRecords:
    """``RecordStore`` on MongoDB."""

    def __init__(self, connection: Connection) -> None:
        self._documents: Collection = connection.about.database[NAME]

    async def get(self, collection: str, key: str) -> Record | None:
        with bounded():
            found = await self._documents.find_one({"_id": _id(collection, key)})
        return None if found is None else _record(found)

    async def put(self, collection: str, key: str, value: bytes, *, version: str) -> str | None:
        new = unique().hex()
        content = {"value": value, "version": new}
        there = {"_id": _id(collection, key)}
        with bounded():
            if version != ABSENT:
                query = there | {"version": version}
                answer = await self._documents.update_one(query, {"$set": content})
                return new if answer.matched_count else None
            try:
                await self._documents.insert_one(there | content)
            except DuplicateKeyError:
                return None
        return new

    async def remove(self, collection: str, key: str, *, version: str) -> bool:
        if version == ABSENT:
            return False
        query = {"_id": _id(collection, key), "version": version}
        with bounded():
            return (await self._documents.delete_one(query)).deleted_count > 0

    async def page(
        self, collection: str, *, after: str = "", before: str | None = None, limit: int
    ) -> list[Record]:
        if limit <= 0:
            return []
        end = MaxKey() if before is None else before
        query = {"_id": {"$gt": _id(collection, after), "$lt": _id(collection, end)}}
        with bounded():
            found = await self._documents.find(query, limit=limit).sort("_id").to_list()
        return [_record(one) for one in found]


def _id(collection: str, key: Any) -> Document:
    """Compared field by field, in this order."""
    return {"collection": collection, "key": key}


def _record(document: Document) -> Record:
    return Record(document["_id"]["key"], document["value"], document["version"])

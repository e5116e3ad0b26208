"""MongoDB as a replica set of one; raw is PyMongo's async client on a collection like Nuska's.

Post and claim are transactions that begin with the queue's own document; a delete is one
command. Every write waits until it is in the journal of a majority, which is one.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bson import ObjectId
from pymongo import AsyncMongoClient, InsertOne, ReturnDocument, UpdateMany
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from benchmarks.filling import wall_clock
from benchmarks.processes import with_descendants
from benchmarks.stores.engine import CLAIM_TTL, POSTER, RAW_QUEUE, Held
from nuska.domain.messages import NewMessage
from nuska.domain.positions import SALT_BYTES
from nuska.stores.mongodb.indexes import make_indexes
from nuska.stores.mongodb.records import POSITION_BYTES, queue_key
from nuska.testing.mongodb_server import MongoServer, mongodb_server

Document = dict[str, Any]
CLAIM_BYTES = 12
JOURNALED = WriteConcern("majority", j=True)
SNAPSHOT = ReadConcern("snapshot")


@contextmanager
def running(directory: Path) -> Iterator["MongodbEngine"]:
    with mongodb_server(directory) as server:
        yield MongodbEngine(server)


class MongodbEngine:
    """``Engine``; a store of its own is a database of its own."""

    def __init__(self, server: MongoServer) -> None:
        self._server = server
        self._version = str(server.ask("buildInfo")["version"])

    @property
    def about(self) -> str:
        return f"MongoDB {self._version}, a replica set of one, writes journaled by the majority"

    def pids(self) -> list[int]:
        return with_descendants(self._server.pids()[0])

    async def space(self, name: str) -> str:
        return self._server.url(name)

    async def raw(self, name: str) -> "RawMongodb":
        client: AsyncMongoClient[Document] = AsyncMongoClient(self._server.url(name))
        raw = RawMongodb(client, name)
        await raw.prepare()
        return raw

    async def held(self, name: str) -> Held:
        self._server.ask("fsync")
        async with AsyncMongoClient[Document](self._server.url(name)) as client:
            stats = await client[name].command("dbStats")
        return Held(memory=0, disk=int(stats["storageSize"] + stats["indexSize"]))

    async def steps(self) -> dict[str, float]:
        found = self._server.ask("serverStatus")["transactions"]
        return {
            "commits": float(found["totalCommitted"]),
            "roll-backs": float(found["totalAborted"]),
        }


class RawMongodb:
    """``Raw``; a message is named by its ``_id``."""

    def __init__(self, client: AsyncMongoClient[Document], database: str) -> None:
        self._client = client
        self._records = client[database]["records"]
        self._queue = queue_key(RAW_QUEUE)
        self._generation = ObjectId().binary

    async def prepare(self) -> None:
        await make_indexes(self._records)
        queue = {"_id": self._queue, "q": self._queue, "last": 0, "moment": 0, "writes": 0}
        await self._records.insert_one(queue)

    async def post(self, messages: Sequence[NewMessage]) -> list[bytes]:
        now = wall_clock()
        async with (
            self._client.start_session() as session,
            await session.start_transaction(SNAPSHOT, JOURNALED),
        ):
            last = (await self._open(session, now, len(messages)))["last"]
            first = last - len(messages) + 1
            documents = [
                self._document(first + index, message, now)
                for index, message in enumerate(messages)
            ]
            await self._records.insert_many(documents, session=session)
        return [document["_id"] for document in documents]

    async def claim(self, limit: int) -> list[bytes]:
        now, claim = wall_clock(), os.urandom(CLAIM_BYTES)
        end = now + CLAIM_TTL
        async with (
            self._client.start_session() as session,
            await session.start_transaction(SNAPSHOT, JOURNALED),
        ):
            await self._open(session, now, 0)
            ready = {"q": self._queue, "g": self._generation, "w": False, "e": {"$gt": now}}
            cursor = self._records.find(ready, session=session, limit=limit).sort("p")
            found = [document["_id"] for document in await cursor.to_list()]
            marks = {"$set": {"w": True, "k": claim, "v": end}, "$inc": {"n": 1}}
            lease = {"_id": self._generation + claim, "q": self._queue, "t": CLAIM_TTL}
            await self._records.bulk_write(
                [
                    UpdateMany({"_id": {"$in": found}, "q": self._queue}, marks),
                    InsertOne(lease | {"s": now, "e": end}),
                ],
                session=session,
            )
        return found

    async def delete(self, messages: Sequence[bytes]) -> None:
        records = self._records.with_options(write_concern=JOURNALED)
        await records.delete_many({"_id": {"$in": list(messages)}, "q": self._queue})

    async def close(self) -> None:
        await self._client.close()

    async def _open(self, session: AsyncClientSession, now: int, count: int) -> Document:
        found = await self._records.find_one_and_update(
            {"_id": self._queue, "q": self._queue},
            {"$inc": {"writes": 1, "last": count}, "$max": {"moment": now}},
            return_document=ReturnDocument.AFTER,
            session=session,
        )
        assert found is not None, "the queue is there"
        return found

    def _document(self, position: int, message: NewMessage, now: int) -> Document:
        name = position.to_bytes(POSITION_BYTES, "big") + os.urandom(SALT_BYTES)
        return {
            "_id": self._generation + name,
            "q": self._queue,
            "g": self._generation,
            "p": position,
            "b": message.body,
            "o": POSTER,
            "t": message.ttl,
            "c": now,
            "e": now + message.ttl,
            "v": now,
            "n": 0,
            "w": False,
        }

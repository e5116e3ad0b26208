"""Queues: create, look up, list, delete, purge, count."""

import asyncio

import msgspec

from nuska.domain.errors import QueueAway
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment
from nuska.domain.queues import EMPTY_STATS, Landmark, Metadata, Queue, Stats
from nuska.stores.mongodb.connection import Connection, bounded
from nuska.stores.mongodb.headers import is_there, queue_of
from nuska.stores.mongodb.looking import Reader, View
from nuska.stores.mongodb.records import Document, message_id_of, queue_key
from nuska.stores.mongodb.transaction import Transaction
from nuska.stores.mongodb.writer import Writer

CHUNK = 100
"""Queues fetched in one go when a page is filtered."""

_canonical = msgspec.json.Encoder(order="deterministic").encode


class MongoQueues:
    """``QueueStore`` on MongoDB."""

    def __init__(self, connection: Connection, writer: Writer, reader: Reader) -> None:
        self._records = connection.records
        self._writer = writer
        self._reader = reader

    async def create(
        self, ref: QueueRef, metadata: Metadata, *, relaxed: bool = False, now: Moment
    ) -> bool:
        async def work(transaction: Transaction) -> bool:
            header = await transaction.open(ref)
            if header.exists:
                return False
            header.create(metadata, relaxed=relaxed)
            return True

        return await self._writer.run(ref, work, now=now)

    async def get(self, ref: QueueRef) -> Queue | None:
        key = queue_key(ref)
        with bounded():
            found = await self._records.find_one({"_id": key, "q": key})
        if found is None or not is_there(found):
            return None
        if "fenced" in found:
            raise QueueAway
        return queue_of(found)

    async def replace_metadata(
        self, queue: Queue, metadata: Metadata, *, relaxed: bool = False, now: Moment
    ) -> bool:
        async def work(transaction: Transaction) -> bool:
            header = await transaction.open(queue.ref)
            if not header.exists or header.version != queue.version:
                return False
            header.describe(metadata, relaxed=relaxed)
            return True

        return await self._writer.run(queue.ref, work, now=now)

    async def delete(self, ref: QueueRef, *, now: Moment) -> None:
        async def work(transaction: Transaction) -> None:
            header = await transaction.open(ref)
            if header.exists:
                await transaction.leave_behind(header, header.delete())

        await self._writer.run(ref, work, now=now)

    async def purge(self, ref: QueueRef, *, now: Moment) -> None:
        async def work(transaction: Transaction) -> None:
            header = await transaction.open(ref)
            if header.exists:
                await transaction.leave_behind(header, header.start_generation())

        await self._writer.run(ref, work, now=now)

    async def page(
        self,
        project: str,
        *,
        after: str | None,
        limit: int,
        name_contains: str | None = None,
        metadata_equals: Metadata | None = None,
        with_metadata: bool = True,  # noqa: ARG002  a header comes whole
    ) -> list[Queue]:
        wanted = metadata_equals or {}
        found: list[Queue] = []
        while len(found) < limit:
            chunk = await self._chunk(project, after, max(CHUNK, limit))
            for document in chunk:
                if name_contains is None or name_contains in document["name"]:
                    queue = queue_of(document)
                    if _has_pairs(queue.metadata, wanted):
                        found.append(queue)
            if len(chunk) < max(CHUNK, limit):
                break
            after = chunk[-1]["name"]
            await asyncio.sleep(0)  # others have their turn
        return found[:limit]

    async def _chunk(self, project: str, after: str | None, limit: int) -> list[Document]:
        names: Document = {"$exists": True} if after is None else {"$gt": after}
        query = {"project": project, "name": names}
        with bounded():
            return await self._records.find(query, limit=limit).sort("name").to_list()

    async def count(self, project: str) -> int:
        with bounded():
            return await self._records.count_documents({"project": project})

    async def stats(self, ref: QueueRef, *, now: Moment) -> Stats:
        return await self._reader.look(ref, now, _count, EMPTY_STATS)


async def _count(view: View) -> Stats:
    stored = {"g": view.header.generation, "e": {"$gt": view.now}}
    waits = {"$gt": ["$v", view.now]}
    claimed = {"$and": [waits, {"$gt": ["$k", None]}]}
    [*counts] = await view.aggregate(
        [
            {"$match": {"q": view.header.key, **stored}},
            {
                "$group": {
                    "_id": None,
                    "stored": {"$sum": 1},
                    "waiting": {"$sum": {"$cond": [waits, 1, 0]}},
                    "claimed": {"$sum": {"$cond": [claimed, 1, 0]}},
                }
            },
        ]
    )
    if not counts:
        return EMPTY_STATS
    [count] = counts
    [oldest] = await view.find(stored, sort=[("p", 1)], limit=1)
    [newest] = await view.find(stored, sort=[("p", -1)], limit=1)
    return Stats(
        ready=count["stored"] - count["waiting"],
        claimed=count["claimed"],
        delayed=count["waiting"] - count["claimed"],
        oldest=_landmark(oldest),
        newest=_landmark(newest),
    )


def _landmark(document: Document) -> Landmark:
    return Landmark(message_id_of(document), Moment(int(document["c"])))


def _has_pairs(metadata: Metadata, pairs: Metadata) -> bool:
    """Whether each pair is there, equal as JSON text: in Python ``1 == True == 1.0``."""
    return all(
        key in metadata and _canonical(metadata[key]) == _canonical(value)
        for key, value in pairs.items()
    )

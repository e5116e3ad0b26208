"""Clears away what is over, in steps of a bounded number of documents.

What is swept was invisible before, so a step is no transaction: each document is looked at
again as it is removed or changed. Several nodes may sweep at once.
"""

from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment
from nuska.interfaces.storage import SweepReport
from nuska.stores.mongodb.choosing import NO_LONGER_WAITING
from nuska.stores.mongodb.connection import Connection, bounded
from nuska.stores.mongodb.records import Document, keys_of_generation
from nuska.stores.mongodb.timeline import Timeline
from nuska.stores.mongodb.writer import Writer

CLEARED_PER_STEP = 200
"""Documents of each kind."""


class Sweeper:
    """One step at a time; see ``interfaces.storage.Store.sweep``."""

    def __init__(self, connection: Connection, writer: Writer, timeline: Timeline) -> None:
        self._records = connection.records
        self._writer = writer
        self._timeline = timeline

    async def sweep(self, now: Moment) -> SweepReport:
        now = self._writer.moment(now)
        with bounded():
            removed = await self._remove_ended(now)
            due, became_ready = await self._make_due_ready(now)
            if not removed:
                removed = await self._remove_leftovers()
            await self._timeline.note(now)
        return SweepReport(removed=removed, due=due, more=removed > 0 or became_ready)

    async def _remove_ended(self, now: Moment) -> int:
        """Messages, claims, remembered posts, and names of deleted queues."""
        over = {"e": {"$lte": now}}
        found = await self._some(over, "e")
        await self._keep_moment(found, now)
        return await self._delete(found, over)

    async def _make_due_ready(self, now: Moment) -> tuple[list[QueueRef], bool]:
        """The queues in which messages became available; whether there were any at all."""
        due = {"w": True, "v": {"$lte": now}}
        found = await self._some(due, "v")
        if not found:
            return [], False
        await self._keep_moment(found, now)
        query = _these(found) | due
        await self._records.update_many(query, NO_LONGER_WAITING)
        queues = {(one["q"], one["g"]) for one in found if one["e"] > now}
        return await self._existing(queues), True

    async def _keep_moment(self, found: list[Document], now: Moment) -> None:
        """Before it shows that something was over at ``now``: let no operation on these queues
        come earlier, whatever a node's clock says."""
        keys = list({one["q"] for one in found})
        if keys:
            earlier = {"_id": {"$in": keys}, "q": {"$in": keys}, "moment": {"$lt": now}}
            await self._records.update_many(earlier, {"$max": {"moment": now}})

    async def _existing(self, queues: set[tuple[bytes, bytes]]) -> list[QueueRef]:
        """Those whose generation is still the present one."""
        keys = [key for key, _ in queues]
        headers = await self._records.find({"_id": {"$in": keys}, "q": {"$in": keys}}).to_list()
        return [
            QueueRef(header["project"], header["name"])
            for header in headers
            if "project" in header and (header["_id"], header["generation"]) in queues
        ]

    async def _remove_leftovers(self) -> int:
        """Some of a generation that was purged or deleted; when none is left, the note of it."""
        leftover = await self._records.find_one({"old": {"$exists": True}})
        if leftover is None:
            return 0
        for keys in keys_of_generation(leftover["old"]):
            found = await self._some({"_id": keys, "q": leftover["q"]}, "_id")
            if found:
                return await self._delete(found, {})
        return await self._delete([leftover], {})

    async def _some(self, query: Document, order: str) -> list[Document]:
        fields = {"q": 1, "g": 1, "e": 1}
        found = self._records.find(query, fields, limit=CLEARED_PER_STEP)
        return await found.sort(order).to_list()

    async def _delete(self, found: list[Document], still: Document) -> int:
        if not found:
            return 0
        answer = await self._records.delete_many(_these(found) | still)
        return answer.deleted_count


def _these(found: list[Document]) -> Document:
    """A query that goes only to the shards that have the documents."""
    return {
        "_id": {"$in": [one["_id"] for one in found]},
        "q": {"$in": list({one["q"] for one in found})},
    }

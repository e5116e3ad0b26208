"""Queues: names, metadata, statistics, and the O(1) purge and delete."""

from typing import Any

from sqlalchemy import Select, bindparam, case, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from nuska.domain.errors import QueueAway
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment
from nuska.domain.positions import BEFORE_ALL
from nuska.domain.queues import EMPTY_STATS, Landmark, Metadata, Queue, Stats
from nuska.stores.sql import locking
from nuska.stores.sql.database import Database
from nuska.stores.sql.dialects import dialect_of
from nuska.stores.sql.dialects.interface import Lock
from nuska.stores.sql.rows import VERSION_SHIFT, encode, id_of, queue_of
from nuska.stores.sql.statements import Statement
from nuska.stores.sql.tables import messages, queues

CHUNK = 500
"""Queues looked at in one go when a page is filtered."""

GET = select(queues).where(
    queues.c.project == bindparam("project"), queues.c.name == bindparam("name")
)
"""Asked with every request."""


class SqlQueues:
    """``QueueStore`` on one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._getting = Statement(database, GET)

    async def create(
        self, ref: QueueRef, metadata: Metadata, *, relaxed: bool = False, now: Moment
    ) -> bool:
        async def work(connection: AsyncConnection) -> bool:
            made = await locking.create(
                connection, self._database, ref, metadata, relaxed=relaxed, now=now
            )
            if made is None:
                await locking.find(connection, ref, Lock.NONE)
            return made is not None

        return await self._database.write(work)

    async def get(self, ref: QueueRef) -> Queue | None:
        project, name = locking.of(ref)
        rows = await self._getting.rows({"project": project, "name": name})
        if rows and rows[0].fenced:
            raise QueueAway
        return queue_of(ref, rows[0]) if rows else None

    async def replace_metadata(
        self, queue: Queue, metadata: Metadata, *, relaxed: bool = False, now: Moment
    ) -> bool:
        self._database.moment(now)
        project, name = locking.of(queue.ref)
        change = (
            update(queues)
            .where(
                queues.c.project == project,
                queues.c.name == name,
                queues.c.id == queue.version >> VERSION_SHIFT,
                queues.c.version == queue.version & ((1 << VERSION_SHIFT) - 1),
                ~queues.c.fenced,
            )
            .values(metadata=encode(metadata), relaxed=relaxed, version=queues.c.version + 1)
        )

        async def work(connection: AsyncConnection) -> bool:
            changed = (await connection.execute(change)).rowcount == 1
            if not changed:
                await locking.find(connection, queue.ref, Lock.NONE)
            return changed

        return await self._database.write(work)

    async def delete(self, ref: QueueRef, *, now: Moment) -> None:
        self._database.moment(now)

        async def work(connection: AsyncConnection) -> None:
            row = await locking.find(connection, ref, Lock.EXCLUDING)
            if row is not None:
                await locking.delete(connection, ref, row)

        await self._database.write(work)

    async def purge(self, ref: QueueRef, *, now: Moment) -> None:
        self._database.moment(now)

        async def work(connection: AsyncConnection) -> None:
            row = await locking.find(connection, ref, Lock.EXCLUDING)
            if row is None:
                return
            await locking.retire(connection, row.generation, row.log)
            generation = await locking.new_generation(connection)
            fresh = {"generation": generation, "base_position": row.last_position}
            if row.log is not None:
                fresh["log"] = await locking.new_generation(connection)
            await dialect_of(connection).change_queue(connection, row.id, fresh)

        await self._database.write(work)

    async def page(
        self,
        project: str,
        *,
        after: str | None,
        limit: int,
        name_contains: str | None = None,
        metadata_equals: Metadata | None = None,
        with_metadata: bool = True,
    ) -> list[Queue]:
        wanted = select(queues).where(queues.c.project == project.encode(), ~queues.c.fenced)
        wanted = wanted.order_by(queues.c.name).limit(
            max(limit, CHUNK) if metadata_equals else limit
        )

        reads = with_metadata or bool(metadata_equals)

        async def work(connection: AsyncConnection) -> list[Queue]:
            found: list[Queue] = []
            chosen = wanted
            if name_contains is not None:
                has = dialect_of(connection).contains(queues.c.name, name_contains.encode())
                chosen = wanted.where(has)
            last = b"" if after is None else after.encode()
            while len(found) < limit:
                rows = (await connection.execute(chosen.where(queues.c.name > last))).all()
                for row in rows:
                    ref = QueueRef(project, row.name.decode())
                    queue = queue_of(ref, row) if reads else Queue(ref=ref, metadata={})
                    if _matches(queue.metadata, metadata_equals or {}):
                        found.append(queue)
                if not metadata_equals or len(rows) < max(limit, CHUNK):
                    break
                last = rows[-1].name
            return found[:limit]

        return await self._database.read(work)

    async def count(self, project: str) -> int:
        counted = select(func.count()).where(queues.c.project == project.encode(), ~queues.c.fenced)

        async def work(connection: AsyncConnection) -> int:
            return int((await connection.execute(counted)).scalar_one())

        return await self._database.ask(work)

    async def stats(self, ref: QueueRef, *, now: Moment) -> Stats:
        async def work(connection: AsyncConnection) -> Stats:
            row = await locking.find(connection, ref, Lock.NONE)
            if row is None:
                return EMPTY_STATS
            moment = self._database.moment(max(now, row.last_moment))
            return await _count(connection, row.generation, moment)

        return await self._database.read(work)


def _matches(metadata: Metadata, wanted: Metadata) -> bool:
    """Whether every wanted pair is there, equal in type (1 is not true) and value."""
    missing = object()
    for key, value in wanted.items():
        held = metadata.get(key, missing)
        if type(held) is not type(value) or held != value:
            return False
    return True


async def _count(connection: AsyncConnection, generation: int, now: Moment) -> Stats:
    waits, claimed = messages.c.available_at > now, messages.c.claim.is_not(None)
    live = (messages.c.generation == generation, messages.c.expires_at > now)
    counted = select(
        func.count(case((~waits, 1))),
        func.count(case((waits & ~claimed, 1))),
        func.count(case((waits & claimed, 1))),
    ).where(*live)
    ready, delayed, held = (await connection.execute(counted)).one()
    columns = messages.c
    first: Select[Any] = select(
        columns.position, columns.salt, columns.posted_position, columns.created_at
    ).where(*live, columns.position > BEFORE_ALL)
    ends = []
    for order in (columns.position, columns.position.desc()):
        row = (await connection.execute(first.order_by(order).limit(1))).one_or_none()
        ends.append(None if row is None else Landmark(id_of(*row[:3]), Moment(row.created_at)))
    return Stats(ready=ready, delayed=delayed, claimed=held, oldest=ends[0], newest=ends[1])

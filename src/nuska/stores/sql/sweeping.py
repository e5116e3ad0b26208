"""Clearing away in small steps: what is over, what was purged.

Nothing here decides what a request sees; expiry is a filter first (D7). Each step is one
short transaction that passes over what somebody else has locked, so several nodes may sweep.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, delete, exists, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment
from nuska.domain.positions import floor_at
from nuska.interfaces.storage import SweepReport
from nuska.stores.sql.choosing import make_due_ready
from nuska.stores.sql.claims import end_claim
from nuska.stores.sql.database import Database
from nuska.stores.sql.dialects import dialect_of
from nuska.stores.sql.locking import keep_moment
from nuska.stores.sql.moving import forget
from nuska.stores.sql.tables import (
    WAITS,
    announcements,
    claims,
    delays_ending,
    deleted_queues,
    generations,
    messages,
    moved,
    posts,
    queues,
)

CLAIMS_PER_STEP = 20
DELAYS_PER_STEP = 20
"""Moments at which delays end; most of them free only a message or a few."""
ROWS_PER_STEP = 200
OTHER_EVERY = 3
"""Every so many steps what is not urgent comes first, or a stream of ending claims and delays
would keep it waiting and the tables would grow."""

Step = Callable[[AsyncConnection, Moment], Awaitable[SweepReport | None]]


class Sweeper:
    """Does the first step that finds something to do."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._steps = 0

    async def sweep(self, now: Moment) -> SweepReport:
        """Do one step; see ``interfaces.storage.Store.sweep``."""
        moment = self._database.moment(now)
        if not await self._database.ask(lambda connection: _anything(connection, moment)):
            return SweepReport()
        self._steps += 1
        turn = self._steps % len(OTHER)
        other = (*OTHER[turn:], *OTHER[:turn])
        order = (*URGENT, *other) if self._steps % OTHER_EVERY else (*other, *URGENT)

        async def work(connection: AsyncConnection) -> SweepReport:
            for step in order:
                report = await step(connection, moment)
                if report is not None:
                    return report
            return SweepReport()

        return await self._database.write(work)


async def _anything(connection: AsyncConnection, now: Moment) -> bool:
    """Whether there is anything to do, so that an idle store writes nothing."""
    there = [
        select(claims.c.expires_at).where(claims.c.expires_at <= now),
        select(delays_ending.c.available_at).where(delays_ending.c.available_at <= now),
        select(messages.c.expires_at).where(messages.c.expires_at <= now),
        select(announcements.c.expires_at).where(announcements.c.expires_at <= now),
        select(posts.c.expires_at).where(posts.c.expires_at <= now),
        select(generations.c.id).where(generations.c.retired),
        select(deleted_queues.c.last_position).where(
            deleted_queues.c.last_position < floor_at(now)
        ),
    ]
    kinds = [select(one.limit(1).subquery()) for one in there]
    return (await connection.execute(union_all(*kinds).limit(1))).first() is not None


async def _end_claims(connection: AsyncConnection, now: Moment) -> SweepReport | None:
    ended = (
        await connection.execute(
            select(claims.c.generation, claims.c.claim, claims.c.expires_at)
            .with_hint(claims, "FORCE INDEX (claims_ending)", "mysql")
            .where(claims.c.expires_at <= now)
            .order_by(claims.c.expires_at)
            .limit(CLAIMS_PER_STEP)
            .with_for_update(skip_locked=True)
        )
    ).all()
    if not ended:
        return None
    freed, touched, rows = set[int](), list[int](), 0
    for generation, claim, end in ended:
        ends = await end_claim(connection, generation, claim, end)
        if any(one > now for one in ends):
            freed.add(generation)
        touched.append(generation)
        rows += len(ends)
        if rows >= ROWS_PER_STEP:
            break
    await keep_moment(connection, touched, now)
    return SweepReport(removed=len(touched), due=await _queues_of(connection, freed), more=True)


async def _end_delays(connection: AsyncConnection, now: Moment) -> SweepReport | None:
    ended = (
        await connection.execute(
            select(delays_ending.c.available_at, delays_ending.c.generation)
            .with_hint(delays_ending, "FORCE INDEX (PRIMARY)", "mysql")
            .where(delays_ending.c.available_at <= now)
            .order_by(delays_ending.c.available_at)
            .limit(DELAYS_PER_STEP)
            .with_for_update(skip_locked=True)
        )
    ).all()
    if not ended:
        return None
    freed, left = set[int](), ROWS_PER_STEP
    for available_at, generation in ended:
        ends = await make_due_ready(connection, generation, available_at, left)
        if any(end > now for end in ends):
            freed.add(generation)
        left -= len(ends)
        if left <= 0:
            break
        await _forget_delay(connection, generation, available_at)
    return SweepReport(due=await _queues_of(connection, freed), more=True)


async def _forget_delay(connection: AsyncConnection, generation: int, end: int) -> None:
    """A moment is worked off, unless somebody else has locked a message that waited for it."""
    still = exists().where(
        messages.c.generation == generation,
        WAITS,
        messages.c.available_at <= end,
    )
    if (await connection.execute(select(still))).scalar_one():
        return
    await connection.execute(
        delete(delays_ending).where(
            delays_ending.c.available_at == end, delays_ending.c.generation == generation
        )
    )


async def _queues_of(connection: AsyncConnection, found: Iterable[int]) -> list[QueueRef]:
    """The queues whose present content these generations are."""
    wanted = list(found)
    if not wanted:
        return []
    rows = await connection.execute(
        select(queues.c.project, queues.c.name).where(queues.c.generation.in_(wanted))
    )
    return [QueueRef(row.project.decode(), row.name.decode()) for row in rows]


async def _delete_expired(connection: AsyncConnection, now: Moment) -> SweepReport | None:
    columns = messages.c
    expired = (
        select(columns.generation, columns.position, columns.posted_position, columns.salt)
        .with_hint(messages, "FORCE INDEX (messages_ending)", "mysql")
        .where(columns.expires_at <= now)
        .order_by(columns.expires_at)
        .limit(ROWS_PER_STEP)
        .with_for_update(skip_locked=True)
    )
    gone = (await connection.execute(expired)).all()
    if not gone:
        return None
    key = (columns.generation, columns.position)
    which = dialect_of(connection).is_one_of(key, sorted(row[:2] for row in gone))
    await connection.execute(delete(messages).where(which))
    await forget(connection, [(row[0], row[2], row[3]) for row in gone])
    # A claim that ends with its messages must not be renewed without them.
    await keep_moment(connection, {row[0] for row in gone}, now)
    return SweepReport(removed=len(gone), more=True)


async def _delete_announcements(connection: AsyncConnection, now: Moment) -> SweepReport | None:
    expired = announcements.c.expires_at <= now
    return await _delete_some(connection, announcements, expired, along="announcements_ending")


async def _delete_posts(connection: AsyncConnection, now: Moment) -> SweepReport | None:
    return await _delete_some(connection, posts, posts.c.expires_at <= now)


async def _delete_names(connection: AsyncConnection, now: Moment) -> SweepReport | None:
    """Deleted queues whose positions the timeline has passed."""
    passed = deleted_queues.c.last_position < floor_at(now)
    return await _delete_some(connection, deleted_queues, passed)


async def _delete_generation(connection: AsyncConnection, _now: Moment) -> SweepReport | None:
    retired = await connection.execute(
        select(generations.c.id)
        .where(generations.c.retired)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    generation = retired.scalar_one_or_none()
    if generation is None:
        return None
    for table in (messages, claims, moved, delays_ending, announcements):
        report = await _delete_some(connection, table, table.c.generation == generation)
        if report is not None:
            return report
    await connection.execute(delete(generations).where(generations.c.id == generation))
    return SweepReport(removed=1, more=True)


async def _delete_some(
    connection: AsyncConnection, table: Table, which: ColumnElement[bool], *, along: str = ""
) -> SweepReport | None:
    """A bounded number of rows."""
    key = list(table.primary_key.columns)
    wanted: Select[*tuple[Any, ...]] = select(*key).where(which).limit(ROWS_PER_STEP)
    if along:
        wanted = wanted.with_hint(table, f"FORCE INDEX ({along})", "mysql")
    found = (await connection.execute(wanted.with_for_update(skip_locked=True))).all()
    if not found:
        return None
    chosen = dialect_of(connection).is_one_of(key, sorted(tuple(row) for row in found))
    await connection.execute(delete(table).where(chosen))
    return SweepReport(removed=len(found), more=True)


URGENT: tuple[Step, ...] = (_end_claims, _end_delays)
"""What somebody may wait for (I5)."""
OTHER: tuple[Step, ...] = (
    _delete_expired,
    _delete_announcements,
    _delete_posts,
    _delete_generation,
    _delete_names,
)
"""What takes up space, in turn, or a stream of one kind would keep the others waiting."""

"""Claims: leases on messages. What a claim chooses, and buries, is in ``burying.py``."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct, structs
from sqlalchemy import (
    BigInteger,
    LargeBinary,
    case,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from nuska.domain.claims import Claim, Claimed, DeadLetterRule
from nuska.domain.messages import Message, QueueRef
from nuska.domain.moments import Duration, Moment
from nuska.domain.positions import ClaimId, parse_claim_id
from nuska.stores.sql import locking
from nuska.stores.sql.at_once import NEVER_TIRED, AtOnce, Take
from nuska.stores.sql.burying import Choice
from nuska.stores.sql.choosing import BY_POSITION, IN_LINE, candidates
from nuska.stores.sql.database import Database
from nuska.stores.sql.dialects.interface import Lock
from nuska.stores.sql.measuring import claims_that_hold
from nuska.stores.sql.rows import MESSAGE, AnyRow, MessageRow, QueueRow, messages_of
from nuska.stores.sql.tables import READY, WAITS, claims, messages, queues
from nuska.stores.sql.taking import Takers


class SqlClaims:
    """``ClaimStore`` on one database."""

    def __init__(self, database: Database, at_once: AtOnce, takers: Takers) -> None:
        self._database = database
        self._at_once = at_once
        self._takers = takers

    async def create(
        self,
        queue: QueueRef,
        *,
        claim_id: str,
        limit: int,
        ttl: Duration,
        grace: Duration,
        dead_letters: DeadLetterRule | None = None,
        now: Moment,
    ) -> Claimed:
        claim = parse_claim_id(claim_id)
        if claim is None:
            raise ValueError("a claim id is 24 hexadecimal digits")

        highest = NEVER_TIRED if dead_letters is None else dead_letters.max_claims
        take = Take(claim, limit, ttl, ttl + grace, highest, now)
        claimed = await self._at_once.claim(queue, take)
        if claimed is not None:
            return claimed

        async def choose(connection: AsyncConnection, row: QueueRow, moment: Moment) -> Claimed:
            moved = 0
            if dead_letters is None:
                chosen = await candidates(connection, row.generation, moment, limit)
            else:
                choice = Choice(connection, self._database, queue, row, moment)
                chosen, moved = await choice.make(limit, dead_letters)
            if not chosen:
                return Claimed([], moved)
            moment = self._database.moment(await _start(connection, row, claim, ttl, moment))
            chosen = [one for one in chosen if one.expires_at > moment]
            if not chosen:
                await _end(connection, row.generation, claim)
                return Claimed([], moved)
            lease = Lease(claim, Moment(moment + ttl), ttl, grace)
            return Claimed(await lease.take(connection, row.generation, chosen, moment), moved)

        claimed = await self._takers.do(queue, choose, now)
        return Claimed([]) if claimed is None else claimed

    async def get(self, queue: QueueRef, claim_id: str, *, now: Moment) -> Claim | None:
        claim = parse_claim_id(claim_id)
        if claim is None:
            return None

        async def work(connection: AsyncConnection) -> Claim | None:
            row = await locking.find(connection, queue, Lock.NONE)
            if row is None:
                return None
            moment = self._database.moment(max(now, row.last_moment))
            live = (await connection.execute(_live(row.generation, claim, moment))).one_or_none()
            if live is None:
                return None
            wanted = select(*MESSAGE).where(
                *_held(row.generation, claim, live.expires_at), messages.c.expires_at > moment
            )
            rows = (await connection.execute(wanted.order_by(messages.c.position))).all()
            return Claim(
                id=ClaimId(claim_id),
                ttl=Duration(live.ttl),
                started_at=Moment(live.started_at),
                expires_at=Moment(live.expires_at),
                messages=messages_of(rows, moment),
            )

        return await self._database.read(work)

    async def renew(
        self, queue: QueueRef, claim_id: str, *, ttl: Duration, grace: Duration, now: Moment
    ) -> bool:
        claim = parse_claim_id(claim_id)
        if claim is None:
            return False

        async def work(connection: AsyncConnection) -> bool:
            found = await self._lock(connection, queue, claim, now)
            if found is None:
                return False
            generation, moment, live = found
            end = Moment(moment + ttl)
            held = await _lock_held(connection, generation, claim, live.expires_at)
            living = [row.position for row in held if row.expires_at > moment]
            await connection.execute(
                update(claims)
                .where(claims.c.generation == generation, claims.c.claim == claim)
                .values(ttl=ttl, started_at=moment, expires_at=end)
            )
            await connection.execute(
                update(messages)
                .with_hint(BY_POSITION, dialect_name="mysql")
                .where(messages.c.generation == generation, messages.c.position.in_(living))
                .values(available_at=end, **_prolonged(end, ttl, grace))
            )
            return True

        return await self._database.write(work)

    async def release(
        self, queue: QueueRef, claim_id: str, *, uncount: bool = False, now: Moment
    ) -> int:
        claim = parse_claim_id(claim_id)
        if claim is None:
            return 0

        async def work(connection: AsyncConnection) -> int:
            found = await self._lock(connection, queue, claim, now)
            if found is None:
                return 0
            generation, moment, live = found
            ends = await end_claim(
                connection, generation, claim, live.expires_at, uncount=int(uncount)
            )
            # Whoever takes them next, with a clock behind ours, begins no earlier than this.
            await locking.keep_moment(connection, [generation], moment)
            return sum(1 for end in ends if end > moment)

        return await self._database.write(work)

    async def count(self, queue: QueueRef, *, now: Moment) -> int:
        async def work(connection: AsyncConnection) -> int:
            row = await locking.find(connection, queue, Lock.NONE)
            if row is None:
                return 0
            moment = self._database.moment(max(now, row.last_moment))
            return await claims_that_hold(connection, row.generation, moment)

        return await self._database.read(work)

    async def _lock(
        self, connection: AsyncConnection, queue: QueueRef, claim: bytes, now: Moment
    ) -> tuple[int, Moment, AnyRow] | None:
        """A live claim, locked: its generation, the moment, and itself."""
        found = await locking.find_at(connection, self._database, queue, now)
        if found is None:
            return None
        row, moment = found
        wanted = _live(row.generation, claim, moment).with_for_update()
        live = (await connection.execute(wanted)).one_or_none()
        if live is None:
            return None
        settled = await locking.moment_since(
            connection, self._database, row, max(moment, live.started_at)
        )
        return (row.generation, settled, live) if live.expires_at > settled else None


class Lease(Struct, frozen=True):
    """What a claim does to a message."""

    claim: bytes
    end: Moment
    ttl: Duration
    grace: Duration

    async def take(
        self, connection: AsyncConnection, generation: int, chosen: Sequence[MessageRow], now: int
    ) -> list[Message]:
        """Mark locked messages as claimed; as they are then."""
        positions = [row.position for row in chosen]
        await connection.execute(
            update(messages)
            .with_hint(BY_POSITION, dialect_name="mysql")
            .where(messages.c.generation == generation, messages.c.position.in_(positions))
            .values(
                available_at=self.end,
                claim=self.claim,
                claim_count=messages.c.claim_count + 1,
                **_prolonged(self.end, self.ttl, self.grace),
            )
        )
        return [self.taken(message) for message in messages_of(chosen, now)]

    def taken(self, message: Message) -> Message:
        """A message as it is once it has been claimed."""
        lives_until = Moment(self.end + self.grace)
        longer = message.expires_at < lives_until
        return structs.replace(
            message,
            available_at=self.end,
            claim_id=self.claim.hex(),
            claim_count=message.claim_count + 1,
            expires_at=lives_until if longer else message.expires_at,
            ttl=Duration(self.ttl + self.grace) if longer else message.ttl,
        )


async def _start(
    connection: AsyncConnection, row: QueueRow, claim: bytes, ttl: Duration, moment: int
) -> int:
    """Add a claim; when it starts. Whoever had the locks before may have made messages ready
    at a later moment, and then this happens after that."""
    columns = (claims.c.generation, claims.c.claim, claims.c.ttl)
    starts = func.greatest(literal(moment, BigInteger), queues.c.last_moment)
    values = select(
        literal(row.generation, BigInteger),
        literal(claim, LargeBinary),
        literal(ttl, BigInteger),
        starts,
        starts + literal(ttl, BigInteger),
    ).where(queues.c.id == row.id)
    statement = insert(claims).from_select(
        [*columns, claims.c.started_at, claims.c.expires_at], values
    )
    if connection.dialect.insert_returning:
        started = await connection.execute(statement.returning(claims.c.started_at))
    else:
        await connection.execute(statement)
        own = (claims.c.generation == row.generation, claims.c.claim == claim)
        started = await connection.execute(select(claims.c.started_at).where(*own))
    return int(started.scalar_one())


async def _end(connection: AsyncConnection, generation: int, claim: bytes) -> None:
    await connection.execute(
        delete(claims).where(claims.c.generation == generation, claims.c.claim == claim)
    )


def _prolonged(end: Moment, ttl: Duration, grace: Duration) -> dict[str, Any]:
    """A claim may prolong a message, never shorten it (I9).

    MySQL assigns one after another, in the order of the table: there ``ttl`` comes first, so
    both see ``expires_at`` as it was.
    """
    lives_until = end + grace
    return {
        "expires_at": case(
            (messages.c.expires_at < lives_until, lives_until), else_=messages.c.expires_at
        ),
        "ttl": case((messages.c.expires_at < lives_until, ttl + grace), else_=messages.c.ttl),
    }


def _live(generation: int, claim: bytes, now: int) -> Any:
    """A claim, if it is live."""
    return select(claims.c.ttl, claims.c.started_at, claims.c.expires_at).where(
        claims.c.generation == generation, claims.c.claim == claim, claims.c.expires_at > now
    )


def _held(generation: int, claim: bytes, end: int) -> tuple[Any, ...]:
    """The messages of a claim wait until its end and carry its id."""
    return (
        messages.c.generation == generation,
        WAITS,
        messages.c.available_at == end,
        messages.c.claim == claim,
    )


async def _lock_held(
    connection: AsyncConnection, generation: int, claim: bytes, end: int
) -> Sequence[AnyRow]:
    wanted = select(messages.c.position, messages.c.expires_at).where(
        *_held(generation, claim, end)
    )
    wanted = wanted.with_hint(messages, IN_LINE, "mysql")
    locked = wanted.order_by(messages.c.position).with_for_update()
    return (await connection.execute(locked)).all()


async def end_claim(
    connection: AsyncConnection, generation: int, claim: bytes, end: int, *, uncount: int = 0
) -> list[int]:
    """Make the messages of a claim ready, where they never left, and remove it; their ends."""
    held = await _lock_held(connection, generation, claim, end)
    await connection.execute(
        update(messages)
        .with_hint(BY_POSITION, dialect_name="mysql")
        .where(
            messages.c.generation == generation,
            messages.c.position.in_([row.position for row in held]),
        )
        .values(available_at=READY, claim=None, claim_count=messages.c.claim_count - uncount)
    )
    await _end(connection, generation, claim)
    return [row.expires_at for row in held]

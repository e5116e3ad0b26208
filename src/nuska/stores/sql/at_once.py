"""Posts, claims and deletes of one queue that wait together, in one statement of PostgreSQL.

One round trip, and one commit for all of them (D11), instead of eight for each. A statement
does what is usual; where anything else is to be done (messages that come due, messages that
were handed out too often, refusals, messages that have moved) it does nothing for that
request, which then goes the way of ``claims`` and ``deleting``. Everything that such a
statement reads is of one state, except rows that others change meanwhile: those are looked at
again once they are locked. A fenced queue has no generation there, so nothing is found in it.
Messages are named by generation and a list of positions, so
that the server need not guess which table to begin with.
"""

from collections.abc import Collection, Sequence
from typing import Any, Protocol

from msgspec import Struct
from msgspec.structs import asdict
from sqlalchemy import ARRAY, BigInteger, Integer, LargeBinary, TextClause, bindparam, text

from nuska.domain.claims import Claimed
from nuska.domain.errors import QueueAway
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment
from nuska.domain.positions import COUNTER_EPOCH, COUNTER_SHIFT
from nuska.stores.sql import locking
from nuska.stores.sql.database import Database
from nuska.stores.sql.line import Lines
from nuska.stores.sql.moving import IN_ONE_STATEMENT, MessageKey
from nuska.stores.sql.rows import AnyRow, messages_of
from nuska.stores.sql.statements import Statement

NEVER_TIRED = 2**62
"""Claims that a message may have been in where no rule says how many."""

QUEUE = """
WITH queue AS MATERIALIZED (
    SELECT CASE WHEN NOT fenced THEN generation END AS generation, fenced,
           last_moment, greatest(:now, last_moment) AS moment,
           CASE WHEN relaxed THEN set_config('synchronous_commit', 'off', true) END
    FROM queues WHERE project = :project AND name = :name
    FOR KEY SHARE
)
"""

CLAIM = """
, due AS MATERIALIZED (
    SELECT 1 FROM messages
    WHERE generation = (SELECT generation FROM queue)
      AND available_at > 0 AND available_at <= (SELECT moment FROM queue)
    LIMIT 1
)
, chosen AS MATERIALIZED (
    SELECT position, claim_count FROM messages
    WHERE generation = (SELECT generation FROM queue)
      AND available_at = 0 AND expires_at > (SELECT moment FROM queue)
      AND NOT EXISTS (SELECT 1 FROM due)
    ORDER BY position
    LIMIT :together
    FOR UPDATE SKIP LOCKED
)
, asked AS MATERIALIZED (
    SELECT * FROM unnest(:claims, :ttls, :lives, :highest, :first, :last)
        AS one (claim, ttl, life, highest, first, last)
)
, numbered AS MATERIALIZED (
    SELECT position, claim_count, row_number() OVER (ORDER BY position) AS number FROM chosen
)
, given AS MATERIALIZED (
    SELECT numbered.position, numbered.claim_count, asked.*
    FROM numbered JOIN asked ON number BETWEEN first AND last
)
, tired AS MATERIALIZED (SELECT 1 FROM given WHERE claim_count >= highest LIMIT 1)
, handed AS (
    UPDATE messages AS message SET
        available_at = queue.moment + given.ttl,
        claim = given.claim,
        claim_count = message.claim_count + 1,
        expires_at = greatest(message.expires_at, queue.moment + given.life),
        ttl = CASE WHEN message.expires_at < queue.moment + given.life THEN given.life
                   ELSE message.ttl END
    FROM queue, given
    WHERE message.generation = (SELECT generation FROM queue)
      AND message.position = ANY (ARRAY(SELECT position FROM given))
      AND message.position = given.position
      AND NOT EXISTS (SELECT 1 FROM tired)
    RETURNING message.*
)
, made AS (
    INSERT INTO claims (generation, claim, ttl, started_at, expires_at)
    SELECT queue.generation, asked.claim, asked.ttl, queue.moment, queue.moment + asked.ttl
    FROM queue, asked
    WHERE EXISTS (SELECT 1 FROM handed WHERE handed.claim = asked.claim)
)
SELECT queue.moment AS at, queue.last_moment, queue.generation AS content, queue.fenced,
       EXISTS (SELECT 1 FROM due) OR EXISTS (SELECT 1 FROM tired) AS more_to_do, handed.*
FROM queue LEFT JOIN handed ON true
"""

DELETE = """
, wanted AS MATERIALIZED (
    SELECT * FROM unnest(:positions, :salts, :claims, :numbers)
        AS one (position, salt, claim, number)
)
, gone AS (
    DELETE FROM messages AS message
    USING queue, wanted
    WHERE message.generation = (SELECT generation FROM queue)
      AND message.position = ANY (:positions) AND message.position = wanted.position
      AND message.salt = wanted.salt AND message.posted_position IS NULL
      AND message.expires_at > queue.moment
      AND CASE WHEN wanted.claim IS NULL THEN message.available_at <= queue.moment
               ELSE message.available_at > queue.moment AND message.claim = wanted.claim END
    RETURNING wanted.number
)
SELECT queue.moment AS at, queue.last_moment, queue.generation AS content, queue.fenced,
       gone.number
FROM queue LEFT JOIN gone ON true
"""

DELETE_ALL = """
, wanted AS MATERIALIZED (
    SELECT * FROM unnest(:positions, :salts) AS one (position, salt)
)
, locked AS MATERIALIZED (
    SELECT message.position,
           :named IS NULL
           OR message.available_at > queue.moment AND message.claim = ANY (:named) AS allowed
    FROM messages AS message, queue, wanted
    WHERE message.generation = (SELECT generation FROM queue)
      AND message.position = ANY (:positions) AND message.position = wanted.position
      AND message.salt = wanted.salt AND message.posted_position IS NULL
      AND message.expires_at > queue.moment
    ORDER BY message.position
    FOR UPDATE OF message
)
, gone AS (
    DELETE FROM messages
    WHERE generation = (SELECT generation FROM queue)
      AND position = ANY (ARRAY(SELECT position FROM locked))
      AND (SELECT count(*) FROM locked WHERE allowed) = cardinality(:positions)
    RETURNING position
)
SELECT queue.moment AS at, queue.last_moment, queue.generation AS content, queue.fenced,
       (SELECT count(*) FROM gone) AS gone
FROM queue
"""

ADD = """
WITH counted AS (
    UPDATE queues SET
        last_moment = greatest(:now, last_moment),
        last_position = :together - 1 + greatest(
            last_position + 1,
            greatest(greatest(:now, last_moment) - :epoch, 1) << :shift)
    WHERE project = :project AND name = :name AND NOT fenced
    RETURNING generation, last_position, last_moment, log,
              CASE WHEN relaxed THEN set_config('synchronous_commit', 'off', true) END
)
, added AS (
    INSERT INTO messages (generation, position, salt, body, poster, ttl, created_at, expires_at,
                          available_at, claim_count, attributes)
    SELECT generation, last_position - :together + number, salt, body, poster, ttl, last_moment,
           last_moment + ttl, 0, 0, attributes
    FROM counted, unnest(:salts, :bodies, :posters, :ttls, :attributes)
        WITH ORDINALITY AS new (salt, body, poster, ttl, attributes, number)
)
, announced AS (
    INSERT INTO announcements (generation, position, salt, body, poster, ttl, created_at,
                               expires_at, available_at, attributes)
    SELECT log, last_position - :together + number, salt, body, poster, ttl, last_moment,
           last_moment + ttl, last_moment, attributes
    FROM counted, unnest(:salts, :bodies, :posters, :ttls, :attributes)
        WITH ORDINALITY AS new (salt, body, poster, ttl, attributes, number)
    WHERE log IS NOT NULL
)
SELECT last_position, last_moment FROM counted
"""
"""The queue's row is locked until the commit, so positions follow the order of commits."""


def _statement(rest: str, *, begin: str = QUEUE, **kinds: Any) -> TextClause:
    arrays = [bindparam(name, type_=ARRAY(kind)) for name, kind in kinds.items()]
    return text(begin + rest).bindparams(
        bindparam("project", type_=LargeBinary),
        bindparam("name", type_=LargeBinary),
        bindparam("now", type_=BigInteger),
        *arrays,
    )


CLAIM_STATEMENT = _statement(
    CLAIM,
    claims=LargeBinary,
    ttls=BigInteger,
    lives=BigInteger,
    highest=BigInteger,
    first=BigInteger,
    last=BigInteger,
).bindparams(bindparam("together", type_=BigInteger))
DELETE_STATEMENT = _statement(
    DELETE, positions=BigInteger, salts=LargeBinary, claims=LargeBinary, numbers=BigInteger
)
DELETE_ALL_STATEMENT = _statement(
    DELETE_ALL, positions=BigInteger, salts=LargeBinary, named=LargeBinary
)
ADD_STATEMENT = _statement(
    ADD,
    begin="",
    salts=LargeBinary,
    bodies=LargeBinary,
    posters=LargeBinary,
    ttls=BigInteger,
    attributes=LargeBinary,
).bindparams(
    bindparam("together", type_=BigInteger),
    bindparam("epoch", type_=BigInteger),
    bindparam("shift", type_=Integer),
)


class Take(Struct, frozen=True):
    """A claim that stands in line."""

    claim: bytes
    limit: int
    ttl: int
    life: int
    """From the claim on, that its messages live at least."""
    highest: int
    now: int


class Removal(Struct, frozen=True):
    """A delete that stands in line."""

    key: MessageKey
    claim: bytes | None
    now: int


class Newcomers(Struct, frozen=True):
    """Messages that are posted to one queue together, in their order; none is delayed."""

    salts: Sequence[bytes]
    bodies: Sequence[bytes]
    posters: Sequence[bytes]
    ttls: Sequence[int]
    attributes: Sequence[bytes | None]
    now: int


class AtOnce(Protocol):
    """What one statement can do for those who wait together."""

    async def add(self, queue: QueueRef, newcomers: Newcomers) -> int | None:
        """The first of the positions that they got, one after the other; None: nothing has
        happened, for the queue is not there, or fenced."""
        ...

    async def claim(self, queue: QueueRef, take: Take) -> Claimed | None:
        """What the claim got; None: it has not been made, and is to be made the long way."""
        ...

    async def delete(self, queue: QueueRef, removal: Removal) -> bool:
        """Whether the message was deleted; else nothing has happened, whatever the reason."""
        ...

    async def delete_many(
        self,
        queue: QueueRef,
        keys: Sequence[MessageKey],
        named: Collection[bytes] | None,
        now: int,
    ) -> bool:
        """Whether all were there, held by one of the claims if there are ``named``, and were
        deleted; else nothing has happened, whatever the reason."""
        ...

    async def close(self) -> None: ...


class PostgresqlAtOnce:
    """``AtOnce`` on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._claiming = Statement(database, CLAIM_STATEMENT)
        self._deleting = Statement(database, DELETE_STATEMENT)
        self._deleting_all = Statement(database, DELETE_ALL_STATEMENT)
        self._adding = Statement(database, ADD_STATEMENT)
        self._claims: Lines[QueueRef, Take, Claimed | None] = Lines(self._claim)
        self._deletes: Lines[QueueRef, Removal, bool] = Lines(self._delete)

    async def claim(self, queue: QueueRef, take: Take) -> Claimed | None:
        return await self._claims.stand(queue, take)

    async def delete(self, queue: QueueRef, removal: Removal) -> bool:
        return await self._deletes.stand(queue, removal)

    async def add(self, queue: QueueRef, newcomers: Newcomers) -> int | None:
        together = len(newcomers.salts)
        values = asdict(newcomers) | {
            "together": together,
            "epoch": COUNTER_EPOCH,
            "shift": COUNTER_SHIFT,
        }
        rows = await self._do(self._adding, queue, newcomers.now, values)
        if not rows:
            return None
        self._database.moment(Moment(rows[0].last_moment))
        return int(rows[0].last_position) - together + 1

    async def delete_many(
        self,
        queue: QueueRef,
        keys: Sequence[MessageKey],
        named: Collection[bytes] | None,
        now: int,
    ) -> bool:
        if len(keys) > IN_ONE_STATEMENT:
            return False
        positions, salts = zip(*keys, strict=True)
        values = {
            "positions": positions,
            "salts": salts,
            "named": None if named is None else list(named),
        }
        rows = await self._ask(self._deleting_all, queue, now, values)
        return bool(rows) and rows[0].gone > 0

    async def close(self) -> None:
        await self._claims.close()
        await self._deletes.close()

    async def _claim(
        self, queue: QueueRef, group: Sequence[Take]
    ) -> list[Claimed | Exception | None]:
        ends = [sum(take.limit for take in group[: index + 1]) for index in range(len(group))]
        values = {
            "together": ends[-1],
            "claims": [take.claim for take in group],
            "ttls": [take.ttl for take in group],
            "lives": [take.life for take in group],
            "highest": [take.highest for take in group],
            "first": [end - take.limit + 1 for end, take in zip(ends, group, strict=True)],
            "last": ends,
        }
        rows = await self._ask(self._claiming, queue, max(take.now for take in group), values)
        if not rows:
            return [Claimed([]) for _ in group]
        if rows[0].more_to_do:
            return [None for _ in group]
        handed: dict[bytes, list[AnyRow]] = {take.claim: [] for take in group}
        for row in sorted((row for row in rows if row.claim), key=lambda row: int(row.position)):
            handed[row.claim].append(row)
        return [Claimed(messages_of(handed[take.claim], rows[0].at)) for take in group]

    async def _delete(self, queue: QueueRef, group: Sequence[Removal]) -> list[bool | Exception]:
        ordered = sorted(range(len(group)), key=lambda index: group[index].key)
        values = {
            "positions": [group[index].key[0] for index in ordered],
            "salts": [group[index].key[1] for index in ordered],
            "claims": [group[index].claim for index in ordered],
            "numbers": ordered,
        }
        rows = await self._ask(self._deleting, queue, max(one.now for one in group), values)
        gone = {row.number for row in rows}
        return [index in gone for index in range(len(group))]

    async def _ask(
        self, statement: Statement, queue: QueueRef, now: int, values: dict[str, Any]
    ) -> Sequence[AnyRow]:
        rows = await self._do(statement, queue, now, values)
        if rows:
            if rows[0].fenced:
                raise QueueAway
            await self._keep_moment(rows[0])
        return rows

    async def _do(
        self, statement: Statement, queue: QueueRef, now: int, values: dict[str, Any]
    ) -> Sequence[AnyRow]:
        project, name = locking.of(queue)
        values |= {"project": project, "name": name, "now": self._database.moment(now)}
        return await statement.rows(values)

    async def _keep_moment(self, row: AnyRow) -> None:
        moment = self._database.moment(Moment(row.at))
        if moment > row.last_moment + locking.KEPT_WITHIN:
            generation = row.content
            await self._database.write(
                lambda connection: locking.keep_moment(connection, [generation], moment)
            )

"""Posts, claims and deletes of one queue that wait together, in blocks of statements of MariaDB.

A block is sent whole and answered once, so that an operation is one round trip, or two for a
claim, and one commit for all that wait together (D11). It takes the locks that ``locking`` and
``taking`` take, in their order, and does what is usual; where anything else is to be done it
does nothing, and the request goes the way of ``posting``, ``claims`` and ``deleting``. So does
every request on MySQL, which takes blocks only as stored procedures. Names within a block are
not those of columns, which they would hide.
"""

from collections.abc import Collection, Sequence
from dataclasses import make_dataclass
from itertools import chain, islice, starmap
from typing import Any, NamedTuple

from nuska.domain.claims import Claimed
from nuska.domain.errors import QueueAway
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Duration, Moment
from nuska.domain.positions import COUNTER_EPOCH, COUNTER_SHIFT
from nuska.stores.sql import locking
from nuska.stores.sql.at_once import Newcomers, Removal, Take
from nuska.stores.sql.choosing import BY_POSITION, IN_LINE
from nuska.stores.sql.claims import Lease
from nuska.stores.sql.database import Database
from nuska.stores.sql.line import Lines
from nuska.stores.sql.moving import MessageKey
from nuska.stores.sql.rows import MESSAGE, messages_of

KEYS_AT_MOST = 100
"""Messages that one block deletes; it compares each with each."""
BYTES_AT_MOST = 1_000_000
"""Of what is posted in one block: written as text it may be twice as long, and a server takes
four times as much at least."""

ADD = """
BEGIN NOT ATOMIC
DECLARE content, heard, number, place, moment BIGINT;
START TRANSACTION;
SELECT id, generation, queues.log, GREATEST(%s, last_moment),
       GREATEST(last_position + 1, GREATEST(GREATEST(%s, last_moment) - %s, 1) * %s)
INTO number, content, heard, moment, place
FROM queues WHERE project = %s AND name = %s AND NOT fenced FOR UPDATE;
IF content IS NOT NULL THEN
    INSERT INTO messages (generation, position, salt, body, poster, ttl, created_at, expires_at,
                          available_at, claim_count, attributes)
    VALUES {rows};
    IF heard IS NOT NULL THEN
        INSERT INTO announcements (generation, position, salt, body, poster, ttl, created_at,
                                   expires_at, available_at, attributes)
        SELECT heard, position, salt, body, poster, ttl, created_at, expires_at, created_at,
               attributes
        FROM messages {by_position}
        WHERE generation = content AND position BETWEEN place AND place + {others};
    END IF;
    UPDATE queues SET last_position = place + {others}, last_moment = moment WHERE id = number;
END IF;
COMMIT;
SELECT place, moment;
END
"""
"""The queue's row is locked until the commit, so positions follow the order of commits, and
whoever has opened its announcement log finds there what was posted since."""
NEW_ROW = "(content, place + {index}, %s, %s, %s, %s, moment, moment + %s, 0, 0, %s)"

THROUGH_GATE = """
BEGIN NOT ATOMIC
DECLARE content, number, before_it, moment, done BIGINT;
DECLARE away BOOL;
START TRANSACTION;
SELECT queue, generation, fenced, (SELECT last_moment FROM queues WHERE id = queue)
INTO number, content, away, before_it
FROM gates WHERE project = %s AND name = %s LOCK IN SHARE MODE;
SET moment = GREATEST(%s, before_it);
IF NOT away THEN
    {work}
END IF;
{end}
END
"""
"""Nobody has a moment in a queue that was made while this waited for its gate: nothing is found
in it, and whoever asked goes the longer way, as behind a fence."""

DELETE = """
    DELETE FROM messages
    WHERE generation = content AND position IN %s
      AND posted_position IS NULL AND expires_at > moment AND CASE position {whens} END
    RETURNING content, before_it, moment, position;
"""
WHEN_FREE = "WHEN %s THEN salt = %s AND available_at <= moment"
WHEN_HELD = "WHEN %s THEN salt = %s AND available_at > moment AND claim = %s"

DELETE_ALL = """
    DELETE FROM messages
    WHERE generation = content AND position IN %s
      AND posted_position IS NULL AND expires_at > moment AND CASE position {whens} END{held};
    SET done = ROW_COUNT();
"""
WHEN = "WHEN %s THEN salt = %s"
HELD = " AND available_at > moment AND claim IN ({claims})"
ALL_OR_NOTHING = """
IF done = {wanted} THEN COMMIT; ELSE ROLLBACK; END IF;
SELECT content, before_it, moment, done;
"""

OTHERS_FIRST = f"""EXISTS (
    SELECT 1 FROM messages {IN_LINE}
    WHERE generation = content AND available_at > 0 AND available_at <= moment)
"""  # noqa: S608  the name of an index
SEEN = f"""content, before_it, moment, away, {OTHERS_FIRST},
    (SELECT GREATEST(moment, last_moment) FROM queues WHERE id = number)
"""  # noqa: S608  the name of an index
"""Whoever had the turn before may have made messages ready at a later moment, which stands in the
queue since: a claim starts after that."""
LOOK = f"""
    SELECT id INTO done FROM generations WHERE id = content FOR UPDATE;
    SELECT {SEEN}, {", ".join(column.name for column in MESSAGE)} FROM messages {IN_LINE}
    WHERE generation = content AND available_at = 0 AND claim IS NULL AND expires_at > moment
    ORDER BY position LIMIT %s;
    SET done = FOUND_ROWS();
"""  # noqa: S608  names of columns and indexes alone
"""Without a lock: only deletes come between this and the taking, and then it is not made."""
LOOKED = f"IF done IS NULL OR done = 0 THEN COMMIT; SELECT {SEEN}; END IF;"

TAKE = """
BEGIN NOT ATOMIC
DECLARE done BIGINT DEFAULT 0;
{takes}
IF done = %s THEN COMMIT; ELSE ROLLBACK; END IF;
SELECT done;
END
"""
TAKE_ONE = f"""
UPDATE messages {BY_POSITION}
SET ttl = IF(expires_at < %s, %s, ttl), expires_at = GREATEST(expires_at, %s),
    available_at = %s, claim = %s, claim_count = claim_count + 1
WHERE generation = %s AND position IN %s
  AND available_at = 0 AND claim IS NULL AND expires_at > %s;
SET done = done + ROW_COUNT();
INSERT INTO claims (generation, claim, ttl, started_at, expires_at) VALUES (%s, %s, %s, %s, %s);
"""  # noqa: S608  the name of an index
"""MariaDB assigns one after another, so the ttl is reckoned from the end as it was."""

SEEN_COLUMNS = 6
_Row: type[Any] = make_dataclass("_Row", [column.name for column in MESSAGE], slots=True)
Rows = Sequence[Any]


class Behind(NamedTuple):
    """What a block found behind the gate."""

    content: int
    before_it: int
    """The last moment of the queue, as it was."""
    moment: int


class Grant(NamedTuple):
    """What a claim finds, or several together, when they have their turn."""

    behind: Behind | None
    """None where there is no queue."""
    starts: Moment
    rows: Sequence[Sequence[Any]]
    """For each who asks."""


class MariadbAtOnce:
    """``AtOnce`` on MariaDB."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._claims: Lines[QueueRef, Take, Claimed | None] = Lines(self._claim)
        self._deletes: Lines[QueueRef, Removal, bool] = Lines(self._delete)

    async def claim(self, queue: QueueRef, take: Take) -> Claimed | None:
        return await self._claims.stand(queue, take)

    async def delete(self, queue: QueueRef, removal: Removal) -> bool:
        return await self._deletes.stand(queue, removal)

    async def close(self) -> None:
        await self._claims.close()
        await self._deletes.close()

    async def add(self, queue: QueueRef, newcomers: Newcomers) -> int | None:
        together = len(newcomers.salts)
        sizes = (*map(len, newcomers.bodies), *(len(one or b"") for one in newcomers.attributes))
        if sum(sizes) > BYTES_AT_MOST:
            return None
        now = self._database.moment(newcomers.now)
        values: list[Any] = [now, now, COUNTER_EPOCH, 1 << COUNTER_SHIFT, *locking.of(queue)]
        for salt, body, poster, ttl, attributes in zip(
            newcomers.salts,
            newcomers.bodies,
            newcomers.posters,
            newcomers.ttls,
            newcomers.attributes,
            strict=True,
        ):
            values += (salt, body, poster, ttl, ttl, attributes)
        rows = ", ".join(NEW_ROW.format(index=index) for index in range(together))
        block = ADD.format(rows=rows, others=together - 1, by_position=BY_POSITION)

        async def work(connection: Any) -> tuple[int, int] | None:
            if not _takes_blocks(connection):
                return None
            [[said]] = await _results(connection, block, values)
            return None if said[0] is None else said

        added = await self._database.do_bare(work)
        if added is None:
            return None
        place, moment = added
        self._database.moment(moment)
        return place

    async def delete_many(
        self,
        queue: QueueRef,
        keys: Sequence[MessageKey],
        named: Collection[bytes] | None,
        now: int,
    ) -> bool:
        if len(keys) > KEYS_AT_MOST or (named is not None and not 0 < len(named) <= KEYS_AT_MOST):
            return False
        held = "" if named is None else HELD.format(claims=", ".join("%s" for _ in named))
        work = DELETE_ALL.format(whens=" ".join(WHEN for _ in keys), held=held)
        positions = tuple(sorted({position for position, _ in keys}))
        values = [positions, *chain.from_iterable(keys), *(named or ())]
        end = ALL_OR_NOTHING.format(wanted=len(keys))
        [*_, (*behind, done)] = await self._through_gate(queue, now, work, values, end) or [(0,)]
        if done != len(keys):
            return False
        await self._keep_moment(Behind(*behind))
        return True

    async def _delete(self, queue: QueueRef, group: Sequence[Removal]) -> list[bool | Exception]:
        first = {removal.key[0]: index for index, removal in reversed([*enumerate(group)])}
        whens: list[str] = []
        values: list[Any] = [tuple(sorted(first))]
        for index in first.values():
            removal = group[index]
            whens.append(WHEN_FREE if removal.claim is None else WHEN_HELD)
            values += removal.key if removal.claim is None else (*removal.key, removal.claim)
        now = max(removal.now for removal in group)
        work = DELETE.format(whens=" ".join(whens))
        rows = await self._through_gate(queue, now, work, values, "COMMIT;")
        if rows:
            await self._keep_moment(Behind(*rows[0][:-1]))
        gone = {first[row[-1]] for row in rows}
        return [index in gone for index in range(len(group))]

    async def _through_gate(
        self, queue: QueueRef, now: int, work: str, values: Sequence[Any], end: str
    ) -> Rows:
        """Do what is to be done behind the gate, as a transaction: the rows that this returns."""
        block = THROUGH_GATE.format(work=work, end=end)
        given = [*locking.of(queue), self._database.moment(now), *values]

        async def do(connection: Any) -> Rows:
            if not _takes_blocks(connection):
                return ()
            return [row for rows in await _results(connection, block, given) for row in rows]

        return await self._database.do_bare(do)

    async def _keep_moment(self, behind: Behind) -> None:
        """A moment that has left its mark on the queue is known to all in time."""
        kept = self._database.moment(behind.moment)
        if kept > behind.before_it + locking.KEPT_WITHIN:
            await self._database.write(
                lambda connection: locking.keep_moment(connection, [behind.content], kept)
            )

    async def _claim(
        self, queue: QueueRef, group: Sequence[Take]
    ) -> list[Claimed | Exception | None]:
        together, now = sum(take.limit for take in group), max(take.now for take in group)
        block = THROUGH_GATE.format(work=LOOK, end=LOOKED)
        values = [*locking.of(queue), self._database.moment(now), together]

        async def work(connection: Any) -> Grant | None:
            if not _takes_blocks(connection):
                return None
            found = [row for rows in await _results(connection, block, values) for row in rows]
            *behind, away, others_first, starts = found[0][:SEEN_COLUMNS]
            if away:
                raise QueueAway
            left = starmap(_Row, (row[SEEN_COLUMNS:] for row in found if len(row) > SEEN_COLUMNS))
            given = [list(islice(left, take.limit)) for take in group]
            if others_first or (starts is None and behind[0] is not None):
                await connection.rollback()
                return None
            grant = Grant(Behind(*behind) if starts else None, starts, given)
            return grant if not given[0] or await _take(connection, grant, group) else None

        grant = await self._database.do_bare(work)
        if grant is None:
            return [None for _ in group]
        if grant.behind is None:
            return [Claimed([]) for _ in group]
        await self._keep_moment(grant.behind._replace(moment=grant.starts))
        return [
            Claimed([_lease(take, grant).taken(one) for one in messages_of(rows, grant.starts)])
            for take, rows in zip(group, grant.rows, strict=True)
        ]


async def _take(connection: Any, grant: Grant, group: Sequence[Take]) -> bool:
    """Give messages to those who ask; False: nothing was done, for some of the messages are not
    to be handed out, or have gone."""
    asked = [(take, rows) for take, rows in zip(group, grant.rows, strict=True) if rows]
    if any(row.claim_count >= take.highest for take, rows in asked for row in rows):
        await connection.rollback()
        return False
    assert grant.behind is not None, "its rows were found in it"
    content, starts = grant.behind.content, grant.starts
    values: list[Any] = []
    for take, rows in asked:
        end, lives_until = starts + take.ttl, starts + take.life
        values += (lives_until, take.life, lives_until, end, take.claim)
        values += (content, tuple(row.position for row in rows), starts)
        values += (content, take.claim, take.ttl, starts, end)
    wanted = sum(len(rows) for _, rows in asked)
    block = TAKE.format(takes="".join(TAKE_ONE for _ in asked))
    [[(done,)]] = await _results(connection, block, [*values, wanted])
    return bool(done == wanted)


def _lease(take: Take, grant: Grant) -> Lease:
    ttl = Duration(take.ttl)
    return Lease(take.claim, Moment(grant.starts + ttl), ttl, Duration(take.life - ttl))


def _takes_blocks(connection: Any) -> bool:
    return "MariaDB" in connection.server_version


async def _results(connection: Any, block: str, values: Sequence[Any]) -> list[Rows]:
    """What the statements of a block that return rows have returned, one after the other."""
    found: list[Rows] = []
    async with connection.cursor() as cursor:
        await cursor.execute(cursor.mogrify(block, values))  # a block cannot be prepared
        while True:
            if cursor.description:
                found.append(await cursor.fetchall())
            if not await cursor.nextset():
                return found

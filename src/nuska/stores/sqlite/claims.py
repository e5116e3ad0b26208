"""Claims: leases on messages, and the dead-lettering that happens inside them (D8)."""

from collections.abc import Generator, Sequence
from time import perf_counter
from typing import NamedTuple

import apsw

from nuska.domain.claims import (
    OVER_CLAIM_COUNT,
    Claim,
    Claimed,
    DeadLetterRule,
    end_after_claim,
)
from nuska.domain.limits import DEAD_LETTERS_PER_CLAIM
from nuska.domain.messages import DeadLetter, QueueRef
from nuska.domain.moments import Duration, Moment
from nuska.domain.positions import ClaimId, next_position, parse_claim_id
from nuska.stores.sqlite.choosing import (
    Stretch,
    any_due,
    behind_expired,
    candidates,
    everything,
    make_due_ready,
    none_expired,
    take_first,
)
from nuska.stores.sqlite.connection import snapshot
from nuska.stores.sqlite.deleting import remove
from nuska.stores.sqlite.marking import mark_each, mark_rows
from nuska.stores.sqlite.messages import remember_move
from nuska.stores.sqlite.queries import query
from nuska.stores.sqlite.queues import SqliteQueues
from nuska.stores.sqlite.reader import Reader
from nuska.stores.sqlite.rows import (
    MessageRow,
    QueueRow,
    claimed_messages,
    encode_dead,
    message_of,
    message_rows,
)
from nuska.stores.sqlite.transaction import Transaction
from nuska.stores.sqlite.unmarked import UnmarkedClaim, add, mark_all, mark_claim, may_wait
from nuska.stores.sqlite.writer import LONGEST_TURN, Writer

PROLONG_MESSAGE = query("prolong_message")
ADD_CLAIM = query("add_claim")
GET_CLAIM = query("get_claim")
RENEW_CLAIM = query("renew_claim")
DELETE_CLAIM = query("delete_claim")
LIST_CLAIM_MESSAGES = query("list_claim_messages")
RENEW_MESSAGES = query("renew_messages")
RELEASE_MESSAGES = query("release_messages")
MOVE_MESSAGE = query("move_message")
COUNT_CLAIMS = query("count_claims")


class SqliteClaims:
    """``ClaimStore`` on one database file."""

    def __init__(self, writer: Writer, reader: Reader, queues: SqliteQueues) -> None:
        self._writer = writer
        self._reader = reader
        self._queues = queues

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
        [claimed] = await self.create_together(
            queue,
            claim_ids=[claim_id],
            limit=limit,
            ttl=ttl,
            grace=grace,
            dead_letters=dead_letters,
            enough=0,
            now=now,
        )
        return claimed

    async def create_together(
        self,
        queue: QueueRef,
        *,
        claim_ids: Sequence[str],
        limit: int,
        ttl: Duration,
        grace: Duration,
        dead_letters: DeadLetterRule | None = None,
        enough: int,
        now: Moment,
    ) -> list[Claimed]:
        terms = _Terms(limit, ttl, grace, dead_letters)
        claims = [(one, _parsed(one)) for one in claim_ids]
        if self._queues.row(queue) is None:
            return [Claimed([])]

        def work(transaction: Transaction) -> Generator[None, None, list[_Taken]]:
            row = transaction.row(queue)
            if row is None:
                return [_NOTHING]
            if dead_letters is not None:
                transaction.row(dead_letters.queue)  # refuse before anything has changed
                row = yield from mark_all(transaction, row)
            all_live = none_expired(transaction)
            made: list[_Taken] = []
            size = 0
            began = perf_counter()
            for named in claims:
                if perf_counter() - began > LONGEST_TURN:
                    yield
                    began = perf_counter()
                if any_due(transaction, row):
                    row = yield from make_due_ready(transaction, row)
                if all_live:
                    stretch = everything(row)
                else:
                    stretch = yield from behind_expired(transaction, row)
                taken = _take(transaction, stretch, terms, named)
                made.append(taken)
                size += sum(len(row[3]) for row in taken.rows)
                if size >= enough or not taken.rows:
                    break
                row = transaction.touched[queue] or row  # it begins further behind by now
            return made

        return await self._writer.run(
            work, now=now, relaxed=self._queues.relaxed(queue), finish=_claimed
        )

    async def get(self, queue: QueueRef, claim_id: str, *, now: Moment) -> Claim | None:
        claim = parse_claim_id(claim_id)
        row = await self._queues.marked(queue, now)
        if claim is None or row is None:
            return None
        generation = row.generation
        moment = self._writer.moment(now)

        def work(connection: apsw.Connection) -> Claim | None:
            with snapshot(connection):  # a renewal moves both the claim and its messages
                found = connection.execute(GET_CLAIM, (generation, claim, moment)).fetchone()
                if found is None:
                    return None
                ttl, started_at, end = found
                values = (generation, end, claim, moment)
                rows = message_rows(connection.execute(LIST_CLAIM_MESSAGES, values))
                return Claim(
                    id=ClaimId(claim_id),
                    ttl=Duration(ttl),
                    started_at=Moment(started_at),
                    expires_at=Moment(end),
                    messages=[message_of(one, moment) for one in rows],
                )

        return self._reader.read(work)

    async def renew(
        self, queue: QueueRef, claim_id: str, *, ttl: Duration, grace: Duration, now: Moment
    ) -> bool:
        claim = parse_claim_id(claim_id)
        if claim is None or self._queues.row(queue) is None:
            return False

        def work(transaction: Transaction) -> bool:
            row = transaction.row(queue)
            if row is None:
                return False
            generation, moment = row.generation, transaction.now
            found = transaction.execute(GET_CLAIM, (generation, claim, moment)).fetchone()
            if found is None:
                return False
            mark_claim(transaction, row, claim)
            old_end, end = found[2], moment + ttl
            transaction.execute(RENEW_CLAIM, (ttl, moment, end, generation, claim))
            transaction.execute(RENEW_MESSAGES, (end, generation, generation, old_end, claim))
            rows = transaction.execute(LIST_CLAIM_MESSAGES, (generation, end, claim, moment))
            _prolong(transaction, generation, rows.fetchall(), ttl, grace)
            return True

        return await self._writer.run(work, now=now, relaxed=self._queues.relaxed(queue))

    async def release(
        self, queue: QueueRef, claim_id: str, *, uncount: bool = False, now: Moment
    ) -> int:
        claim = parse_claim_id(claim_id)
        if claim is None or self._queues.row(queue) is None:
            return 0

        await self._queues.marked(queue, now)

        def work(transaction: Transaction) -> Generator[None, None, int]:
            row = transaction.row(queue)
            if row is None:
                return 0
            generation, moment = row.generation, transaction.now
            found = transaction.execute(GET_CLAIM, (generation, claim, moment)).fetchone()
            if found is None:
                return 0
            row = yield from mark_all(transaction, row)
            ends = transaction.execute(
                RELEASE_MESSAGES, (int(uncount), generation, generation, found[2], claim)
            ).fetchall()
            transaction.execute(DELETE_CLAIM, (generation, claim))
            for _, position in ends:
                row.became_ready(position)
            return sum(1 for end, _ in ends if end > moment)

        return await self._writer.run(work, now=now, relaxed=self._queues.relaxed(queue))

    async def count(self, queue: QueueRef, *, now: Moment) -> int:
        row = await self._queues.marked(queue, now)
        if row is None:
            return 0
        values = {"generation": row.generation, "now": self._writer.moment(now)}

        def work(connection: apsw.Connection) -> int:
            return int(connection.execute(COUNT_CLAIMS, values).get)

        return await self._reader.scan(work)


class _Terms(NamedTuple):
    """What is asked of a claim."""

    limit: int
    ttl: Duration
    grace: Duration
    dead_letters: DeadLetterRule | None


class _Taken(NamedTuple):
    """A claim as the statements made it."""

    rows: list[MessageRow]
    claim_id: str
    end: Moment
    dead_lettered: int


_NOTHING = _Taken([], "", Moment(0), 0)


def _claimed(made: list[_Taken]) -> list[Claimed]:
    return [
        Claimed(claimed_messages(rows, claim_id, end), dead_lettered)
        for rows, claim_id, end, dead_lettered in made
    ]


def _parsed(claim_id: str) -> bytes:
    claim = parse_claim_id(claim_id)
    if claim is None:
        raise ValueError("a claim id is 24 hexadecimal digits")
    return claim


def _take(
    transaction: Transaction, stretch: Stretch, terms: _Terms, named: tuple[str, bytes]
) -> _Taken:
    """Make one claim of what stands first in ``stretch``."""
    limit, ttl, grace, dead_letters = terms
    claim_id, claim = named
    generation, moment = stretch.row.generation, transaction.now
    end = moment + ttl
    moved = 0
    if dead_letters is None:
        rows = take_first(transaction, stretch, limit)
    else:
        rows, moved = _choose(transaction, stretch, limit, dead_letters)
    if not rows:
        return _Taken([], claim_id, Moment(end), moved)
    first, last = rows[0][0], rows[-1][0]
    row = transaction.touched[stretch.row.queue.ref] or stretch.row
    live_on = _live_on(rows, moment, ttl, grace)
    if dead_letters is None and live_on and may_wait(row, rows, moment):
        transaction.execute(ADD_CLAIM, (generation, claim, ttl, moment, end, first, last))
        add(transaction, row, UnmarkedClaim(claim, moment, end, first, last))
        return _Taken(rows, claim_id, Moment(end), moved)
    mark = mark_rows if dead_letters is None else mark_each
    mark(transaction, generation, rows, claim=claim, end=end)
    transaction.execute(ADD_CLAIM, (generation, claim, ttl, moment, end, None, None))
    if not live_on:
        rows = _prolong(transaction, generation, rows, ttl, grace)
    return _Taken(rows, claim_id, Moment(end), moved)


def _choose(
    transaction: Transaction, stretch: Stretch, limit: int, rule: DeadLetterRule
) -> tuple[list[MessageRow], int]:
    """Up to ``limit`` candidates to claim; those handed out too often leave instead.

    Looks no further than the tail as it was, so that a queue that is its own dead-letter
    queue ends.
    """
    chosen: list[MessageRow] = []
    moved = 0
    row = stretch.row
    stretch = stretch._replace(last=min(stretch.last, row.last_position))
    position: int | None = None
    target = transaction.row(rule.queue)
    while len(chosen) < limit and moved < DEAD_LETTERS_PER_CLAIM:
        wanted = limit - len(chosen)
        found = candidates(transaction, stretch, wanted, after=position)
        for candidate in found:
            position = candidate[0]
            if candidate[10] < rule.max_claims:
                chosen.append(candidate)
            elif moved < DEAD_LETTERS_PER_CLAIM:
                target = target or transaction.row_to_write(rule.queue, create=True)
                _dead_letter(transaction, row, target, candidate, rule.ttl)
                moved += 1
        if len(found) < wanted:
            break
    return chosen, moved


def _dead_letter(
    transaction: Transaction,
    source: QueueRow,
    target: QueueRow,
    candidate: MessageRow,
    ttl: Duration | None,
) -> None:
    """Move one message to the tail of the dead-letter queue, in this very step."""
    position, salt, posted_position, body, poster, old_ttl, created_at, old_end = candidate[:8]
    claim_count, attributes = candidate[10], candidate[11]
    now = transaction.now
    posted = position if posted_position is None else posted_position
    remove(transaction, source.generation, [(position, posted_position, salt)])
    target.last_position = next_position(target.last_position, now)
    dead = DeadLetter(
        origin=source.queue.ref.name, reason=OVER_CLAIM_COUNT, claim_count=claim_count, at=now
    )
    transaction.execute(
        MOVE_MESSAGE,
        (
            target.generation,
            target.last_position,
            salt,
            posted,
            body,
            poster,
            old_ttl if ttl is None else ttl,
            created_at,
            old_end if ttl is None else now + ttl,
            claim_count,
            attributes,
            encode_dead(dead),
        ),
    )
    remember_move(transaction, target.generation, posted, salt, target.last_position)


def _live_on(rows: Sequence[MessageRow], now: Moment, ttl: Duration, grace: Duration) -> bool:
    """Whether no message ends before the claim's grace does."""
    least = end_after_claim(Moment(0), now, ttl, grace)
    return min([row[7] for row in rows]) >= least


def _prolong(
    transaction: Transaction,
    generation: int,
    rows: Sequence[MessageRow],
    ttl: Duration,
    grace: Duration,
) -> list[MessageRow]:
    """Give messages that would end before the claim's grace does a later end (I9)."""
    prolonged = []
    for row in rows:
        end = end_after_claim(Moment(row[7]), transaction.now, ttl, grace)
        if end != row[7]:
            shown = ttl + grace
            transaction.execute(PROLONG_MESSAGE, (end, shown, generation, row[0]))
            row = (*row[:5], shown, row[6], int(end), *row[8:])
        prolonged.append(row)
    return prolonged

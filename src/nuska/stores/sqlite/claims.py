"""Claims: leases on messages. How one is made is in claiming.py."""

from collections.abc import Generator, Sequence
from time import perf_counter

import apsw

from nuska.domain.claims import (
    Claim,
    Claimed,
    DeadLetterRule,
)
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Duration, Moment
from nuska.domain.positions import ClaimId, parse_claim_id
from nuska.stores.sqlite.choosing import (
    any_due,
    behind_expired,
    everything,
    make_due_ready,
    none_expired,
)
from nuska.stores.sqlite.claiming import NOTHING, Taken, Terms, prolong, take
from nuska.stores.sqlite.queries import query
from nuska.stores.sqlite.queues import SqliteQueues
from nuska.stores.sqlite.reader import MarkedReader, Reader
from nuska.stores.sqlite.rows import (
    QueueRow,
    claimed_messages,
    message_of,
    message_rows,
)
from nuska.stores.sqlite.transaction import Transaction
from nuska.stores.sqlite.unmarked import mark_all, mark_claim, mind_end
from nuska.stores.sqlite.writer import LONGEST_TURN, Writer

GET_CLAIM = query("get_claim")
RENEW_CLAIM = query("renew_claim")
DELETE_CLAIM = query("delete_claim")
LIST_CLAIM_MESSAGES = query("list_claim_messages")
RENEW_MESSAGES = query("renew_messages")
RELEASE_MESSAGES = query("release_messages")
COUNT_CLAIMS = query("count_claims")
FIRST_UNMARKED_END = query("first_unmarked_end")


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
        terms = Terms(limit, ttl, grace, dead_letters)
        claims = [(one, _parsed(one)) for one in claim_ids]
        known = self._queues.row(queue)
        if known is None:
            return [Claimed([])]
        if known.unmarked is not None and (dead_letters or self._any_ended(known, now)):
            await self._queues.marked(queue, now)  # in steps, what would else be one

        def work(transaction: Transaction) -> Generator[None, None, list[Taken]]:
            row = transaction.row(queue)
            if row is None:
                return [NOTHING]
            if dead_letters is not None:
                transaction.row(dead_letters.queue)  # refuse before anything has changed
                row = yield from mark_all(transaction, row)
            row = mind_end(transaction, row)
            all_live = none_expired(transaction)
            made: list[Taken] = []
            size = 0
            began = perf_counter()
            while len(made) < len(claims):
                if perf_counter() - began > LONGEST_TURN:
                    yield
                    began = perf_counter()
                if any_due(transaction, row):
                    row = yield from make_due_ready(transaction, row)
                if all_live:
                    stretch = everything(row)
                else:
                    stretch = yield from behind_expired(transaction, row)
                taken = take(transaction, stretch, terms, claims[len(made) :], enough - size)
                made += taken
                size += sum(one.size for one in taken)
                if size >= enough or not taken[-1].rows:
                    break
                row = transaction.touched[queue] or row  # it begins further behind by now
            return made

        return await self._writer.run(
            work, now=now, relaxed=self._queues.relaxed(queue), finish=_claimed
        )

    async def get(self, queue: QueueRef, claim_id: str, *, now: Moment) -> Claim | None:
        claim = parse_claim_id(claim_id)
        moment = self._writer.moment(now)
        if claim is None:
            return None

        async def read(row: QueueRow, reader: MarkedReader) -> Claim | None:
            generation = row.generation

            def work(connection: apsw.Connection) -> Claim | None:
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

            return reader.read(work)

        return await self._queues.look(queue, now, read)

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
            prolong(transaction, generation, rows.fetchall(), ttl, grace)
            return True

        return await self._writer.run(work, now=now, relaxed=self._queues.relaxed(queue))

    async def release(
        self, queue: QueueRef, claim_id: str, *, uncount: bool = False, now: Moment
    ) -> int:
        claim = parse_claim_id(claim_id)
        if claim is None or self._queues.row(queue) is None:
            return 0

        if self._is_there(queue, claim, now):
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

    def _any_ended(self, row: QueueRow, now: Moment) -> bool:
        """Whether a claim has ended whose messages are not marked."""
        moment = self._writer.moment(now)
        if row.unmarked is None or row.unmarked.end > moment:
            return False
        values = (row.generation,)
        end = self._reader.read(lambda one: one.execute(FIRST_UNMARKED_END, values).get)
        return end is not None and end <= moment

    def _is_there(self, queue: QueueRef, claim: bytes, now: Moment) -> bool:
        """Whether the claim has been written down; it may still be on its way."""
        row = self._queues.row(queue)
        if row is None:
            return False
        values = (row.generation, claim, self._writer.moment(now))
        found = self._reader.read(lambda connection: connection.execute(GET_CLAIM, values).get)
        return found is not None

    async def count(self, queue: QueueRef, *, now: Moment) -> int:
        moment = self._writer.moment(now)

        async def read(row: QueueRow, reader: MarkedReader) -> int:
            values = {"generation": row.generation, "now": moment}

            def work(connection: apsw.Connection) -> int:
                return int(connection.execute(COUNT_CLAIMS, values).get)

            return await reader.scan(work)

        return await self._queues.look(queue, now, read) or 0


def _claimed(made: list[Taken]) -> list[Claimed]:
    return [
        Claimed(claimed_messages(rows, claim_id, end), dead_lettered)
        for rows, claim_id, end, dead_lettered in made
    ]


def _parsed(claim_id: str) -> bytes:
    claim = parse_claim_id(claim_id)
    if claim is None:
        raise ValueError("a claim id is 24 hexadecimal digits")
    return claim

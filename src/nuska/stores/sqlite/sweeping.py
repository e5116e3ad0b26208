"""Clearing away in small steps: what is over, what was purged, what space is free.

Nothing here decides what a request sees; expiry is a filter first (D7). Each step is one
write like any other, small enough that a request behind it hardly waits.
"""

from collections.abc import Callable

import apsw

from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment
from nuska.interfaces.storage import SweepReport
from nuska.stores.sqlite.queries import query
from nuska.stores.sqlite.reader import Reader
from nuska.stores.sqlite.transaction import Transaction
from nuska.stores.sqlite.writer import Writer

LIST_ENDED_CLAIMS = query("list_ended_claims")
LIST_ENDED_DELAYS = query("list_ended_delays")
RELEASE_MESSAGES = query("release_messages")
DELETE_CLAIM = query("delete_claim")
MAKE_DUE_READY = query("make_due_ready")
ANY_DUE = query("any_due")
DELETE_DELAY = query("delete_delay")
LIST_EXPIRED = query("list_expired")
DELETE_MESSAGE = query("delete_message")
DELETE_MOVED = query("delete_moved")
ENDED_POST = query("ended_post")
DELETE_ENDED_POSTS = query("delete_ended_posts")
OLD_GENERATION = query("old_generation")
DELETE_OLD_MESSAGES = query("delete_old_messages")
DELETE_OLD_CLAIMS = query("delete_old_claims")
DELETE_OLD_MOVED = query("delete_old_moved")
FORGET_GENERATION = query("forget_generation")
QUEUE_OF_GENERATION = query("queue_of_generation")

CLAIMS_PER_STEP = 20
ROWS_PER_STEP = 150
PAGES_PER_STEP = 64
FREE_PAGES_KEPT = 1024
"""4 MB stay in the file for the next messages; more is given back to the disk."""

Step = Callable[[Transaction], SweepReport]


class Sweeper:
    """Chooses the most useful step and does it."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader

    async def sweep(self, now: Moment) -> SweepReport:
        """Do one step; see ``interfaces.storage.Store.sweep``."""
        moment = self._writer.moment(now)
        step = self._reader.read(lambda connection: _next_step(connection, moment))
        if step is None:
            return SweepReport()
        return await self._writer.run(step, now=moment)


def _next_step(connection: apsw.Connection, now: Moment) -> Step | None:
    """What there is to do, the most urgent first; asked of a reader, so that an idle store
    writes nothing."""
    if connection.execute(LIST_ENDED_CLAIMS, (now, 1)).get is not None:
        return _end_claims
    if connection.execute(LIST_ENDED_DELAYS, (now, 1)).get is not None:
        return _end_delays
    if connection.execute(LIST_EXPIRED, (now, 1)).get is not None:
        return _delete_expired
    if connection.execute(ENDED_POST, (now,)).get is not None:
        return _delete_posts
    if connection.execute(OLD_GENERATION).get is not None:
        return _delete_generation
    if connection.pragma("freelist_count") > FREE_PAGES_KEPT:
        return _give_space_back
    return None


def _end_claims(transaction: Transaction) -> SweepReport:
    ended = transaction.execute(LIST_ENDED_CLAIMS, (transaction.now, CLAIMS_PER_STEP)).fetchall()
    freed = set()
    for generation, claim, end in ended:
        values = (0, generation, generation, end, claim)
        if _any_live(transaction, transaction.execute(RELEASE_MESSAGES, values)):
            freed.add(generation)
        transaction.execute(DELETE_CLAIM, (generation, claim))
    return SweepReport(removed=len(ended), due=_refs(transaction, freed), more=True)


def _end_delays(transaction: Transaction) -> SweepReport:
    ended = transaction.execute(LIST_ENDED_DELAYS, (transaction.now, 1)).fetchall()
    freed = set()
    for available_at, generation in ended:
        values = (generation, generation, available_at, ROWS_PER_STEP)
        if _any_live(transaction, transaction.execute(MAKE_DUE_READY, values)):
            freed.add(generation)
        if transaction.execute(ANY_DUE, (generation, available_at)).get is None:
            transaction.execute(DELETE_DELAY, (available_at, generation))
    return SweepReport(due=_refs(transaction, freed), more=True)


def _any_live(transaction: Transaction, made_ready: apsw.Cursor) -> bool:
    """Whether one of the messages made ready, given by their ends, has not expired."""
    return max((end for (end,) in made_ready), default=0) > transaction.now


def _delete_expired(transaction: Transaction) -> SweepReport:
    expired = transaction.execute(LIST_EXPIRED, (transaction.now, ROWS_PER_STEP)).fetchall()
    for generation, position, salt, posted_position in expired:
        transaction.execute(DELETE_MESSAGE, (generation, position))
        if posted_position is not None:
            transaction.execute(DELETE_MOVED, (generation, posted_position, salt))
    return SweepReport(removed=len(expired), more=True)


def _delete_posts(transaction: Transaction) -> SweepReport:
    gone = transaction.execute(DELETE_ENDED_POSTS, (transaction.now, ROWS_PER_STEP)).fetchall()
    return SweepReport(removed=len(gone), more=True)


def _delete_generation(transaction: Transaction) -> SweepReport:
    generation = transaction.execute(OLD_GENERATION).get
    for sql in (DELETE_OLD_MESSAGES, DELETE_OLD_CLAIMS, DELETE_OLD_MOVED):
        gone = transaction.execute(sql, (generation, generation, ROWS_PER_STEP)[-sql.count("?") :])
        removed = len(gone.fetchall())
        if removed:
            return SweepReport(removed=removed, more=True)
    transaction.execute(FORGET_GENERATION, (generation,))
    return SweepReport(removed=1, more=True)


def _give_space_back(transaction: Transaction) -> SweepReport:
    transaction.execute(f"PRAGMA incremental_vacuum({PAGES_PER_STEP})").fetchall()
    return SweepReport(more=True)


def _refs(transaction: Transaction, generations: set[int]) -> list[QueueRef]:
    """The queues whose present generations these are."""
    rows = (
        transaction.execute(QUEUE_OF_GENERATION, (generation,)).fetchone()
        for generation in generations
    )
    return [QueueRef(*row) for row in rows if row is not None]

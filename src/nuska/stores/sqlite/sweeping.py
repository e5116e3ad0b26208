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
from nuska.stores.sqlite.rows import QueueRow
from nuska.stores.sqlite.transaction import Transaction
from nuska.stores.sqlite.unmarked import mark_claim, mark_some
from nuska.stores.sqlite.writer import Writer

LIST_ENDED_CLAIMS = query("list_ended_claims")
LIST_ENDED_DELAYS = query("list_ended_delays")
RELEASE_MESSAGES = query("release_messages")
HOLDS_MESSAGES = query("holds_messages")
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
DELETE_OLD_UNMARKED = query("delete_old_unmarked")
DELETE_OLD_MOVED = query("delete_old_moved")
DELETE_OLD_ANNOUNCEMENTS = query("delete_old_announcements")
EXPIRED_ANNOUNCEMENT = query("expired_announcement")
DELETE_EXPIRED_ANNOUNCEMENTS = query("delete_expired_announcements")
FORGET_GENERATION = query("forget_generation")
QUEUE_OF_GENERATION = query("queue_of_generation")

CLAIMS_PER_STEP = 100
"""Most are empty by then: their messages were deleted."""
DELAYS_PER_STEP = 100
"""Moments at which delays end; most of them free only a message or a few."""
ROWS_PER_STEP = 150
"""Messages made ready, which somebody may wait for."""
CLEARED_PER_STEP = 100
"""Rows removed, which nobody waits for: half a millisecond in the way of others."""
OTHER_EVERY = 3
"""Every so many steps what is not urgent comes first, or a stream of ending claims and delays
would keep it waiting and the file would grow."""
PAGES_PER_STEP = 64
FREE_PAGES_KEPT = 1024
"""4 MB stay in the file for the next messages; more is given back to the disk."""

Step = Callable[[Transaction], SweepReport]


class Sweeper:
    """Chooses the most useful step and does it."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader
        self._steps = 0

    async def sweep(self, now: Moment) -> SweepReport:
        """Do one step; see ``interfaces.storage.Store.sweep``."""
        moment = self._writer.moment(now)
        self._steps += 1
        urgent_first = self._steps % OTHER_EVERY != 0
        step = self._reader.read(
            lambda connection: _next_step(connection, moment, urgent_first=urgent_first)
        )
        if step is None:
            return SweepReport()
        return await self._writer.run(step, now=moment)


def _next_step(connection: apsw.Connection, now: Moment, *, urgent_first: bool) -> Step | None:
    """What there is to do; asked of a reader, so that an idle store writes nothing."""
    kinds = (_urgent_step, _other_step) if urgent_first else (_other_step, _urgent_step)
    return kinds[0](connection, now) or kinds[1](connection, now)


def _urgent_step(connection: apsw.Connection, now: Moment) -> Step | None:
    """What somebody may wait for (I5)."""
    if connection.execute(LIST_ENDED_CLAIMS, (now, 1)).get is not None:
        return _end_claims
    if connection.execute(LIST_ENDED_DELAYS, (now, 1)).get is not None:
        return _end_delays
    return None


def _other_step(connection: apsw.Connection, now: Moment) -> Step | None:
    """What takes up space."""
    if connection.execute(LIST_EXPIRED, (now, 1)).get is not None:
        return _delete_expired
    if connection.execute(EXPIRED_ANNOUNCEMENT, (now,)).get is not None:
        return _delete_expired_announcements
    if connection.execute(ENDED_POST, (now,)).get is not None:
        return _delete_posts
    if connection.execute(OLD_GENERATION).get is not None:
        return _delete_generation
    if connection.pragma("freelist_count") > FREE_PAGES_KEPT:
        return _give_space_back
    return None


def _end_claims(transaction: Transaction) -> SweepReport:
    ended = transaction.execute(LIST_ENDED_CLAIMS, (transaction.now, CLAIMS_PER_STEP)).fetchall()
    freed: dict[int, QueueRef] = {}
    left = ROWS_PER_STEP
    removed = 0
    for generation, claim, end, unmarked in ended:
        values = (generation, end, claim)
        if unmarked:
            row = _row(transaction, generation)
            if row is not None:
                mark_claim(transaction, row, claim)
        if transaction.execute(HOLDS_MESSAGES, values).get is not None:
            if not _all_marked(transaction, generation):
                return SweepReport(removed=removed, due=list(freed.values()), more=True)
            release = (0, generation, *values)
            left -= _stand_in_line(transaction, generation, RELEASE_MESSAGES, release, freed)
        transaction.execute(DELETE_CLAIM, (generation, claim))
        removed += 1
        if left <= 0:
            break
    return SweepReport(removed=removed, due=list(freed.values()), more=True)


def _end_delays(transaction: Transaction) -> SweepReport:
    ended = transaction.execute(LIST_ENDED_DELAYS, (transaction.now, DELAYS_PER_STEP)).fetchall()
    freed: dict[int, QueueRef] = {}
    left = ROWS_PER_STEP
    for available_at, generation in ended:
        values = (generation, generation, available_at, left)
        if not _all_marked(transaction, generation):
            return SweepReport(due=list(freed.values()), more=True)
        left -= _stand_in_line(transaction, generation, MAKE_DUE_READY, values, freed)
        if transaction.execute(ANY_DUE, (generation, available_at)).get is None:
            transaction.execute(DELETE_DELAY, (available_at, generation))
        if left <= 0:
            break
    return SweepReport(due=list(freed.values()), more=True)


def _row(transaction: Transaction, generation: int) -> QueueRow | None:
    """The queue of a generation, unless that is an old one."""
    found = transaction.execute(QUEUE_OF_GENERATION, (generation,)).fetchone()
    return None if found is None else transaction.any_row(QueueRef(*found))


def _all_marked(transaction: Transaction, generation: int) -> bool:
    """Whether messages of a queue may stand in line again; if not, this is nearer to it."""
    row = _row(transaction, generation)
    if row is None or row.unmarked is None:
        return True
    return mark_some(transaction, row).unmarked is None


def _stand_in_line(
    transaction: Transaction,
    generation: int,
    sql: str,
    values: tuple[object, ...],
    freed: dict[int, QueueRef],
) -> int:
    """Make messages ready by ``sql``; how many. ``freed``: queues that got live ones."""
    made_ready = transaction.execute(sql, values).fetchall()
    if made_ready:
        found = transaction.execute(QUEUE_OF_GENERATION, (generation,)).fetchone()
        if found is not None:
            ref = QueueRef(*found)
            transaction.became_ready(ref, generation, min(made_ready, key=_position)[1])
            if max(made_ready)[0] > transaction.now:
                freed[generation] = ref
    return len(made_ready)


def _position(made_ready: tuple[int, int]) -> int:
    return made_ready[1]


def _delete_expired(transaction: Transaction) -> SweepReport:
    expired = transaction.execute(LIST_EXPIRED, (transaction.now, CLEARED_PER_STEP)).fetchall()
    for generation, position, salt, posted_position in expired:
        transaction.execute(DELETE_MESSAGE, (generation, position))
        if posted_position is not None:
            transaction.execute(DELETE_MOVED, (generation, posted_position, salt))
    return SweepReport(removed=len(expired), more=True)


def _delete_expired_announcements(transaction: Transaction) -> SweepReport:
    values = (transaction.now, CLEARED_PER_STEP)
    gone = transaction.execute(DELETE_EXPIRED_ANNOUNCEMENTS, values).fetchall()
    return SweepReport(removed=len(gone), more=True)


def _delete_posts(transaction: Transaction) -> SweepReport:
    gone = transaction.execute(DELETE_ENDED_POSTS, (transaction.now, CLEARED_PER_STEP)).fetchall()
    return SweepReport(removed=len(gone), more=True)


def _delete_generation(transaction: Transaction) -> SweepReport:
    generation = transaction.execute(OLD_GENERATION).get
    twice = (generation, generation, CLEARED_PER_STEP)
    for sql, values in (
        (DELETE_OLD_MESSAGES, twice),
        (DELETE_OLD_CLAIMS, twice),
        (DELETE_OLD_UNMARKED, twice),
        (DELETE_OLD_MOVED, twice[1:]),
        (DELETE_OLD_ANNOUNCEMENTS, twice),
    ):
        removed = len(transaction.execute(sql, values).fetchall())
        if removed:
            return SweepReport(removed=removed, more=True)
    transaction.execute(FORGET_GENERATION, (generation,))
    return SweepReport(removed=1, more=True)


def _give_space_back(transaction: Transaction) -> SweepReport:
    transaction.execute(f"PRAGMA incremental_vacuum({PAGES_PER_STEP})").fetchall()
    return SweepReport(more=True)

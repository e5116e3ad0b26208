"""Claims whose messages are not marked yet, because most of them never need to be.

A claim that takes all that stands side by side is written down as from where to where. That is as
durable as a mark on each message, and costs a small part of it; when its
messages are deleted, which is what workers do, none was ever marked. Marks are made when somebody
wants to see them: before messages are listed or counted, before a claim is renewed or given back,
when it ends, and before anything else that stood in line earlier does so again.

What makes this safe: while a queue has such claims, every message that looks ready and lives, up to
the last that they hold, is in one of them. So claims and pops go on behind it, and nothing below it
may become ready before all are marked (``QueueRow.became_ready`` sees to that).

Refuses to keep more of them than can be marked in a moment; then the first are marked.
"""

from collections.abc import Generator, Sequence
from time import perf_counter
from typing import Final, NamedTuple

from nuska.domain.moments import Moment
from nuska.stores.sqlite.queries import query
from nuska.stores.sqlite.rows import MessageRow, QueueRow, Unmarked
from nuska.stores.sqlite.transaction import Transaction
from nuska.stores.sqlite.writer import LONGEST_TURN

ADD_CLAIM = query("add_claim")
ADD_UNMARKED = query("add_unmarked")
CLAIM_STRETCH = query("claim_stretch")
FIRST_UNMARKED_END = query("first_unmarked_end")
GET_UNMARKED = query("get_unmarked")
LIST_UNMARKED = query("list_unmarked")
GET_UNMARKED_AT = query("get_unmarked_at")
DELETE_UNMARKED = query("delete_unmarked")
DELETE_UNMARKED_WITHIN = query("delete_unmarked_within")

MAX_MESSAGES = 10_000
"""Of one queue: marking them takes some tens of milliseconds, in steps."""
MAX_CLAIMS = 1_000
"""Of one queue: each takes two statements, however few its messages."""
MARKED_FOR_ONE = 2
"""Claims that are marked for each that is made when there are too many."""
MAX_MEAN_SIZE = 1024
"""Bytes of a message: a mark writes the whole row again, so those of large ones are not put off."""
MESSAGES_PER_STEP = 1_000
"""That are marked at once, before others get a turn; a few milliseconds."""
CLAIMS_PER_STEP = 200
"""The same of claims."""
MARKED_FOR: Final = 1_000
"""Milliseconds for which claims mark at once after somebody has looked: he may look again, and
does not wait for ever on a busy queue."""
_BODY: Final = 3
_ATTRIBUTES: Final = 11
"""In a row."""


class UnmarkedClaim(NamedTuple):
    """One such claim."""

    name: bytes
    started_at: int
    ends: int
    first: int
    last: int
    messages: int
    """When it was made."""


def may_wait(row: QueueRow, rows: Sequence[MessageRow], now: Moment) -> bool:
    """Whether the messages of a claim, which stand side by side, can do without marks for now."""
    return row.mark_until <= now and (
        sum([len(one[_BODY]) + len(one[_ATTRIBUTES] or b"") for one in rows])
        <= len(rows) * MAX_MEAN_SIZE
    )


def add(transaction: Transaction, row: QueueRow, claims: Sequence[UnmarkedClaim], ttl: int) -> None:
    """Write down claims that are made together, in the order of their messages."""
    generation = row.generation
    transaction.executemany(
        ADD_CLAIM,
        [(generation, one.name, ttl, one.started_at, one.ends, one.first) for one in claims],
    )
    transaction.executemany(ADD_UNMARKED, [(generation, *one) for one in claims])
    before = row.unmarked or Unmarked(0, 0, 0, claims[0].ends)
    unmarked = Unmarked(
        before.claims + len(claims),
        before.messages + sum([one.messages for one in claims]),
        claims[-1].last,
        min(before.end, claims[0].ends),
    )
    row = transaction.keep(row.with_unmarked(unmarked))
    if unmarked.messages > MAX_MESSAGES or unmarked.claims > MAX_CLAIMS:
        for first in _list(transaction, row, MARKED_FOR_ONE * len(claims)):
            row = _mark(transaction, row, first)


def mind_end(transaction: Transaction, row: QueueRow) -> QueueRow:
    """The queue as it is, told when the first of them ends: one that ended earlier may be gone."""
    if row.unmarked is None or row.unmarked.end > transaction.now:
        return row
    end = transaction.execute(FIRST_UNMARKED_END, (row.generation,)).get
    unmarked = None if end is None else row.unmarked._replace(end=end)
    return transaction.keep(row.with_unmarked(unmarked))


def claim_at(transaction: Transaction, row: QueueRow, position: int) -> UnmarkedClaim | None:
    """The one that holds what stands at a position, should that live and look ready."""
    if row.unmarked is None or position > row.unmarked.last:
        return None
    found = transaction.execute(GET_UNMARKED_AT, (row.generation, position)).fetchone()
    if found is None:
        return None
    claim = UnmarkedClaim(*found)  # no two of them overlap
    return claim if position <= claim.last else None


def mark_claim(transaction: Transaction, row: QueueRow, name: bytes) -> None:
    """Mark the messages of this claim, if they are not."""
    if row.unmarked is not None:
        found = transaction.execute(GET_UNMARKED, (row.generation, name)).fetchone()
        if found is not None:
            _mark(transaction, row, UnmarkedClaim(*found))


def mark_all(transaction: Transaction, row: QueueRow) -> Generator[None, None, QueueRow]:
    """Mark everything, with turns for others."""
    began = perf_counter()
    while row.unmarked is not None:
        if perf_counter() - began > LONGEST_TURN:
            yield
            began = perf_counter()
        row = mark_some(transaction, row)
    return row


def mark_some(transaction: Transaction, row: QueueRow) -> QueueRow:
    """Mark a number of them, and from now on for a while each claim at once."""
    row = transaction.keep(row.with_unmarked(row.unmarked, transaction.now + MARKED_FOR))
    if row.unmarked is None:
        return row
    left = MESSAGES_PER_STEP
    found = _list(transaction, row, CLAIMS_PER_STEP)
    for claim in found:
        row = _mark(transaction, row, claim)
        left -= claim.messages
        if left <= 0:
            return row
    return row if len(found) == CLAIMS_PER_STEP else transaction.keep(row.with_unmarked(None))


def settle(transaction: Transaction, row: QueueRow, first: int, last: int) -> None:
    """Nothing is left between two positions: claims that hold no more have nothing to mark."""
    if row.unmarked is None or first > row.unmarked.last:
        return
    values = (row.generation, first, last, last)
    gone = transaction.execute(DELETE_UNMARKED_WITHIN, values).fetchall()
    if gone:
        _less(transaction, row, len(gone), sum([messages for (messages,) in gone]))


def _less(transaction: Transaction, row: QueueRow, claims: int, messages: int) -> QueueRow:
    """There are so many fewer of them."""
    before = row.unmarked
    if before is None or before.claims <= claims:
        return transaction.keep(row.with_unmarked(None))
    left = before._replace(claims=before.claims - claims, messages=before.messages - messages)
    return transaction.keep(row.with_unmarked(left))


def _mark(transaction: Transaction, row: QueueRow, claim: UnmarkedClaim) -> QueueRow:
    name, started_at, ends, first, last, messages = claim
    transaction.execute(CLAIM_STRETCH, (ends, name, row.generation, first, last, started_at))
    transaction.execute(DELETE_UNMARKED, (row.generation, first))
    return _less(transaction, row, 1, messages)


def _list(transaction: Transaction, row: QueueRow, count: int) -> list[UnmarkedClaim]:
    found = transaction.execute(LIST_UNMARKED, (row.generation, count))
    return [UnmarkedClaim(*one) for one in found.fetchall()]

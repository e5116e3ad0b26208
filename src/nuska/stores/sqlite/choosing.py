"""Where a claim or a pop looks for messages, so that expired ones cost it nothing.

Expired messages stand in line until they are swept. When a whole backlog has expired at the
head of a queue, walking over it takes long: so it is done in slices between which other
requests get their turns, and once; ``QueueRow.ready_from`` remembers how far.

Refuses to look at more than a window behind the first live message: among many expired ones
a claim may then return fewer than it was asked for, never none.
"""

from collections.abc import Generator
from itertools import islice
from typing import Final, NamedTuple

from nuska.domain.limits import DUE_PER_CLAIM
from nuska.stores.sqlite.queries import query
from nuska.stores.sqlite.rows import MessageRow, QueueRow
from nuska.stores.sqlite.transaction import Transaction
from nuska.stores.sqlite.unmarked import mark_all

ANY_DUE = query("any_due")
LIST_CANDIDATES = query("list_candidates")
LIST_FIRST = query("list_first")
MAKE_DUE_READY = query("make_due_ready")
ANY_EXPIRED = query("any_expired")
FIRST_LIVE = query("first_live")
WINDOW_END = query("window_end")

WINDOW = 1_000
"""Index entries that are walked over in one slice, well under a millisecond."""
NO_END = 2**63 - 1
_BODY: Final = 3
_EXPIRES_AT: Final = 7
_AVAILABLE_AT: Final = 8
"""In a row."""


class Stretch(NamedTuple):
    """The part of a queue to choose from; both ends included."""

    row: QueueRow
    first: int
    last: int


def any_due(transaction: Transaction, row: QueueRow) -> bool:
    """Whether messages wait whose moment has come: see ``make_due_ready``."""
    if row.unmarked is not None and row.unmarked.end <= transaction.now:
        return True
    return transaction.execute(ANY_DUE, (row.generation, transaction.now)).get is not None


def make_due_ready(transaction: Transaction, row: QueueRow) -> Generator[None, None, QueueRow]:
    """Let waiting messages whose moment has come stand in line again, before a choice."""
    row = yield from mark_all(transaction, row)
    generation = row.generation
    values = (generation, generation, transaction.now, DUE_PER_CLAIM)
    for _, position in transaction.execute(MAKE_DUE_READY, values).fetchall():
        row.became_ready(position)
    return row


def none_expired(transaction: Transaction) -> bool:
    """Whether everything in line is alive, in which case there is nothing to walk over."""
    return transaction.execute(ANY_EXPIRED, (transaction.now,)).get is None


def everything(row: QueueRow) -> Stretch:
    """All that may be live."""
    return Stretch(row, row.begins_at, NO_END)


def behind_expired(transaction: Transaction, row: QueueRow) -> Generator[None, None, Stretch]:
    """From the first live message on, as far as a window reaches."""
    first = row.begins_at
    while True:
        values = {
            "generation": row.generation,
            "now": transaction.now,
            "first": first,
            "window": WINDOW,
        }
        live, last, count = transaction.execute(FIRST_LIVE, values).fetchone()
        if live is not None:
            end = transaction.execute(WINDOW_END, (row.generation, live, WINDOW)).get
            row = transaction.begin_at(row, live)
            return Stretch(row, live, NO_END if end is None else end)
        if last is not None:
            first = last + 1
        if count < WINDOW:
            return everything(transaction.begin_at(row, first))
        yield


def candidates(
    transaction: Transaction, stretch: Stretch, limit: int, *, after: int | None = None
) -> list[MessageRow]:
    """Up to ``limit`` ready messages of a stretch, oldest first; ``after`` a position if given."""
    first = stretch.first - 1 if after is None else after
    values = (stretch.row.generation, first, stretch.last, transaction.now, limit)
    rows: list[MessageRow] = transaction.execute(LIST_CANDIDATES, values).fetchall()
    return rows


def take_first(transaction: Transaction, stretch: Stretch, limit: int) -> list[MessageRow]:
    """The same for who takes them all away from the line: who comes next begins behind them."""
    parts, _ = take_parts(transaction, stretch, limit, most=1, enough=0)
    return parts[0] if parts else []


def take_parts(
    transaction: Transaction, stretch: Stretch, limit: int, *, most: int, enough: int
) -> tuple[list[list[MessageRow]], bool]:
    """The same for several, each of whom takes up to ``limit``: at most so many parts, one at
    least if there is anything, and no more when they have ``enough`` bytes of bodies.

    They mostly stand first of all, side by side, and are read without the index. Where
    something else stands between them, it finds them, for one. Also returns whether they stand
    side by side, or nearly.
    """
    now = transaction.now
    side_by_side = True
    parts: list[list[MessageRow]] = []
    values = (stretch.row.generation, stretch.first, stretch.last, limit * most)
    cursor = transaction.execute(LIST_FIRST, values)
    size = 0
    while rows := list(islice(cursor, limit)):
        ready = [row for row in rows if row[_AVAILABLE_AT] is None and row[_EXPIRES_AT] > now]
        if len(ready) < len(rows):
            if not parts and len(rows) == limit:
                side_by_side = False
                ready = candidates(transaction, stretch, limit)
            if not parts and ready:
                parts.append(ready)
            break
        parts.append(ready)
        size += sum([len(row[_BODY]) for row in ready])
        if size >= enough:
            break
    cursor.close()
    if parts:
        transaction.begin_at(stretch.row, parts[-1][-1][0] + 1)
    return parts, side_by_side

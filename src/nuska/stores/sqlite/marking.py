"""Marking messages as claimed: in as few statements as where they stand allows.

Refuses to choose: what is marked has been found in this very transaction.
"""

from collections.abc import Iterator, Sequence

from nuska.stores.sqlite.queries import query
from nuska.stores.sqlite.rows import MessageRow
from nuska.stores.sqlite.transaction import Transaction

CLAIM_MESSAGE = query("claim_message")
CLAIM_MESSAGES = query("claim_messages")
CLAIM_STRETCH = query("claim_stretch")

CLOSE = 16
"""Positions between two messages that stand close together: no more rows than these, of messages
that are no longer ready, are looked at for each that is."""
MOST_STRETCHES = 3
"""Of close messages; more of them are found by the index of what is ready."""


def mark_stretch(
    transaction: Transaction,
    generation: int,
    rows: Sequence[MessageRow],
    *,
    claim: bytes,
    end: int,
) -> None:
    """``rows`` stand side by side."""
    values = (end, claim, generation, rows[0][0], rows[-1][0], transaction.now)
    transaction.execute(CLAIM_STRETCH, values)


def mark_rows(
    transaction: Transaction,
    generation: int,
    rows: Sequence[MessageRow],
    *,
    claim: bytes,
    end: int,
) -> None:
    """``rows`` are all live and ready messages from the first of them to the last."""
    stretches = list(_stretches(rows))
    statement = CLAIM_STRETCH
    if len(stretches) > MOST_STRETCHES:
        statement, stretches = CLAIM_MESSAGES, [(rows[0][0], rows[-1][0])]
    for first, last in stretches:
        values = (end, claim, generation, first, last, transaction.now)
        transaction.execute(statement, values)


def mark_each(
    transaction: Transaction,
    generation: int,
    rows: Sequence[MessageRow],
    *,
    claim: bytes,
    end: int,
) -> None:
    """Between ``rows`` there may be others that stay ready."""
    marks = [(end, claim, generation, row[0]) for row in rows]
    transaction.executemany(CLAIM_MESSAGE, marks)


def _stretches(rows: Sequence[MessageRow]) -> Iterator[tuple[int, int]]:
    """The first and the last positions of rows that stand close together."""
    first = last = rows[0][0]
    if rows[-1][0] - first < len(rows) * CLOSE:
        yield first, rows[-1][0]
        return
    for row in rows:
        if row[0] - last > CLOSE:
            yield first, last
            first = row[0]
        last = row[0]
    yield first, last

"""Making claims, in a transaction: which messages, how they are theirs, and the dead-lettering
that happens inside (D8)."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from nuska.domain.claims import (
    OVER_CLAIM_COUNT,
    DeadLetterRule,
    end_after_claim,
)
from nuska.domain.limits import DEAD_LETTERS_PER_CLAIM
from nuska.domain.messages import DeadLetter
from nuska.domain.moments import Duration, Moment
from nuska.domain.positions import next_position
from nuska.stores.sqlite.choosing import (
    Stretch,
    candidates,
    take_parts,
)
from nuska.stores.sqlite.deleting import remove
from nuska.stores.sqlite.marking import mark_each, mark_rows, mark_stretch
from nuska.stores.sqlite.messages import remember_move
from nuska.stores.sqlite.queries import query
from nuska.stores.sqlite.rows import (
    MessageRow,
    QueueRow,
    encode_dead,
)
from nuska.stores.sqlite.transaction import Transaction
from nuska.stores.sqlite.unmarked import UnmarkedClaim, add, may_wait

PROLONG_MESSAGE = query("prolong_message")
ADD_CLAIM = query("add_claim")
MOVE_MESSAGE = query("move_message")

ROWS_AT_ONCE = 400
"""Messages that are read for claims together before others may get a turn; a millisecond."""
_BODY: Final = 3
_EXPIRES_AT: Final = 7
"""In a row."""


class Terms(NamedTuple):
    """What is asked of a claim."""

    limit: int
    ttl: Duration
    grace: Duration
    dead_letters: DeadLetterRule | None


class Taken(NamedTuple):
    """A claim as the statements made it."""

    rows: list[MessageRow]
    claim_id: str
    end: Moment
    dead_lettered: int

    @property
    def size(self) -> int:
        """Bytes of bodies."""
        return sum([len(row[_BODY]) for row in self.rows])


NOTHING = Taken([], "", Moment(0), 0)


def take(
    transaction: Transaction,
    stretch: Stretch,
    terms: Terms,
    claims: Sequence[tuple[str, bytes]],
    enough: int,
) -> list[Taken]:
    """Make one claim of what stands first in ``stretch``, and further ones while that is simple;
    an empty one when there is nothing."""
    moved = 0
    if terms.dead_letters is None:
        most = max(1, min(len(claims), ROWS_AT_ONCE // terms.limit))
        parts, side_by_side = take_parts(
            transaction, stretch, terms.limit, most=most, enough=enough
        )
        mark = mark_stretch if side_by_side else mark_rows
    else:
        rows, moved = _choose(transaction, stretch, terms.limit, terms.dead_letters)
        parts, side_by_side, mark = [rows] if rows else [], False, mark_each
    end = Moment(transaction.now + terms.ttl)
    if not parts:
        return [Taken([], claims[0][0], end, moved)]
    row = transaction.touched[stretch.row.queue.ref] or stretch.row
    taken: list[Taken] = []
    unmarked: list[UnmarkedClaim] = []
    for rows, (claim_id, claim) in zip(parts, claims, strict=False):
        if side_by_side and _can_wait(transaction, row, rows, terms):
            first, last = rows[0][0], rows[-1][0]
            unmarked.append(UnmarkedClaim(claim, transaction.now, end, first, last, len(rows)))
        else:
            mark(transaction, row.generation, rows, claim=claim, end=end)
            values = (row.generation, claim, terms.ttl, transaction.now, end, None)
            transaction.execute(ADD_CLAIM, values)
            rows = prolong(transaction, row.generation, rows, terms.ttl, terms.grace)
        taken.append(Taken(rows, claim_id, end, moved))
    if unmarked:
        add(transaction, row, unmarked, terms.ttl)
    return taken


def _can_wait(
    transaction: Transaction, row: QueueRow, rows: Sequence[MessageRow], terms: Terms
) -> bool:
    """Whether nobody has to be told, for now, that these messages are in a claim."""
    least = end_after_claim(Moment(0), transaction.now, terms.ttl, terms.grace)
    return min([one[_EXPIRES_AT] for one in rows]) >= least and may_wait(row, rows, transaction.now)


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


def prolong(
    transaction: Transaction,
    generation: int,
    rows: Sequence[MessageRow],
    ttl: Duration,
    grace: Duration,
) -> list[MessageRow]:
    """Give messages that would end before the claim's grace does a later end (I9)."""
    least = end_after_claim(Moment(0), transaction.now, ttl, grace)
    if all(row[_EXPIRES_AT] >= least for row in rows):
        return list(rows)
    prolonged = []
    for row in rows:
        end = end_after_claim(Moment(row[7]), transaction.now, ttl, grace)
        if end != row[7]:
            shown = ttl + grace
            transaction.execute(PROLONG_MESSAGE, (end, shown, generation, row[0]))
            row = (*row[:5], shown, row[6], int(end), *row[8:])
        prolonged.append(row)
    return prolonged

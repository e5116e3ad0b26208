"""Deleting messages: where each stands, who may, and the removal itself."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from nuska.domain.messages import DeleteOutcome
from nuska.domain.positions import Position, parse_claim_id
from nuska.stores.sqlite.queries import query
from nuska.stores.sqlite.rows import QueueRow
from nuska.stores.sqlite.transaction import Transaction
from nuska.stores.sqlite.unmarked import UnmarkedClaim, claim_at, settle

ANY_BETWEEN = query("any_between")
GET_MOVED = query("get_moved")
GET_LEASE = query("get_lease")
GET_CLAIM = query("get_claim")
LIST_KEYS = query("list_keys")
LIST_LEASES = query("list_leases")
LIST_UNMARKED_KEYS = query("list_unmarked_keys")
DELETE_MESSAGE = query("delete_message")
DELETE_STRETCH = query("delete_stretch")
DELETE_MOVED = query("delete_moved")
DELETE_WHERE_POSTED = query("delete_where_posted")

MessageKey = tuple[Position, bytes]
"""Position and salt, as a message's id names them."""
Place = tuple[int, int | None, bytes]
"""Where a message stands, where it was posted if elsewhere, and its salt."""


LeaseRow = tuple[int, bytes, int | None, Any, bytes | None, int]
"""Position, salt, posted position, when it is available (None: at once), claim, and its end."""


class Lease(NamedTuple):
    """A message to delete, and who holds it."""

    place: Place
    claim: bytes | None
    """The live claim, as far as the message is marked."""
    ready: bool
    """It is not marked, nor delayed."""


def delete_one(
    transaction: Transaction, row: QueueRow, key: MessageKey, claim_id: str | None
) -> DeleteOutcome:
    """Delete a message if it is free or held by ``claim_id`` (contract http-v2 §3.5)."""
    generation = row.generation
    lease = _lease(transaction, generation, key)
    if lease is None:
        return DeleteOutcome.MISSING
    position, held = lease.place[0], lease.claim
    claim = claim_at(transaction, row, position)
    if lease.ready and claim is not None and transaction.now < claim.ends:
        held = claim.name
    refusal = _refusal(transaction, generation, held, claim_id)
    if refusal is not None:
        return refusal
    remove(transaction, generation, [lease.place])
    if claim is not None:
        between = (generation, claim.first, claim.last)
        if transaction.execute(ANY_BETWEEN, between).get is None:
            settle(transaction, row, claim.first, claim.last)
    return DeleteOutcome.DELETED


def delete_all(transaction: Transaction, row: QueueRow, keys: list[MessageKey]) -> None:
    """Delete those messages that exist, claimed or not."""
    generation, now = row.generation, transaction.now
    before = transaction.changes()
    first, last = keys[0][0], keys[-1][0]
    stretch = (generation, first, last)
    if transaction.execute(LIST_KEYS, (*stretch, len(keys) + 1)).fetchall() == keys:
        transaction.execute(DELETE_STRETCH, (*stretch, now))
        if transaction.changes() - before == len(keys):
            settle(transaction, row, first, last)
            return
    else:
        values = [(generation, *key, now) for key in keys]
        transaction.executemany(DELETE_WHERE_POSTED, values)
        if transaction.changes() - before == len(keys):
            return
    for key in keys:  # some have moved, or are gone
        lease = _lease(transaction, generation, key)
        if lease is not None:
            remove(transaction, generation, [lease.place])


def delete_claimed(
    transaction: Transaction, row: QueueRow, keys: list[MessageKey], names: Collection[bytes]
) -> bool:
    """Delete those messages that exist; False, and nothing done, if one is in none of the claims
    of these ``names``."""
    generation, now = row.generation, transaction.now
    first, last = min(keys)[0], max(keys)[0]
    claim = claim_at(transaction, row, first)
    if (
        claim is not None
        and claim.name in names
        and _delete_together(transaction, row, keys, claim)
    ):
        return True
    stretch = _stretch(transaction, generation, keys)
    places = []
    all_there = True
    for key in keys:
        found = stretch.get(key[0])
        if found is not None and found[1] == key[1] and found[2] is None and found[5] > now:
            lease = _lease_of(found, now)
        else:
            other = _lease(transaction, generation, key)
            all_there = False
            if other is None:
                continue
            lease = other
        held = lease.claim
        if lease.ready:
            position = lease.place[0]
            if claim is None or not claim.first <= position <= claim.last:
                claim = claim_at(transaction, row, position)
            held = claim.name if claim is not None and now < claim.ends else None
        if held not in names:
            return False
        places.append(lease.place)
    if all_there and len(places) == len(stretch):
        transaction.execute(DELETE_STRETCH, (generation, first, last, now))
        settle(transaction, row, first, last)
    else:
        remove(transaction, generation, places)
    return True


def _delete_together(
    transaction: Transaction, row: QueueRow, keys: list[MessageKey], claim: UnmarkedClaim
) -> bool:
    """Delete what a worker has done, if it is all that stands there and in his claim: the way in
    which most messages go."""
    now = transaction.now
    first, last = keys[0][0], keys[-1][0]
    if not (claim.first <= first and last <= claim.last and now < claim.ends):
        return False
    values = (now, row.generation, first, last, len(keys) + 1)
    if transaction.execute(LIST_UNMARKED_KEYS, values).fetchall() != keys:
        return False
    transaction.execute(DELETE_STRETCH, (row.generation, first, last, now))
    settle(transaction, row, first, last)
    return True


def _stretch(
    transaction: Transaction, generation: int, keys: Sequence[MessageKey]
) -> dict[int, LeaseRow]:
    """What stands between the first and the last of ``keys``, by position: if they stand side by
    side, as what was claimed together does, that is all of them; else it is some, and more."""
    values = (generation, min(keys)[0], max(keys)[0], len(keys) + 1)
    rows = transaction.execute(LIST_LEASES, values).fetchall()
    return {row[0]: row for row in rows}


def remove(transaction: Transaction, generation: int, places: Sequence[Place]) -> None:
    """Take messages away, with what makes those that have moved findable."""
    transaction.executemany(DELETE_MESSAGE, [(generation, place[0]) for place in places])
    for _, posted_position, salt in places:
        if posted_position is not None:
            transaction.execute(DELETE_MOVED, (generation, posted_position, salt))


def _lease(transaction: Transaction, generation: int, key: MessageKey) -> Lease | None:
    position: int = key[0]
    now = transaction.now
    row = transaction.execute(GET_LEASE, (generation, position, now)).fetchone()
    if row is None or row[1] != key[1] or row[2] is not None:
        moved = transaction.execute(GET_MOVED, (generation, *key)).get
        if moved is None:
            return None
        row = transaction.execute(GET_LEASE, (generation, moved, now)).fetchone()
        if row is None:
            return None
    return _lease_of(row, now)


def _lease_of(row: LeaseRow, now: int) -> Lease:
    position, salt, posted_position, available_at, claim, _ = row
    held = claim if claim and available_at > now else None
    return Lease((position, posted_position, salt), held, available_at is None)


def _refusal(
    transaction: Transaction, generation: int, held_by: bytes | None, claim_id: str | None
) -> DeleteOutcome | None:
    """Why a message must not be deleted (contract http-v2 §3.5), or None if it may."""
    if claim_id is None:
        return None if held_by is None else DeleteOutcome.CLAIMED
    named = parse_claim_id(claim_id)
    if named is None:
        return DeleteOutcome.CLAIM_GONE
    if held_by == named:
        return None
    live = transaction.execute(GET_CLAIM, (generation, named, transaction.now)).fetchone()
    if live is None:
        return DeleteOutcome.CLAIM_GONE
    return DeleteOutcome.NOT_CLAIMED if held_by is None else DeleteOutcome.OTHER_CLAIM

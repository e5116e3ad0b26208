"""Deleting: what is left of messages that have moved, and which ids name nothing."""

from collections.abc import Awaitable, Callable

import pytest

from nuska.domain.claims import DeadLetterRule
from nuska.domain.messages import DeleteOutcome, Message, NewMessage, QueueRef
from nuska.domain.moments import seconds
from nuska.domain.positions import claim_id, message_id, parse_message_id
from nuska.stores.sqlite.store import SqliteStore
from nuska.testing.clock import ManualClock

INBOX = QueueRef("acme", "inbox")
DEAD = QueueRef("acme", "dead")
CLAIM = claim_id(bytes(12))
Delete = Callable[[SqliteStore, str, ManualClock], Awaitable[object]]


@pytest.fixture
async def moved(sqlite: SqliteStore, clock: ManualClock) -> Message:
    """A dead letter: its id names where it was posted, and it stands elsewhere."""
    [posted] = (
        await sqlite.messages.add(INBOX, [NewMessage(body=b"1", ttl=seconds(900))], now=clock.now())
    ).ids
    clock.advance(seconds=5)
    await _claim(sqlite, clock, INBOX, DeadLetterRule(queue=DEAD, max_claims=0, ttl=None))
    [found] = await sqlite.messages.get(DEAD, [posted], now=clock.now())
    return found


async def _claim(
    sqlite: SqliteStore, clock: ManualClock, queue: QueueRef, rule: DeadLetterRule | None = None
) -> None:
    await sqlite.claims.create(
        queue,
        claim_id=CLAIM,
        limit=1,
        ttl=seconds(60),
        grace=seconds(60),
        dead_letters=rule,
        now=clock.now(),
    )


async def _one(sqlite: SqliteStore, wanted: str, clock: ManualClock) -> None:
    outcome = await sqlite.messages.delete(DEAD, wanted, now=clock.now())
    assert outcome is DeleteOutcome.DELETED


async def _many(sqlite: SqliteStore, wanted: str, clock: ManualClock) -> None:
    await sqlite.messages.delete_many(DEAD, [wanted], now=clock.now())


async def _claimed(sqlite: SqliteStore, wanted: str, clock: ManualClock) -> None:
    await _claim(sqlite, clock, DEAD)
    done = await sqlite.messages.delete_many(DEAD, [wanted], claim_ids=[CLAIM], now=clock.now())
    assert done


async def _popped(sqlite: SqliteStore, wanted: str, clock: ManualClock) -> None:
    [popped] = await sqlite.messages.pop(DEAD, limit=1, now=clock.now())
    assert popped.id == wanted


@pytest.mark.parametrize("delete", [_one, _many, _claimed, _popped])
async def test_a_deleted_dead_letter_leaves_no_trace_of_its_move(
    sqlite: SqliteStore, clock: ManualClock, moved: Message, delete: Delete
) -> None:
    await delete(sqlite, moved.id, clock)
    assert await sqlite.messages.get(DEAD, [moved.id], now=clock.now()) == []
    left = await sqlite.writer.run(_rows_of_moved, now=clock.now())
    assert left == 0


def _rows_of_moved(transaction: object) -> int:
    return int(transaction.execute("SELECT count(*) FROM moved").get)  # type: ignore[attr-defined]


async def test_where_a_dead_letter_stands_now_is_not_its_id(
    sqlite: SqliteStore, clock: ManualClock, moved: Message
) -> None:
    parsed = parse_message_id(moved.id)
    assert parsed is not None
    elsewhere = message_id(moved.position, parsed[1])
    assert elsewhere != moved.id
    await sqlite.messages.delete_many(DEAD, [elsewhere], now=clock.now())
    assert await sqlite.messages.get(DEAD, [moved.id], now=clock.now()) != []

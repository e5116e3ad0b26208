"""Deleting: what is left of messages that have moved, and which ids name nothing."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from nuska.domain.claims import DeadLetterRule
from nuska.domain.messages import DeleteOutcome, Message, NewMessage, QueueRef
from nuska.domain.moments import seconds
from nuska.domain.positions import claim_id, message_id, parse_message_id
from nuska.interfaces.storage import StoreOptions
from nuska.stores.sqlite import deleting
from nuska.stores.sqlite.store import SqliteStore, open_sqlite
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


@pytest.mark.parametrize("seed", range(8))
async def test_a_delete_together_does_what_looking_at_each_message_does(
    options: StoreOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Claims, gaps, expired ones and dead letters side by side, and ids that name nothing."""
    ends = []
    for together in (True, False):
        if not together:
            for name in ("LIST_KEYS", "LIST_LEASES", "LIST_UNMARKED_KEYS"):
                nothing = f"SELECT * FROM ({getattr(deleting, name)}) LIMIT 0"
                monkeypatch.setattr(deleting, name, nothing)
        clock, dice = ManualClock(), random.Random(seed)
        store = await open_sqlite(
            replace(options, data_dir=str(tmp_path / str(together)), random_bytes=dice.randbytes)
        )
        ends.append([one async for one in _deletes(store, clock, dice)])
        await store.close()
    assert ends[0] == ends[1]
    assert {done for done, _ in ends[0]} == {True, False}


async def _deletes(
    store: SqliteStore, clock: ManualClock, dice: random.Random
) -> AsyncIterator[tuple[bool, list[Message]]]:
    ids: list[str] = []
    for _ in range(10):
        brief = dice.random() < 0.3
        messages = [NewMessage(body=b"1", ttl=seconds(60 if brief else 900))] * dice.randint(1, 9)
        ids += (await store.messages.add(DEAD, messages, now=clock.now())).ids
        clock.advance(milliseconds=dice.choice([0, 0, 2]))
    letter = [NewMessage(body=b"2", ttl=seconds(900))] * 2
    ids += (await store.messages.add(INBOX, letter, now=clock.now())).ids
    rule = DeadLetterRule(queue=DEAD, max_claims=0, ttl=None)
    await _claim(store, clock, INBOX, rule)
    claims = [claim_id(dice.randbytes(12)) for _ in range(6)]
    for one in claims:
        await store.claims.create(
            DEAD, claim_id=one, limit=8, ttl=seconds(300), grace=seconds(0), now=clock.now()
        )
    clock.advance(seconds=dice.choice([1, 90]))
    for _ in range(30):
        first = dice.randrange(len(ids))
        wanted = dice.sample(ids[first : first + 12], dice.randint(1, min(8, len(ids) - first)))
        wanted += [message_id(1, bytes(4))] * dice.randint(0, 1)
        if dice.random() < 0.5:
            wanted = ids[first : first + dice.randint(1, 4)]
        named = dice.choice([None, dice.sample(claims, dice.randint(1, 6))])
        done = await store.messages.delete_many(DEAD, wanted, claim_ids=named, now=clock.now())
        yield done, await store.messages.get(DEAD, ids, now=clock.now())

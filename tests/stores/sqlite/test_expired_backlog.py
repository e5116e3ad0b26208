"""A backlog that expired at the head of a queue: claims pass it once, and miss nothing behind."""

import random
from collections.abc import AsyncIterator, Generator

import pytest

from nuska.domain.messages import Message, NewMessage, QueueRef
from nuska.domain.moments import seconds
from nuska.interfaces.storage import Store, StoreOptions
from nuska.stores.memory import open_store as open_memory
from nuska.stores.sqlite import choosing
from nuska.stores.sqlite.store import SqliteStore
from nuska.stores.sqlite.transaction import Transaction
from nuska.testing.clock import START, ManualClock

INBOX = QueueRef("acme", "inbox")
BRIEF, LASTING = seconds(10), seconds(100_000)
CLAIM = seconds(60)


def message(text: str, *, lasting: bool, delay: int = 0) -> NewMessage:
    return NewMessage(
        body=f'"{text}"'.encode(), ttl=LASTING if lasting else BRIEF, delay=seconds(delay)
    )


@pytest.fixture
def small_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "WINDOW", 3)


def begins(store: SqliteStore) -> int:
    row = store.queues.row(INBOX)
    assert row is not None
    return row.ready_from


async def claim(store: Store, clock: ManualClock, number: int, limit: int = 1) -> list[Message]:
    claimed = await store.claims.create(
        INBOX, claim_id=f"{number:024x}", limit=limit, ttl=CLAIM, grace=seconds(0), now=clock.now()
    )
    return list(claimed.messages)


async def test_what_expired_at_the_head_is_walked_over_only_once(
    sqlite: SqliteStore, clock: ManualClock, small_window: None
) -> None:
    await sqlite.messages.add(
        INBOX, [message(str(n), lasting=False) for n in range(20)], now=clock.now()
    )
    clock.advance(milliseconds=BRIEF)
    [live] = (
        await sqlite.messages.add(INBOX, [message("live", lasting=True)], now=clock.now())
    ).ids
    assert [taken.id for taken in await claim(sqlite, clock, 1)] == [live]
    assert begins(sqlite) == int(live[:14], 16) + 1


async def test_a_pop_finds_the_first_live_message_behind_what_expired(
    sqlite: SqliteStore, clock: ManualClock, small_window: None
) -> None:
    await sqlite.messages.add(
        INBOX, [message(str(n), lasting=n == 19) for n in range(20)], now=clock.now()
    )
    clock.advance(milliseconds=BRIEF)
    [popped] = await sqlite.messages.pop(INBOX, limit=20, now=clock.now())
    assert popped.body == b'"19"'


async def test_a_queue_of_which_all_has_expired_gives_what_is_posted_next(
    sqlite: SqliteStore, clock: ManualClock, small_window: None
) -> None:
    await sqlite.messages.add(
        INBOX, [message(str(n), lasting=False) for n in range(9)], now=clock.now()
    )
    clock.advance(milliseconds=BRIEF)
    assert await claim(sqlite, clock, 1) == []
    await sqlite.messages.add(INBOX, [message("next", lasting=True)], now=clock.now())
    assert [taken.body for taken in await claim(sqlite, clock, 2)] == [b'"next"']


async def test_what_a_failed_transaction_saw_is_not_remembered(
    sqlite: SqliteStore, clock: ManualClock, small_window: None
) -> None:
    await sqlite.messages.add(
        INBOX, [message(str(n), lasting=n in (5, 9)) for n in range(10)], now=clock.now()
    )
    clock.advance(milliseconds=BRIEF)

    def walk_and_stumble(transaction: Transaction) -> Generator[None, None, None]:
        row = transaction.row(INBOX)
        assert row is not None
        _, _, last = yield from choosing.behind_expired(transaction, row)
        transaction.execute("DELETE FROM messages WHERE position <= ?", (last,)).fetchall()
        row = transaction.row(INBOX)
        assert row is not None
        yield from choosing.behind_expired(transaction, row)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await sqlite.writer.run(walk_and_stumble, now=clock.now())
    assert begins(sqlite) == 0
    assert [taken.body for taken in await claim(sqlite, clock, 1)] == [b'"5"']


@pytest.fixture
async def model() -> AsyncIterator[Store]:
    store = await open_memory(
        StoreOptions(url="memory:", data_dir="", now=START, random_bytes=random.Random(1).randbytes)
    )
    yield store
    await store.close()


@pytest.mark.parametrize("seed", range(8))
async def test_among_expired_messages_claims_and_pops_take_what_the_model_store_takes(
    sqlite: SqliteStore, model: Store, clock: ManualClock, small_window: None, seed: int
) -> None:
    choose = random.Random(seed)
    popped: list[tuple[list[Message], list[Message]]] = []
    for number in range(1, 250):
        now = clock.now()
        match choose.choice(["post", "post", "claim", "claim", "pop", "back", "free", "wait"]):
            case "post":
                count = choose.randint(1, 8)
                new = [
                    message(
                        f"{number}.{n}",
                        lasting=choose.random() < 0.3,
                        delay=choose.choice([0, 0, 0, 5, 90]),
                    )
                    for n in range(count)
                ]
                for store in (sqlite, model):
                    await store.messages.add(INBOX, new, now=now)
            case "claim":
                ours = await claim(sqlite, clock, number)
                theirs = await claim(model, clock, number)
                assert [one.body for one in ours] == [one.body for one in theirs], number
            case "pop":
                ours = await sqlite.messages.pop(INBOX, limit=1, now=now)
                theirs = await model.messages.pop(INBOX, limit=1, now=now)
                assert [one.body for one in ours] == [one.body for one in theirs], number
                popped.append((ours, theirs))
            case "back" if popped:
                ours, theirs = popped.pop(choose.randrange(len(popped)))
                await sqlite.messages.put_back(INBOX, ours, now=now)
                await model.messages.put_back(INBOX, theirs, now=now)
            case "free":
                which = f"{choose.randint(1, number):024x}"
                for store in (sqlite, model):
                    await store.claims.release(INBOX, which, now=now)
            case "wait":
                clock.advance(seconds=choose.choice([1, 4, 11, 61]))
                if choose.random() < 0.3:
                    await sqlite.sweep(now=clock.now())

"""Claims mark what they found, wherever it stands, and nothing else."""

import random

import pytest

from nuska.domain.messages import NewMessage, QueueRef
from nuska.domain.moments import seconds
from nuska.stores.sqlite.marking import CLOSE, MOST_STRETCHES, _stretches
from nuska.stores.sqlite.store import SqliteStore
from nuska.testing.clock import ManualClock

JOBS = QueueRef("acme", "jobs")
LASTING, BRIEF = seconds(3600), seconds(60)
CLAIM, GRACE = seconds(600), seconds(60)


async def post(store: SqliteStore, clock: ManualClock, count: int, *, brief: bool = False) -> None:
    messages = [NewMessage(body=b"1", ttl=BRIEF if brief else LASTING) for _ in range(count)]
    await store.messages.add(JOBS, messages, now=clock.now())


async def claim(store: SqliteStore, clock: ManualClock, number: int, limit: int) -> list[str]:
    id_ = f"{number:024x}"
    claimed = await store.claims.create(
        JOBS, claim_id=id_, limit=limit, ttl=CLAIM, grace=GRACE, now=clock.now()
    )
    taken = [message.id for message in claimed.messages]
    shown = await store.claims.get(JOBS, id_, now=clock.now())
    assert [message.id for message in shown.messages] == taken if shown else not taken
    assert all(message.claim_count >= 1 for message in claimed.messages)
    return taken


async def free(store: SqliteStore, clock: ManualClock) -> list[str]:
    page = await store.messages.page(JOBS, after=0, limit=1000, now=clock.now())
    return [message.id for message in page.messages]


@pytest.mark.parametrize("sizes", [[60], [1] * 60, [7, 20, 1, 32], [30, 30]])
async def test_what_is_claimed_is_what_stands_first_and_no_more(
    sqlite: SqliteStore, clock: ManualClock, sizes: list[int]
) -> None:
    for size in sizes:
        await post(sqlite, clock, size)
        clock.advance(milliseconds=5)
    waiting = await free(sqlite, clock)
    for number in range(4):
        taken = await claim(sqlite, clock, number, 20)
        assert taken == waiting[:20]
        waiting = waiting[20:]
        assert await free(sqlite, clock) == waiting


@pytest.mark.parametrize("seed", range(5))
async def test_messages_between_that_are_not_ready_stay_as_they_are(
    sqlite: SqliteStore, clock: ManualClock, seed: int
) -> None:
    dice = random.Random(seed)
    for _ in range(12):
        await post(sqlite, clock, dice.choice([1, 3, 40]), brief=dice.random() < 0.3)
        clock.advance(milliseconds=dice.choice([0, 2]))
    for number in range(6):
        await claim(sqlite, clock, number, dice.randint(1, 20))
    for number in dice.sample(range(6), 3):
        await sqlite.claims.release(JOBS, f"{number:024x}", now=clock.now())
    clock.advance(milliseconds=BRIEF)  # some have expired where they stand
    waiting = await free(sqlite, clock)
    held = {n: await sqlite.claims.get(JOBS, f"{n:024x}", now=clock.now()) for n in range(6)}
    taken = await claim(sqlite, clock, 99, 20)
    assert taken == waiting[:20]
    assert await free(sqlite, clock) == waiting[20:]
    for number, before in held.items():
        assert await sqlite.claims.get(JOBS, f"{number:024x}", now=clock.now()) == before


def at(*positions: int) -> list:
    return [(position,) for position in positions]


def test_messages_far_apart_are_stretches_of_their_own() -> None:
    assert list(_stretches(at(7))) == [(7, 7)]
    assert list(_stretches(at(1, 2, 3))) == [(1, 3)]
    far = 1000 * CLOSE
    assert list(_stretches(at(1, 2, far, far + CLOSE))) == [(1, 2), (far, far + CLOSE)]
    lonely = at(*(number * far for number in range(MOST_STRETCHES + 1)))
    assert len(list(_stretches(lonely))) == MOST_STRETCHES + 1

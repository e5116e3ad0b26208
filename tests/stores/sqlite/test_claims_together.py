"""Several claims in one step: what as many claims one after the other would be."""

import asyncio
import os
import random
from pathlib import Path

import pytest
from msgspec.structs import replace

from nuska.domain.claims import Claimed, DeadLetterRule
from nuska.domain.messages import Message, NewMessage, QueueRef
from nuska.domain.moments import seconds
from nuska.interfaces.storage import StoreOptions
from nuska.stores.sqlite.store import SqliteStore, open_sqlite
from nuska.testing.clock import ManualClock

JOBS = QueueRef("acme", "jobs")
DEAD = QueueRef("acme", "dead")
PLENTY = 10**9
TTL = seconds(60)


async def together(
    store: SqliteStore,
    clock: ManualClock,
    ids: list[str],
    limit: int,
    *,
    rule: DeadLetterRule | None = None,
    enough: int = PLENTY,
) -> list[Claimed]:
    return await store.claims.create_together(
        JOBS,
        claim_ids=ids,
        limit=limit,
        ttl=TTL,
        grace=TTL,
        dead_letters=rule,
        enough=enough,
        now=clock.now(),
    )


async def one_by_one(
    store: SqliteStore,
    clock: ManualClock,
    ids: list[str],
    limit: int,
    *,
    rule: DeadLetterRule | None = None,
) -> list[Claimed]:
    made = []
    for one in ids:
        made.append(
            await store.claims.create(
                JOBS,
                claim_id=one,
                limit=limit,
                ttl=TTL,
                grace=TTL,
                dead_letters=rule,
                now=clock.now(),
            )
        )
        if not made[-1].messages:
            break
    return made


@pytest.mark.parametrize("seed", range(10))
async def test_claims_together_are_what_claims_one_after_the_other_are(
    options: StoreOptions, tmp_path: Path, seed: int
) -> None:
    """Over a queue of delayed, expired and released messages and of those claimed before."""
    told = []
    for number, make in enumerate((together, one_by_one)):
        dice, clock = random.Random(seed), ManualClock()
        store = await open_sqlite(
            replace(options, data_dir=str(tmp_path / str(number)), random_bytes=dice.randbytes)
        )
        seen: list[tuple[list[Claimed], list[Message]]] = []
        for _ in range(8):
            for _ in range(dice.randint(0, 4)):
                new = NewMessage(
                    body=b"1",
                    ttl=seconds(dice.choice([61, 900])),
                    delay=seconds(dice.choice([0, 0, 0, 30])),
                )
                await store.messages.add(JOBS, [new] * dice.randint(1, 9), now=clock.now())
            clock.advance(milliseconds=dice.choice([0, 5, 40_000]))
            rule = DeadLetterRule(queue=DEAD, max_claims=1, ttl=None)
            ids = [dice.randbytes(12).hex() for _ in range(dice.randint(1, 6))]
            limit, rules = dice.randint(1, 7), dice.choice([None, rule])
            made = await make(store, clock, ids, limit, rule=rules)
            if dice.random() < 0.4:
                await store.claims.release(JOBS, ids[0], now=clock.now())
            everything = await store.messages.page(
                JOBS, after=0, limit=500, include_claimed=True, include_delayed=True,
                now=clock.now(),
            )  # fmt: skip
            seen.append((made, everything.messages))
        await store.close()
        told.append(seen)
    assert told[0] == told[1]
    assert any(len(made) > 1 for made, _ in told[0])


async def test_no_further_claim_is_made_when_enough_is_handed_out(
    sqlite: SqliteStore, clock: ManualClock
) -> None:
    await sqlite.messages.add(
        JOBS, [NewMessage(body=b"x" * 100, ttl=seconds(900))] * 10, now=clock.now()
    )
    ids = [os.urandom(12).hex() for _ in range(5)]
    made = await together(sqlite, clock, ids, 2, enough=400)
    assert [len(claimed.messages) for claimed in made] == [2, 2]
    assert await sqlite.claims.get(JOBS, ids[2], now=clock.now()) is None


async def test_a_queue_that_is_not_there_has_nothing(
    sqlite: SqliteStore, clock: ManualClock
) -> None:
    made = await together(sqlite, clock, [os.urandom(12).hex() for _ in range(3)], 2)
    assert made == [Claimed([])]


async def test_between_claims_that_take_long_others_have_their_turns(
    sqlite: SqliteStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nuska.stores.sqlite.claims.LONGEST_TURN", -1.0)
    monkeypatch.setattr("nuska.stores.sqlite.claiming.ROWS_AT_ONCE", 1)
    await sqlite.messages.add(JOBS, [NewMessage(body=b"1", ttl=seconds(900))] * 9, now=clock.now())
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    await asyncio.sleep(0)
    made = await together(sqlite, clock, [os.urandom(12).hex() for _ in range(9)], 1)
    other.cancel()
    assert [len(claimed.messages) for claimed in made] == [1] * 9
    assert turns >= 9

"""Several claims asked for in one frame, over a store that makes them in one step or one by one."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from nuska.core.claims import ENOUGH_TOGETHER, MOST_TOGETHER
from nuska.domain.errors import Unavailable
from nuska.interfaces.identity import Caller
from nuska.interfaces.storage import Store, StoreOptions
from nuska.stores.memory.store import MemoryStore
from nuska.stores.sqlite.store import open_sqlite
from nuska.testing.clock import START, ManualClock
from nuska.testing.websocket_client import Talk, talking


@pytest.fixture(params=["memory", "sqlite"])
async def store(
    clock: ManualClock, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore(now=clock.now(), random_bytes=os.urandom)
        return
    options = StoreOptions(
        url="sqlite:", data_dir=str(tmp_path), now=START, random_bytes=os.urandom
    )
    sqlite = await open_sqlite(options)
    yield sqlite
    await sqlite.close()


@pytest.fixture
async def talk(served: Any) -> AsyncIterator[Talk]:
    async with talking(served.ws) as talk:
        yield talk


async def post(talk: Talk, *bodies: Any) -> None:
    messages = [{"body": body, "ttl": 300} for body in bodies]
    posted = await talk.ask("message_post", queue_name="jobs", messages=messages)
    assert posted.status == 201


def bodies(claims: list[Any]) -> list[list[Any]]:
    return [[message["body"] for message in claim["messages"]] for claim in claims]


async def test_each_claim_is_a_claim_of_its_own(talk: Talk) -> None:
    await post(talk, *range(5))
    made = await talk.ask("claim_create", queue_name="jobs", claims=3, limit=2, ttl=60, grace=60)
    assert made.status == 201
    claims = made.body["claims"]
    assert bodies(claims) == [[0, 1], [2, 3], [4]]
    for claim in claims:
        seen = await talk.ask("claim_get", queue_name="jobs", claim_id=claim["claim_id"])
        assert seen.body == {"age": 0, "ttl": 60, "messages": claim["messages"]}
    await talk.ask("claim_delete", queue_name="jobs", claim_id=claims[1]["claim_id"])
    again = await talk.ask("claim_create", queue_name="jobs", claims=1)
    assert bodies(again.body["claims"]) == [[2, 3]]


async def test_there_are_no_more_claims_than_there_are_messages(talk: Talk) -> None:
    nothing = await talk.ask("claim_create", queue_name="jobs", claims=3)
    assert (nothing.status, nothing.body) == (204, {"claims": []})
    await post(talk, "one")
    made = await talk.ask("claim_create", queue_name="jobs", claims=MOST_TOGETHER)
    assert bodies(made.body["claims"]) == [["one"]]
    nothing = await talk.ask("claim_create", queue_name="jobs", claims=1)
    assert (nothing.status, nothing.body) == (204, {"claims": []})


@pytest.mark.parametrize("count", [0, -1, MOST_TOGETHER + 1, 10**30, "2", 1.5])
async def test_a_number_of_claims_that_cannot_be_takes_nothing(talk: Talk, count: Any) -> None:
    await post(talk, "one")
    refused = await talk.ask("claim_create", queue_name="jobs", claims=count)
    assert refused.status == 400
    stats = await talk.ask("queue_get_stats", queue_name="jobs")
    assert stats.body["messages"]["free"] == 1


async def test_large_messages_come_in_fewer_claims_and_the_others_stay_as_they_were(
    talk: Talk,
) -> None:
    large = "x" * 200_000
    for _ in range(8):
        await post(talk, large)
    made = await talk.ask("claim_create", queue_name="jobs", claims=8, limit=1)
    needed = -(-ENOUGH_TOGETHER // (len(large) + 2))
    assert len(made.body["claims"]) == needed
    popped = await talk.ask("message_delete_many", queue_name="jobs", pop=8)
    assert [message["claim_count"] for message in popped.body["messages"]] == [0] * (8 - needed)


async def test_who_waits_gets_what_comes(talk: Talk, served: Any) -> None:
    await talk.send("claim_create", queue_name="jobs", claims=4, wait=20, request_id=7)
    async with asyncio.timeout(20):
        while not served.core.wakeups.waiting:  # noqa: ASYNC110  it tells nobody
            await asyncio.sleep(0.01)
    async with talking(served.ws) as other:
        await post(other, 1, 2)
    reply = await talk.reply()
    assert bodies(reply.body["claims"]) == [[1, 2]]


@pytest.mark.parametrize("store", ["memory"], indirect=True)
@pytest.mark.parametrize(("fails", "status"), [({1}, 201), ({0, 1, 2}, 503)])
async def test_what_was_claimed_is_told_though_another_claim_failed(
    talk: Talk, store: MemoryStore, monkeypatch: pytest.MonkeyPatch, fails: set[int], status: int
) -> None:
    await post(talk, 1, 2, 3)
    create, numbers = store.claims.create, iter(range(3))

    async def sometimes(*args: Any, **options: Any) -> Any:
        if next(numbers) in fails:
            raise Unavailable("The store cannot answer now.")
        return await create(*args, **options)

    monkeypatch.setattr(store.claims, "create", sometimes)
    made = await talk.ask("claim_create", queue_name="jobs", claims=3, limit=1)
    assert made.status == status
    if status == 201:
        assert bodies(made.body["claims"]) == [[1], [2]]


@pytest.mark.parametrize("store", ["memory"], indirect=True)
@pytest.mark.parametrize(
    ("error", "level"),
    [(Unavailable("The store cannot answer now."), "WARNING"), (LookupError(), "ERROR")],
    ids=["unavailable", "unexpected"],
)
async def test_failures_beside_claims_that_are_told_are_logged_once(
    talk: Talk,
    store: MemoryStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    level: str,
) -> None:
    await post(talk, 1, 2, 3)
    create, numbers = store.claims.create, iter(range(4))

    async def sometimes(*args: Any, **options: Any) -> Any:
        if next(numbers) in {1, 2}:
            raise error
        return await create(*args, **options)

    monkeypatch.setattr(store.claims, "create", sometimes)
    made = await talk.ask("claim_create", queue_name="jobs", claims=4, limit=1)
    assert bodies(made.body["claims"]) == [[1], [2]]
    (logged,) = [record for record in caplog.records if record.name == "nuska.claims"]
    assert (logged.levelname, logged.__dict__["failed"]) == (level, 2)
    assert (level == "WARNING") == hasattr(logged, "reason")
    assert (level == "ERROR") == (logged.exc_info is not None)


@pytest.mark.parametrize("store", ["memory"], indirect=True)
async def test_nothing_there_is_not_said_when_a_part_could_not_be_looked_at(
    talk: Talk, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, numbers = store.claims.create, iter(range(3))

    async def sometimes(*args: Any, **options: Any) -> Any:
        if next(numbers) == 2:
            raise Unavailable("The store cannot answer now.")
        return await create(*args, **options)

    monkeypatch.setattr(store.claims, "create", sometimes)
    made = await talk.ask("claim_create", queue_name="jobs", claims=3, limit=1)
    assert made.status == 503


@pytest.mark.parametrize("store", ["memory"], indirect=True)
@pytest.mark.parametrize(("size", "steps"), [(60_000, 1), (10, 3)])
async def test_no_more_is_taken_at_a_time_than_one_claim_may_have(
    talk: Talk, store: MemoryStore, monkeypatch: pytest.MonkeyPatch, size: int, steps: int
) -> None:
    for _ in range(30):
        await post(talk, *["x" * size] * 2)
    create, asked = store.claims.create, 0

    async def counted(*args: Any, **options: Any) -> Any:
        nonlocal asked
        asked += 1
        return await create(*args, **options)

    monkeypatch.setattr(store.claims, "create", counted)
    made = await talk.ask("claim_create", queue_name="jobs", claims=3, limit=20)
    assert len(made.body["claims"]) == asked == steps


@pytest.mark.parametrize("store", ["memory"], indirect=True)
async def test_small_messages_are_claimed_in_few_steps_over_any_store(
    talk: Talk, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(16):
        await post(talk, *[number] * 20)
    create, under_way, widths = store.claims.create, 0, []

    async def slow(*args: Any, **options: Any) -> Any:
        nonlocal under_way
        under_way += 1
        await asyncio.sleep(0)
        widths.append(under_way)
        under_way -= 1
        return await create(*args, **options)

    monkeypatch.setattr(store.claims, "create", slow)
    made = await talk.ask("claim_create", queue_name="jobs", claims=16, limit=20)
    assert len(made.body["claims"]) == 16
    assert max(widths) == 8


async def test_one_claim_that_cannot_be_given_back_keeps_no_other(
    talk: Talk, served: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await post(talk, 1, 2, 3)
    made = await talk.ask("claim_create", queue_name="jobs", claims=3, limit=1)
    ids = [claim["claim_id"] for claim in made.body["claims"]]
    release = store.claims.release

    async def all_but_the_first(queue: Any, claim: str, **options: Any) -> int:
        if claim == ids[0]:
            raise Unavailable("The store cannot answer now.")
        return await release(queue, claim, **options)

    monkeypatch.setattr(store.claims, "release", all_but_the_first)
    with pytest.raises(Unavailable):
        await served.core.claims.undo(Caller(talk.headers["X-Project-ID"]), "jobs", *ids)
    stats = await talk.ask("queue_get_stats", queue_name="jobs")
    assert stats.body["messages"]["free"] == 2

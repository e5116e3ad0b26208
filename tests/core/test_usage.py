"""What a process remembers of projects' room is bounded, and forgetting it does no harm."""

import asyncio
from pathlib import Path

import pytest

from nuska.core import Core, build_core, findings, usage
from nuska.core.holdings import Holdings
from nuska.core.messages import Draft
from nuska.domain.allowances import Amounts
from nuska.domain.errors import Conflict, QuotaExceeded, Unavailable
from nuska.domain.messages import Idempotency, NewMessage, QueueRef
from nuska.domain.moments import seconds
from nuska.domain.quotas import Override, Quota
from nuska.interfaces.identity import Caller
from nuska.opening import opened
from nuska.settings import Settings
from nuska.settings.quotas import QuotaSettings
from nuska.stores.memory import MemoryStore
from nuska.testing.clock import ManualClock, seeded_bytes

ACME = Caller("acme")
DRAFT = Draft(body=b"1")


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(now=ManualClock().now(), random_bytes=seeded_bytes())


@pytest.fixture
def core(store: MemoryStore) -> Core:
    return build_core(store=store, clock=ManualClock(), quota=Quota(messages=2))


async def test_many_projects_take_no_more_memory_than_some(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "KEPT", 3)
    for _ in range(2):
        for number in range(10):
            await core.messages.post(Caller(f"p{number}"), "jobs", [DRAFT])
            await core.usage.use(f"p{number}")
    assert len(core.usage._kept) == 3
    assert len(core.usage._shown) == 3
    for number in range(10):
        with pytest.raises(QuotaExceeded):
            await core.messages.post(Caller(f"p{number}"), "jobs", [DRAFT])


async def test_one_more_project_than_is_remembered_posts_while_all_the_others_do(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "KEPT", 1)
    message = NewMessage(body=b"1", ttl=seconds(60))
    async with core.usage.for_post(QueueRef("busy", "jobs"), [message]):
        await core.messages.post(ACME, "jobs", [DRAFT] * 2)
        with pytest.raises(QuotaExceeded):
            await core.messages.post(ACME, "jobs", [DRAFT])


async def test_a_measuring_that_goes_on_ends_when_the_store_is_about_to_be_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, has_ended = asyncio.Event(), asyncio.Event()

    async def measure(*_: object) -> Amounts:
        begun.set()
        try:
            return await asyncio.Future()
        finally:
            has_ended.set()

    monkeypatch.setattr(Holdings, "posted", measure)
    async with opened(Settings(quotas=QuotaSettings(quota_messages=2)), tmp_path) as backend:
        posting = asyncio.create_task(backend.core.messages.post(ACME, "jobs", [DRAFT]))
        async with asyncio.timeout(10):
            await begun.wait()
    assert has_ended.is_set()
    with pytest.raises(Unavailable, match="The server stops"):
        await posting


async def test_without_quotas_nothing_is_measured_or_remembered(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = build_core(store=store, clock=ManualClock())
    await core.messages.post(ACME, "jobs", [DRAFT])
    await core.messages.pop(ACME, "jobs", 1)
    assert not core.usage.is_limited
    assert not core.usage._kept


async def test_a_repeated_post_and_a_refused_one_give_their_room_back(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = 0
    stats = core.usage._queues.stats

    async def counting(*args, **named):
        nonlocal measured
        measured += 1
        return await stats(*args, **named)

    monkeypatch.setattr(core.usage._queues, "stats", counting)
    once = Idempotency("key", b"content")
    first = await core.messages.post(ACME, "jobs", [DRAFT], idempotency=once)
    for _ in range(10):
        again = await core.messages.post(ACME, "jobs", [DRAFT], idempotency=once)
        assert (again.replayed, again.ids) == (True, first.ids)
        with pytest.raises(Conflict):
            await core.messages.post(
                ACME, "jobs", [DRAFT], idempotency=Idempotency("key", b"other")
            )
    await core.messages.post(ACME, "jobs", [DRAFT])
    assert measured == 0  # before the first post there was no queue, and never since


async def test_a_repeat_of_a_post_is_answered_as_the_first_was_though_there_is_no_room(
    core: Core,
) -> None:
    once = Idempotency("key", b"content")
    first = await core.messages.post(ACME, "jobs", [DRAFT] * 2, idempotency=once)
    again = await core.messages.post(ACME, "jobs", [DRAFT] * 2, idempotency=once)
    assert (again.replayed, again.ids) == (True, first.ids)
    for key, queue in (("another", "jobs"), ("key", "elsewhere")):
        promise = Idempotency(key, b"content")
        with pytest.raises(QuotaExceeded):
            await core.messages.post(ACME, queue, [DRAFT], idempotency=promise)
    with pytest.raises(Conflict):
        await core.messages.post(ACME, "jobs", [DRAFT], idempotency=Idempotency("key", b"other"))
    await core.messages.pop(ACME, "jobs", 2)
    fresh = await core.messages.post(
        ACME, "jobs", [DRAFT], idempotency=Idempotency("another", b"content")
    )
    assert not fresh.replayed, "a refusal was not remembered"


async def test_only_what_was_refused_for_a_quota_counts_as_refused(core: Core) -> None:
    once, refused = Idempotency("key", b"content"), core.quota_book.refused
    await core.messages.post(ACME, "jobs", [DRAFT] * 2, idempotency=once)
    await core.messages.post(ACME, "jobs", [DRAFT] * 2, idempotency=once)
    with pytest.raises(Conflict):
        await core.messages.post(ACME, "jobs", [DRAFT], idempotency=Idempotency("key", b"other"))
    assert refused == {}
    for number, promise in enumerate((None, Idempotency("another", b"content")), start=1):
        with pytest.raises(QuotaExceeded):
            await core.messages.post(ACME, "jobs", [DRAFT], idempotency=promise)
        assert refused == {("messages", "acme"): number}


async def test_a_queue_that_somebody_else_makes_meanwhile_is_no_refusal(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = build_core(store=store, clock=ManualClock(), quota=Quota(queues=1))
    await core.queues.create(ACME, "jobs", {})
    get, unseen = core.usage._queues.get, ["not there yet"]

    async def late(queue: QueueRef) -> object:
        return None if unseen and unseen.pop() else await get(queue)

    monkeypatch.setattr(core.usage._queues, "get", late)
    async with core.usage.for_queue(QueueRef("acme", "jobs")):
        assert core.quota_book.refused == {}
    with pytest.raises(QuotaExceeded):
        await core.messages.post(ACME, "more", [DRAFT])
    assert core.quota_book.refused == {("queues", "acme"): 1}


async def test_a_part_of_the_store_that_is_down_leaves_the_rest_of_use_shown(
    core: Core, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.queues.create(QueueRef("acme", "jobs"), {}, now=ManualClock().now())

    async def down(*_: object, **__: object) -> None:
        raise Unavailable("The pool is down.")

    monkeypatch.setattr(store.messages, "measure", down)
    assert await core.usage.use("acme") == {"queues": 1, "subscriptions": 0, "claims": 0}


async def test_what_was_found_last_is_known_for_what_is_limited(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(findings, "MOST", 3)
    clock = ManualClock()
    core = build_core(store=store, clock=clock, quota=Quota(messages=100))

    def known() -> list[tuple[str, str, int, float]]:
        return [(one.project, one.name, one.amount, one.age) for one in core.usage.findings.all()]

    await core.messages.post(ACME, "jobs", [DRAFT] * 2)
    assert known() == [("acme", "messages", 0, 0.0)], "it was measured before they were stored"
    clock.advance(seconds=7)
    assert known() == [("acme", "messages", 0, 7.0)]
    assert (await core.usage.use("acme"))["bytes"] == 2
    assert known() == [("acme", "messages", 2, 0.0)], "bytes have no limit"
    for number in range(3):
        await core.messages.post(Caller(f"p{number}"), "jobs", [DRAFT])
    assert [project for project, *_ in known()] == ["p0", "p1", "p2"]
    await core.quota_book.put("p1", Override(messages=None, claims=5))
    assert [project for project, *_ in known()] == ["p0", "p2"]

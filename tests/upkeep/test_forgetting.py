"""Walks over records of the past: again and again, also after the store was down, by whoever is
asked to. What goes on a walk is in ``nuska.testing.conformance.forgetting``."""

import asyncio
from pathlib import Path

import pytest

from nuska.assembly import assembled
from nuska.core.mail_quota import MAIL_QUOTA
from nuska.core.rate_shares import LEASE, RATE_SHARES, WHOLE, RateShares
from nuska.domain.errors import Unavailable
from nuska.interfaces.notifications import SubscribableStore
from nuska.interfaces.records import ABSENT, Record
from nuska.settings import Settings
from nuska.stores.memory.records import MemoryRecords
from nuska.testing.clock import ManualClock
from nuska.upkeep import forgetting
from nuska.upkeep.forgetting import Forgetter


class FallibleRecords(MemoryRecords):
    """Fail at first, and say when somebody has looked at the last collection."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[Exception] = []
        self.walked = asyncio.Event()

    async def page(
        self, collection: str, *, after: str = "", before: str | None = None, limit: int
    ) -> list[Record]:
        if self.failures:
            raise self.failures.pop()
        if collection == list(forgetting.PASSING)[-1]:
            self.walked.set()
        return await super().page(collection, after=after, before=before, limit=limit)


@pytest.fixture
async def records(monkeypatch: pytest.MonkeyPatch) -> FallibleRecords:
    monkeypatch.setattr(forgetting, "WALK_EVERY", 0.001)
    records, clock = FallibleRecords(), ManualClock()
    await RateShares(records, clock, "node").renew("acme", WHOLE)
    return records


async def _one_walk(forgetter: Forgetter, records: FallibleRecords) -> None:
    running = asyncio.create_task(forgetter.run())
    try:
        await asyncio.wait_for(records.walked.wait(), 20)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_store_that_was_down_is_walked_over_later(records: FallibleRecords) -> None:
    records.failures = [Unavailable("it is down"), RuntimeError("a bug")]
    clock = ManualClock()
    clock.advance(milliseconds=LEASE)
    await _one_walk(Forgetter(records, clock), records)
    assert not records.failures
    assert await records.get(RATE_SHARES, "acme") is None


async def test_nobody_walks_whose_duty_it_is_not(records: FallibleRecords) -> None:
    asked = 0

    def is_ours() -> bool:
        nonlocal asked
        asked += 1
        if asked == 3:
            records.walked.set()
        return False

    clock = ManualClock()
    clock.advance(milliseconds=LEASE)
    await _one_walk(Forgetter(records, clock, is_ours), records)
    assert await records.get(RATE_SHARES, "acme") is not None


async def test_a_service_that_runs_walks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    removed, walk = asyncio.Event(), Forgetter.walk

    async def tell(forgetter: Forgetter) -> int:
        count = await walk(forgetter)
        if count:
            removed.set()
        return count

    monkeypatch.setattr(forgetting, "WALK_EVERY", 0.01)
    monkeypatch.setattr(Forgetter, "walk", tell)
    settings = Settings(listen="127.0.0.1:0")
    async with asyncio.timeout(20), assembled(settings, tmp_path) as service:
        assert isinstance(service.store, SubscribableStore)
        records = service.store.records
        assert await records.put(MAIL_QUOTA, "acme", b'{"day": 0, "addresses": 1}', version=ABSENT)
        await removed.wait()
        assert await records.get(MAIL_QUOTA, "acme") is None

"""What projects long gone have left in records goes, on every store, and nothing else does."""

import asyncio
from itertools import count

import pytest

from nuska.core.ledgers import KEPT, USAGE, SharedLedger
from nuska.core.mail_quota import DAY, MAIL_QUOTA, MailQuota
from nuska.core.quotas import QuotaBook
from nuska.core.rate_shares import LEASE, RATE_SHARES, WHOLE, RateShares
from nuska.domain.quotas import Quota
from nuska.interfaces.pooling import PoolableStore
from nuska.interfaces.records import ABSENT, Record, RecordStore
from nuska.testing.clock import ManualClock
from nuska.testing.conformance.inbox import Conformance
from nuska.upkeep import forgetting
from nuska.upkeep.forgetting import Forgetter

SECOND = 1000
"""Milliseconds."""
LIMITS = (100,)
GONE = 150
"""Projects: more than a page."""
NODES = 3


class Overtaken:
    """Records of which each is written again between the look at it and what is done then."""

    def __init__(self, records: RecordStore) -> None:
        self._records = records
        self.get, self.put, self.remove = records.get, records.put, records.remove

    async def page(
        self, collection: str, *, after: str = "", before: str | None = None, limit: int
    ) -> list[Record]:
        page = await self._records.page(collection, after=after, before=before, limit=limit)
        for record in page:
            await self.put(collection, record.key, record.value, version=record.version)
        return page


class ForgettingConformance(Conformance):
    @pytest.fixture(autouse=True)
    def restless_walks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(forgetting, "PAUSE", 0.0)

    @pytest.fixture
    def records(self, store: PoolableStore) -> RecordStore:
        return store.records

    @pytest.fixture
    def forgetter(self, records: RecordStore, clock: ManualClock) -> Forgetter:
        return Forgetter(records, clock)

    async def test_shares_of_a_rate_go_when_no_node_has_one_any_more(
        self, records: RecordStore, clock: ManualClock, forgetter: Forgetter
    ) -> None:
        nodes = [RateShares(records, clock, f"node-{number}") for number in range(2)]
        await nodes[0].renew("acme", WHOLE)
        clock.advance(milliseconds=LEASE // 2)
        await nodes[1].renew("acme", WHOLE)
        clock.advance(milliseconds=LEASE // 2)
        assert await forgetter.walk() == 0, "the second node's is still good"
        clock.advance(milliseconds=LEASE // 2)
        assert await forgetter.walk() == 1
        assert await records.get(RATE_SHARES, "acme") is None
        leased, alone = await nodes[0].renew("acme", WHOLE)
        assert alone
        assert all(leased.shares)

    async def test_a_book_of_use_goes_when_nobody_has_written_in_it_for_long(
        self, records: RecordStore, clock: ManualClock, forgetter: Forgetter
    ) -> None:
        ledger = SharedLedger(records, clock, "acme", "messages", 1)
        await ledger.measured(LIMITS, (1,), await ledger.given())
        clock.advance(milliseconds=KEPT - SECOND)
        assert (await ledger.lease(LIMITS, (1,), (1,))).given == (1,)
        clock.advance(milliseconds=KEPT - SECOND)
        assert await forgetter.walk() == 0, "it was written in since"
        clock.advance(milliseconds=SECOND)
        assert await forgetter.walk() == 1
        assert await records.page(USAGE, limit=1) == []
        lease = await ledger.lease(LIMITS, (1,), (1,))
        assert (lease.given, lease.lacking) == (None, None), "it has to be measured again"

    async def test_what_was_measured_in_part_before_a_book_was_forgotten_is_measured_again(
        self, records: RecordStore, clock: ManualClock, forgetter: Forgetter
    ) -> None:
        slow, other = (SharedLedger(records, clock, "acme", "messages", 1) for _ in range(2))
        await other.measured(LIMITS, (1,), await other.given())
        assert (await other.lease(LIMITS, (50,), (50,))).given == (50,)
        before = await slow.given()
        clock.advance(milliseconds=KEPT)
        assert await forgetter.walk() == 1
        await slow.measured(LIMITS, (1,), before)
        assert (await slow.lease(LIMITS, (1,), (1,))).given is None
        await other.measured(LIMITS, (1,), await other.given())
        assert (await other.lease(LIMITS, (99,), (99,))).given == (99,)
        await slow.measured(LIMITS, (1,), before)
        assert (await slow.lease(LIMITS, (1,), (1,))).given is None, "the others have it all"

    async def test_a_count_of_mail_goes_when_its_day_is_over(
        self, records: RecordStore, clock: ManualClock, forgetter: Forgetter
    ) -> None:
        mails = MailQuota(records, clock, QuotaBook(Quota(mails_per_day=5), records))
        assert await mails.take("acme", 5) is None
        clock.advance(milliseconds=DAY)
        assert await forgetter.walk() == 0, "on another node the day may not be over"
        clock.advance(milliseconds=DAY)
        assert await forgetter.walk() == 1
        assert await records.get(MAIL_QUOTA, "acme") is None
        assert await mails.take("acme", 5) is None

    async def test_what_was_written_after_it_was_looked_at_stays(
        self, records: RecordStore, clock: ManualClock
    ) -> None:
        await RateShares(records, clock, "node").renew("acme", WHOLE)
        clock.advance(milliseconds=LEASE)
        assert await Forgetter(Overtaken(records), clock).walk() == 0
        assert await records.get(RATE_SHARES, "acme") is not None

    async def test_nodes_that_walk_side_by_side_remove_each_record_once(
        self, records: RecordStore, clock: ManualClock
    ) -> None:
        shares = RateShares(records, clock, "node")
        for number in range(GONE):
            await shares.renew(f"gone-{number}", WHOLE)
        clock.advance(milliseconds=LEASE)
        await shares.renew("here", WHOLE)
        walks = (Forgetter(records, clock).walk() for _ in range(NODES))
        assert sum(await asyncio.gather(*walks)) == GONE
        assert [record.key for record in await records.page(RATE_SHARES, limit=5)] == ["here"]

    async def test_what_nobody_can_read_stays(
        self, records: RecordStore, clock: ManualClock, forgetter: Forgetter
    ) -> None:
        written = count()
        for collection in forgetting.PASSING:
            for value in (b"", b"{", b"[]", b'{"of": "a later version"}'):
                key = f"acme-{next(written)}"
                assert await records.put(collection, key, value, version=ABSENT)
        clock.advance(milliseconds=2 * DAY)
        assert await forgetter.walk() == 0

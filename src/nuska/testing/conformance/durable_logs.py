"""What a durable store still knows of announcement logs after it was opened again (I18, I23)."""

import pytest

from nuska.interfaces.announcing import AnnouncingStore
from nuska.testing.conformance.announcements import Log
from nuska.testing.conformance.durability import Reopen
from nuska.testing.conformance.inbox import MINUTE, Conformance, Inbox, sweep_all


class DurableLogConformance(Conformance):
    """A driver's tests provide ``reopen`` beside ``store``, as for ``DurabilityConformance``."""

    @pytest.fixture
    def log(self, store: AnnouncingStore, inbox: Inbox) -> Log:
        return Log(store, inbox)

    async def _reopened(self, inbox: Inbox, reopen: Reopen) -> tuple[Log, Inbox]:
        store = await reopen()
        inbox = inbox.after_reopening(store)
        assert isinstance(store, AnnouncingStore)
        return Log(store, inbox), inbox

    async def test_a_log_is_as_before_and_goes_on(
        self, log: Log, inbox: Inbox, reopen: Reopen
    ) -> None:
        opened = await log.open()
        await inbox.add("a", "b", poster=b"me", attributes=b'{"k":1}')
        await inbox.post("late", delay=MINUTE)
        await inbox.pop()
        before = await log.all()
        log, inbox = await self._reopened(inbox, reopen)
        assert await log.all() == before
        seen = await log.state()
        assert seen is not None
        assert seen.version == opened.version
        await inbox.post("c")
        assert await log.bodies(after=before[-1].position) == ["c"]
        assert (await log.open()).last >= (await log.all())[-1].position

    async def test_a_log_of_a_queue_that_does_not_exist_stays_open(
        self, log: Log, inbox: Inbox, reopen: Reopen
    ) -> None:
        await log.open()
        await inbox.post("of the queue before")
        await inbox.drop()
        log, inbox = await self._reopened(inbox, reopen)
        assert await log.state() is not None
        await inbox.post("a")
        assert await log.bodies() == ["a"]

    async def test_what_was_emptied_trimmed_or_closed_stays_gone(
        self, log: Log, inbox: Inbox, reopen: Reopen
    ) -> None:
        purged, trimmed, closed = inbox.beside("purged"), inbox.beside("trimmed"), inbox
        for one in (purged, trimmed, closed):
            await log.of(one).open()
            await one.post("a", "b", "c")
        await purged.purge()
        await log.of(trimmed).trim((await log.of(trimmed).all())[1].position)
        opened = await log.open()
        assert await log.close(opened.version)
        log, inbox = await self._reopened(inbox, reopen)
        await sweep_all(inbox.store, inbox.clock)
        assert await log.of(inbox.beside("purged")).bodies() == []
        assert await log.of(inbox.beside("trimmed")).bodies() == ["c"]
        assert await log.state() is None
        assert (await log.open()).version != opened.version
        await inbox.beside("purged").post("d")
        assert await log.bodies() == []
        assert await log.of(inbox.beside("purged")).bodies() == ["d"]

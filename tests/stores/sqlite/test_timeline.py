"""The timeline never runs backwards, not even over a restart with a clock set back (D4)."""

import msgspec

from nuska.domain.messages import NewMessage, QueueRef
from nuska.domain.moments import seconds
from nuska.interfaces.storage import StoreOptions
from nuska.stores.sqlite.store import open_sqlite
from nuska.testing.clock import START, ManualClock

INBOX = QueueRef("acme", "inbox")
CLAIM = "ab" * 12


async def test_a_moment_that_only_readers_have_seen_is_kept_over_a_restart(
    options: StoreOptions, clock: ManualClock
) -> None:
    store = await open_sqlite(options)
    letter = NewMessage(body=b"1", ttl=seconds(3600))
    await store.messages.add(INBOX, [letter], now=clock.now())
    minute = seconds(60)
    await store.claims.create(
        INBOX, claim_id=CLAIM, limit=1, ttl=minute, grace=minute, now=clock.now()
    )
    clock.advance(seconds=60)
    assert await store.claims.get(INBOX, CLAIM, now=clock.now()) is None
    await store.close()

    reopened = await open_sqlite(msgspec.structs.replace(options, now=START))
    try:
        assert await reopened.claims.get(INBOX, CLAIM, now=START) is None
        assert (await reopened.queues.stats(INBOX, now=START)).ready == 1
    finally:
        await reopened.close()

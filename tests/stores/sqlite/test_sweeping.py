"""The sweep keeps up with what ends often, and never forgets what is not urgent."""

from nuska.domain.messages import NewMessage, QueueRef
from nuska.domain.moments import seconds
from nuska.stores.sqlite.store import SqliteStore
from nuska.stores.sqlite.sweeping import DELAYS_PER_STEP, OTHER_EVERY
from nuska.testing.clock import ManualClock

INBOX = QueueRef("acme", "inbox")


async def test_delays_that_end_at_many_moments_take_few_steps(
    sqlite: SqliteStore, clock: ManualClock
) -> None:
    delayed = [
        NewMessage(body=b"1", ttl=seconds(300), delay=seconds(number + 1)) for number in range(90)
    ]
    await sqlite.messages.add(INBOX, delayed, now=clock.now())
    clock.advance(seconds=91)
    assert len(delayed) <= DELAYS_PER_STEP
    report = await sqlite.sweep(now=clock.now())
    assert report.due == [INBOX]
    assert not (await sqlite.sweep(now=clock.now())).more


async def test_expired_messages_are_removed_while_delays_go_on_ending(
    sqlite: SqliteStore, clock: ManualClock
) -> None:
    await sqlite.messages.add(INBOX, [NewMessage(body=b"1", ttl=seconds(60))], now=clock.now())
    clock.advance(seconds=60)
    removed = 0
    for _ in range(OTHER_EVERY):
        late = NewMessage(body=b"2", ttl=seconds(300), delay=seconds(1))
        await sqlite.messages.add(INBOX, [late], now=clock.now())
        clock.advance(seconds=1)
        removed += (await sqlite.sweep(now=clock.now())).removed
    assert removed == 1

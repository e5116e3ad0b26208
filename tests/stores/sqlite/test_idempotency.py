"""What a post is remembered by: its queue and its key, and no other queue's."""

import pytest

from nuska.domain.messages import Idempotency, NewMessage, QueueRef
from nuska.domain.moments import seconds
from nuska.stores.sqlite.store import SqliteStore
from nuska.testing.clock import ManualClock

LETTER = NewMessage(body=b'"letter"', ttl=seconds(300))
PROMISE = Idempotency("key", b"fingerprint")


@pytest.mark.parametrize(
    "next_queue",
    [QueueRef("acme", "inbox"), QueueRef("rival", "other")],
    ids=["of the same name", "of another project"],
)
async def test_a_queue_made_after_a_deleted_one_remembers_none_of_its_posts(
    sqlite: SqliteStore, clock: ManualClock, next_queue: QueueRef
) -> None:
    inbox = QueueRef("acme", "inbox")
    first = await sqlite.messages.add(inbox, [LETTER], idempotency=PROMISE, now=clock.now())
    await sqlite.queues.delete(inbox, now=clock.now())
    await sqlite.messages.add(next_queue, [LETTER], now=clock.now())
    second = await sqlite.messages.add(next_queue, [LETTER], idempotency=PROMISE, now=clock.now())
    assert not second.replayed
    assert second.ids != first.ids
    assert len(await sqlite.messages.get(next_queue, second.ids, now=clock.now())) == 1

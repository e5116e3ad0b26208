"""What is left of subscriptions that are no more is cleared away, and what belongs to one that
is being made is not."""

from nuska.core import build_core
from nuska.core.confirmations import ConfirmationRules
from nuska.core.subscription_making import MAKING_TAKES, SubscriptionDraft
from nuska.core.subscription_records import ASKS, CURSORS, TROUBLE, Cursor, Trouble
from nuska.delivery.cursors import LEFT_FOR
from nuska.domain.moments import after
from nuska.domain.positions import BEFORE_ALL
from nuska.domain.signing import Signer
from nuska.domain.subscriptions import SubscriptionId
from nuska.interfaces.identity import Caller
from nuska.interfaces.records import ABSENT
from nuska.testing.clock import seeded_bytes
from nuska.testing.delivering import DeliveryBench

WHO = "http://a.example/"
NOBODY = SubscriptionId("f" * 24)
CALLER = Caller(project="acme")


async def left(bench: DeliveryBench, collection: str) -> int:
    """Records of the one who is no more."""
    page = await bench.store.records.page(collection, limit=100)
    return sum(record.key.endswith(NOBODY) for record in page)


async def look_again(bench: DeliveryBench) -> None:
    """As whenever a subscription of the queue changes."""
    await bench.records.note_change(bench.queue)
    bench.engine.changed(bench.queue)
    await bench.engine.settled()


async def test_a_cursor_without_a_subscription_goes_when_nobody_can_be_making_one(
    bench: DeliveryBench,
) -> None:
    await bench.subscribe(WHO)
    cursor = Cursor(position=BEFORE_ALL)
    await bench.records.put_cursor(bench.queue, NOBODY, cursor, version=ABSENT)
    await look_again(bench)
    bench.clock.advance(milliseconds=LEFT_FOR - 1)
    await look_again(bench)
    assert await left(bench, CURSORS) == 1
    bench.clock.advance(milliseconds=1)
    await look_again(bench)
    assert await left(bench, CURSORS) == 0
    assert LEFT_FOR > MAKING_TAKES


async def test_trouble_of_one_who_is_no_more_goes_at_once(bench: DeliveryBench) -> None:
    await bench.subscribe(WHO)
    now = bench.clock.now()
    trouble = Trouble(since=now, error="refused", failures=5, next_at=after(now, LEFT_FOR))
    await bench.records.put_trouble(bench.queue, NOBODY, trouble, version=ABSENT)
    await look_again(bench)
    assert await left(bench, TROUBLE) == 0


async def test_with_the_last_subscription_everything_goes(bench: DeliveryBench) -> None:
    core = build_core(
        store=bench.store,
        clock=bench.clock,
        random_bytes=seeded_bytes(3),
        confirmation=ConfirmationRules(signer=Signer("a key for tests")),
    )
    core.followings.add(bench.engine)
    draft = SubscriptionDraft(subscriber="mailto:me@example.net")
    made = await core.subscriptions.create(CALLER, "jobs", draft)
    await bench.engine.settled()
    now = bench.clock.now()
    trouble = Trouble(since=now, error="refused", failures=5, next_at=after(now, LEFT_FOR))
    await core.subscriptions.delete(CALLER, "jobs", made.id)
    await bench.records.put_trouble(bench.queue, NOBODY, trouble, version=ABSENT)
    await bench.engine.settled()
    for collection in (ASKS, CURSORS, TROUBLE, "subscriptions", "subscribers", "followed"):
        assert await bench.store.records.page(collection, limit=10) == []

"""A queue that is a subscriber of another."""

import json

import pytest
from msgspec.structs import replace

from nuska.core import build_core
from nuska.core.bodies import Bodies
from nuska.core.terms import Terms
from nuska.core.wakeups import LocalWakeups
from nuska.delivery.senders.queue import MAX_HOPS, QueueSender
from nuska.domain.attributes import HOPS, ORIGIN, ROUND
from nuska.domain.errors import Unavailable
from nuska.domain.internal import topic
from nuska.domain.limits import Limits
from nuska.domain.messages import Message, QueueRef
from nuska.domain.positions import BEFORE_ALL, Position, message_id
from nuska.domain.quotas import Quota
from nuska.interfaces.notifications import Notification
from nuska.stores.memory import MemoryStore
from nuska.testing.clock import ManualClock

from .conftest import Notify, memory_store

WORK = QueueRef("p", "work")
ORIGIN_ID = message_id(Position(5), b"12345678")


@pytest.fixture
def store() -> MemoryStore:
    return memory_store()


@pytest.fixture
def sender(store: MemoryStore, clock: ManualClock) -> QueueSender:
    return sender_to(store, clock)


def sender_to(
    store: MemoryStore,
    clock: ManualClock,
    quota: Quota = Quota(),  # noqa: B008  it is frozen
) -> QueueSender:
    terms = Terms(store.queues, Limits())
    usage = build_core(store=store, clock=clock, quota=quota).usage
    return QueueSender(
        store.messages, terms, LocalWakeups(), clock, Bodies(None), usage, total=10.0
    )


async def held(store: MemoryStore, clock: ManualClock, queue: QueueRef = WORK) -> list[Message]:
    page = await store.messages.page(
        queue, after=BEFORE_ALL, limit=100, include_delayed=True, now=clock.now()
    )
    return page.messages


async def test_a_copy_has_what_is_left_of_the_ttl_and_all_else(
    sender: QueueSender, store: MemoryStore, clock: ManualClock, notify: Notify
) -> None:
    clock.advance(seconds=100)
    outcome = await sender.send(notify("queue:work", attributes=b'{"a": 1.50}'))
    assert outcome.ok
    [copy] = await held(store, clock)
    assert copy.body == b'{"job": 17}'
    assert copy.expires_at - clock.now() == 800_000
    assert copy.poster == b"poster"
    assert copy.attributes == b'{"a":1.50,"_hops":1,"_origin":"m1"}'


async def test_a_repeated_attempt_makes_no_second_copy(
    sender: QueueSender, store: MemoryStore, clock: ManualClock, notify: Notify
) -> None:
    for number in (1, 1, 2):
        assert (await sender.send(notify("queue:work", number=number))).ok
    assert len(await held(store, clock)) == 2


async def test_telling_the_past_again_makes_one_more_copy_each_time_and_no_second_of_either(
    sender: QueueSender, store: MemoryStore, clock: ManualClock, notify: Notify
) -> None:
    first = notify("queue:work")
    for round_ in (0, 7, 7, 0, 8):
        assert (await sender.send(replace(first, round=round_))).ok
    copies = await held(store, clock)
    assert [json.loads(copy.attributes or b"").get(ROUND) for copy in copies] == [None, 7, 8]


async def test_a_copy_of_the_past_goes_on_by_every_way_once(
    sender: QueueSender, store: MemoryStore, clock: ManualClock, notify: Notify
) -> None:
    first = notify("queue:work")
    for round_ in (0, 7):
        await sender.send(replace(first, round=round_))
    for copy in await held(store, clock):
        for _ in range(2):  # as by two ways
            onwards = replace(first.subscription, subscriber="queue:further")
            assert (await sender.send(Notification(subscription=onwards, message=copy))).ok
    assert len(await held(store, clock, QueueRef("p", "further"))) == 2


async def test_a_copy_waits_for_room_in_the_quota(
    store: MemoryStore, clock: ManualClock, notify: Notify
) -> None:
    sender = sender_to(store, clock, Quota(messages=1))
    assert (await sender.send(notify("queue:work", number=1))).ok
    refused = await sender.send(notify("queue:work", number=2))
    assert (refused.ok, refused.permanent) == (False, False)
    assert refused.error is not None
    assert "messages is limited to 1" in refused.error
    assert len(await held(store, clock)) == 1


async def test_a_topic_feeds_a_queue_of_its_project(
    sender: QueueSender, store: MemoryStore, clock: ManualClock, notify: Notify
) -> None:
    assert (await sender.send(notify("queue:work", queue=topic("p", "news")))).ok
    assert len(await held(store, clock)) == 1


async def test_a_delay_of_the_fed_queue_counts(
    sender: QueueSender, store: MemoryStore, clock: ManualClock, notify: Notify
) -> None:
    await store.queues.create(WORK, {"_default_message_delay": 30}, now=clock.now())
    assert (await sender.send(notify("queue:work"))).ok
    [copy] = await held(store, clock)
    assert copy.available_at - clock.now() == 30_000


async def test_a_ring_of_queues_ends(
    sender: QueueSender, store: MemoryStore, clock: ManualClock, notify: Notify
) -> None:
    attributes: bytes | None = None
    for hop in range(1, MAX_HOPS + 1):
        sent = notify("queue:work", attributes=attributes, number=hop)
        assert (await sender.send(sent)).ok
        attributes = (await held(store, clock))[-1].attributes
        assert attributes is not None
        assert json.loads(attributes) == {HOPS: hop, ORIGIN: f"m{hop}"}
    outcome = await sender.send(notify("queue:work", attributes=attributes, number=100))
    assert outcome.permanent
    assert "ring" in (outcome.error or "")


@pytest.mark.parametrize("count", ["-5", '"many"', "null", "{}", "1e3", "9" * 400])
@pytest.mark.parametrize("name", ["_hops", "_round"])
async def test_a_count_that_somebody_made_up_does_no_harm(
    name: str, count: str, sender: QueueSender, notify: Notify
) -> None:
    made_up = {"_hops": "1", "_origin": f'"{ORIGIN_ID}"', name: count}
    written = ", ".join(f'"{key}": {value}' for key, value in made_up.items())
    sent = notify("queue:work", attributes=f"{{{written}}}".encode())
    outcome = await sender.send(sent)
    assert outcome.ok or outcome.permanent


async def permanently(sender: QueueSender, sent: Notification) -> str:
    outcome = await sender.send(sent)
    assert outcome.permanent
    return outcome.error or ""


async def test_what_the_fed_queue_cannot_take_is_said(
    sender: QueueSender, store: MemoryStore, clock: ManualClock, notify: Notify
) -> None:
    await store.queues.create(WORK, {"_max_messages_post_size": 10}, now=clock.now())
    assert "larger" in await permanently(sender, notify("queue:work"))
    large = json.dumps({"a": "x" * 16_374}).encode()
    assert "no room" in await permanently(sender, notify("queue:other", attributes=large))
    assert "not the name" in await permanently(sender, notify("queue:no/such"))
    clock.advance(seconds=900)
    assert "expired" in await permanently(sender, notify("queue:other"))


async def test_a_store_that_fails_is_worth_another_try(
    sender: QueueSender, store: MemoryStore, notify: Notify, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down(*_: object, **__: object) -> None:
        raise Unavailable("The disk is full.")

    monkeypatch.setattr(store.messages, "add", down)
    outcome = await sender.send(notify("queue:work"))
    assert (outcome.ok, outcome.permanent) == (False, False)
    assert outcome.error == "The disk is full."


async def test_the_endpoint_is_the_queue(sender: QueueSender, notify: Notify) -> None:
    assert sender.endpoint(notify("queue:work").subscription) == "queue:p/work"

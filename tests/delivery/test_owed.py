"""What is owed to a subscriber is not lost in the gaps between two steps of somebody else, and
what is not owed to anybody is not sent."""

import pytest

from nuska.core import Core, build_core
from nuska.core.confirmations import ConfirmationRules
from nuska.core.subscriber_index import SubscriberIndex
from nuska.core.subscription_making import SubscriptionDraft
from nuska.core.subscriptions import SubscriptionChange
from nuska.core.terms import Terms
from nuska.core.wakeups import LocalWakeups
from nuska.delivery.bounds import DeliveryBounds
from nuska.delivery.engine import Engine
from nuska.delivery.senders.queue import QueueSender
from nuska.domain.errors import Conflict, InvalidInput, Unavailable
from nuska.domain.messages import NewMessage, QueueRef
from nuska.domain.moments import LAST_MOMENT, Duration, Moment, seconds
from nuska.domain.positions import BEFORE_ALL
from nuska.domain.signing import Signer
from nuska.domain.templates import PLACEHOLDER, filled
from nuska.interfaces.identity import Caller
from nuska.interfaces.notifications import Outcome
from nuska.testing.clock import seeded_bytes
from nuska.testing.delivering import HOUR, REFUSED, WRONG, DeliveryBench

A, B = "http://a.example/in", "http://b.example/in"
BAD, GOOD = "http://same.example/bad", "http://same.example/good"
MINE, ANOTHER = "mailto:me@example.net", "mailto:you@example.org"
ME = Caller("acme")
QUEUE = "jobs"
LONG = seconds(80_000)
SERVER_ERROR = Outcome(ok=False, status=500, latency=Duration(1), error="500")


@pytest.fixture
def core(bench: DeliveryBench) -> Core:
    core = build_core(store=bench.store, clock=bench.clock, random_bytes=seeded_bytes(3))
    core.followings.add(bench.engine)
    return core


async def test_what_is_posted_right_after_a_purge_is_told(
    bench: DeliveryBench, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.subscribe(A)
    await bench.engine.settled()
    purge = bench.store.queues.purge

    async def purge_and_post(ref: QueueRef, *, now: Moment) -> None:
        await purge(ref, now=now)
        new = NewMessage(body=b'"after the purge"', ttl=HOUR)
        await bench.store.messages.add(bench.queue, [new], now=bench.clock.now())

    monkeypatch.setattr(bench.store.queues, "purge", purge_and_post)
    await core.queues.purge(ME, QUEUE, messages=True)
    bench.engine.overhear(bench.queue, 1)
    await bench.pass_time(3)
    assert bench.sender.bodies() == ["after the purge"]


async def test_what_is_redriven_after_a_purge_arrives(bench: DeliveryBench, core: Core) -> None:
    bench.sender.answers[A] = WRONG
    await bench.subscribe(A)
    await bench.post("x")
    await bench.pass_time(3)
    await core.queues.purge(ME, QUEUE, messages=True)
    bench.sender.answers.clear()
    bench.sender.sent.clear()
    await core.redriving.redrive(ME, QUEUE)
    await bench.pass_time(5)
    assert bench.sender.bodies() == ["x"]


async def test_a_replay_does_not_pass_over_what_is_still_owed(
    bench: DeliveryBench, core: Core
) -> None:
    id_ = await bench.subscribe(A)
    await bench.post("before")
    await bench.pass_time(5)
    await bench.post("owed")  # nobody comes to it: the node is down
    bench.clock.advance(seconds=100)
    await core.deliveries.replay(ME, QUEUE, id_, since=10)
    await bench.new_engine().settled()
    await bench.pass_time(5)
    assert "owed" in bench.sender.bodies()


async def test_the_log_is_kept_for_a_subscription_that_its_follower_has_not_heard_of(
    bench: DeliveryBench,
) -> None:
    engine = bench.new_engine(DeliveryBounds(announcements_kept=0))
    await bench.subscribe(A)
    await engine.settled()
    changed = engine.changed
    engine.changed = lambda _: None  # type: ignore[method-assign]  # the hint is late
    await bench.subscribe(B)
    await bench.post("owed to both")
    await bench.pass_time(5)
    changed(bench.queue)
    await bench.pass_time(15)
    assert bench.sender.bodies(B) == ["owed to both"]


async def test_one_bad_path_does_not_hold_up_another_of_the_same_host(
    bench: DeliveryBench,
) -> None:
    bench.sender.answers[BAD] = SERVER_ERROR
    policy = {"maximum_delay_retries": 100, "maximum_delay": 25, "minimum_delay": 5}
    await bench.subscribe(BAD, {"_retry_policy": policy}, ttl=LONG)
    await bench.post(*(f"early {number}" for number in range(10)), ttl=LONG)
    await bench.pass_time(60)
    await bench.subscribe(GOOD, ttl=LONG)
    before = bench.clock.now()
    await bench.post("for both", ttl=LONG)
    await bench.engine.settled()
    assert [d.at for d in bench.sender.sent if d.subscriber == GOOD] == [before]


async def test_a_path_that_says_no_is_tried_with_something_new_now_and_then_and_goes_on(
    bench: DeliveryBench,
) -> None:
    bench.sender.answers[BAD] = SERVER_ERROR
    none = {"retries_with_no_delay": 0, "minimum_delay_retries": 0, "maximum_delay_retries": 0}
    policy = {**none, "minimum_delay": 1, "maximum_delay": 11}
    await bench.subscribe(BAD, {"_retry_policy": policy}, ttl=LONG)
    names = [f"{number}" for number in range(40)]
    for name in names:
        await bench.post(name, ttl=LONG)
        bench.clock.advance(milliseconds=2)
    await bench.pass_time(100)
    begun = set(bench.sender.bodies(BAD))
    assert len(begun) < len(names) / 2
    bench.sender.answers.clear()
    await bench.pass_time(700)
    assert set(bench.sender.bodies(BAD)) == set(names)


class Letters:
    """An engine that asks subscribers to confirm, beside a core that demands it of mail."""

    def __init__(self, bench: DeliveryBench) -> None:
        rules = ConfirmationRules(
            who="mail", signer=Signer("k" * 32), public_url="https://mq.example"
        )
        self.core = build_core(store=bench.store, clock=bench.clock, confirmation=rules)
        confirmations = self.core.confirmations
        bench.engine = Engine(
            bench.store,
            bench.clock,
            seeded_bytes(9),
            {"mailto": bench.sender, "http": bench.sender},
            may_be_told=confirmations.may_be_told,
            ask=confirmations.carry_out,
        )
        self.core.followings.add(bench.engine)


async def test_what_was_owed_to_one_subscriber_is_not_sent_to_the_next_before_he_confirms(
    bench: DeliveryBench,
) -> None:
    core = Letters(bench).core
    made = await core.subscriptions.create(ME, QUEUE, SubscriptionDraft(subscriber=MINE))
    await core.subscriptions.confirm(ME, QUEUE, made.id, confirmed=True, letter=LAST_MOMENT)
    await bench.engine.settled()
    bench.sender.answers[MINE] = REFUSED
    for number in range(5):
        await bench.post(f"now {number}")
        await bench.post(f"later {number}", delay=seconds(10))
    await bench.engine.settled()
    change = SubscriptionChange(subscriber=ANOTHER)
    await core.subscriptions.update(ME, QUEUE, made.id, change)
    await bench.pass_time(200)
    assert bench.sender.bodies(ANOTHER) == []


async def test_nobody_is_tried_out_who_has_not_confirmed(bench: DeliveryBench) -> None:
    core = Letters(bench).core
    made = await core.subscriptions.create(ME, QUEUE, SubscriptionDraft(subscriber=ANOTHER))
    with pytest.raises(Conflict, match="not confirmed"):
        await core.deliveries.try_out(ME, QUEUE, made.id)
    await bench.pass_time(2)
    assert bench.sender.bodies(ANOTHER) == []


async def test_a_dead_letter_queue_is_told_no_secret_of_a_subscribers_url(
    bench: DeliveryBench, core: Core
) -> None:
    await core.queues.create(ME, QUEUE, {"_dead_letter_queue": "graves"})
    hook = "http://hooks.example/T000/path?token=s3cr3t"
    bench.sender.answers[hook] = WRONG
    await bench.subscribe(hook)
    await bench.post("x")
    await bench.pass_time(3)
    graves = QueueRef("acme", "graves")
    [grave] = (
        await bench.store.messages.page(graves, after=BEFORE_ALL, limit=5, now=bench.clock.now())
    ).messages
    assert grave.attributes is not None
    assert b"http://hooks.example" in grave.attributes
    assert b"s3cr3t" not in grave.attributes
    assert b"T000" not in grave.attributes


@pytest.mark.parametrize("at", [-1, 253_402_300_800_000])
async def test_attributes_that_only_look_like_ours_are_no_dead_letter(
    bench: DeliveryBench, core: Core, at: int
) -> None:
    await core.queues.create(ME, QUEUE, {"_dead_letter_queue": "graves"})
    forged = (
        b'{"dead_delivery": {"origin": "jobs", "message": "%s", "subscription": "%s",'
        b' "subscriber": "x", "reason": "y", "attempts": 1, "at": %d}}'
    ) % (b"0" * 32, b"0" * 24, at)
    new = NewMessage(body=b"1", ttl=HOUR, attributes=forged)
    await bench.store.messages.add(QueueRef("acme", "graves"), [new], now=bench.clock.now())
    assert (await core.redriving.page(ME, QUEUE)).letters == []


async def test_a_subscription_renewed_at_the_last_moment_is_not_removed_as_expired(
    bench: DeliveryBench, core: Core
) -> None:
    made = await core.subscriptions.create(ME, QUEUE, SubscriptionDraft(subscriber=A, ttl=60))
    bench.clock.advance(milliseconds=59_990)
    stale = await bench.records.subscription(bench.queue, made.id)
    assert stale is not None
    await core.subscriptions.update(ME, QUEUE, made.id, SubscriptionChange(ttl=3600))
    bench.clock.advance(milliseconds=20)
    await SubscriberIndex(bench.records).expire(stale)
    assert await bench.records.subscription(bench.queue, made.id) is not None


async def test_queues_that_all_subscribe_to_each_other_take_a_message_once(
    bench: DeliveryBench, core: Core
) -> None:
    sender = QueueSender(
        bench.store.messages,
        Terms(bench.store.queues, core.limits),
        Passing(bench),
        bench.clock,
        core.bodies,
        core.usage,
        total=5,
    )
    bench.engine = Engine(
        bench.store, bench.clock, seeded_bytes(9), {"queue": sender}, may_be_told=lambda _: True
    )
    queues = [QueueRef("acme", f"q{number}") for number in range(4)]
    for source in queues:
        for target in queues:
            if source != target:
                await bench.subscribe(f"queue:{target.name}", queue=source)
    await bench.post("x", queue=queues[0])
    await bench.engine.settled()
    held = [
        (await bench.store.queues.stats(queue, now=bench.clock.now())).ready for queue in queues
    ]
    assert held == [2, 1, 1, 1]  # the first has what was posted, and the copy that came back


class Passing(LocalWakeups):
    """Passes what becomes available on to whichever engine runs."""

    def __init__(self, bench: DeliveryBench) -> None:
        super().__init__()
        self._bench = bench

    def wake(self, queue: QueueRef, messages: int) -> None:
        self._bench.engine.overhear(queue, messages)


def test_a_template_makes_no_hundreds_of_megabytes_of_a_message() -> None:
    document = "x" * 262_144
    with pytest.raises(InvalidInput, match="too large"):
        filled(PLACEHOLDER * 1000, document)
    assert len(filled(f"{{{PLACEHOLDER}}}", document)) == len(document) + 2


async def test_a_dead_letter_queue_that_takes_nothing_holds_nobody_up(
    bench: DeliveryBench, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    await core.queues.create(ME, QUEUE, {"_dead_letter_queue": "graves"})
    bench.sender.answers[A] = WRONG
    await bench.subscribe(A)
    await bench.subscribe(B)
    add = bench.store.messages.add

    async def add_elsewhere(queue: QueueRef, messages: list[NewMessage], **more: object) -> object:
        if queue.name == "graves":
            raise Unavailable("Its pool is down.")
        return await add(queue, messages, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(bench.store.messages, "add", add_elsewhere)
    await bench.post("x")
    await bench.engine.settled()
    await bench.post("y")
    await bench.engine.settled()
    assert bench.sender.bodies(B) == ["x", "y"]
    assert await bench.dead() == 2

"""Dead letters: where they stand, what they say, and how they are sent on their way again."""

import pytest

from nuska.core import Core, build_core
from nuska.core.claims import ClaimTerms
from nuska.core.messages import Draft
from nuska.core.redriving import MAX_DEAD_LETTERS, DeadLetter
from nuska.domain.errors import InvalidInput
from nuska.domain.messages import NewMessage, QueueRef
from nuska.domain.moments import seconds
from nuska.domain.positions import BEFORE_ALL
from nuska.interfaces.identity import Caller
from nuska.interfaces.notifications import Notification, Outcome
from nuska.testing.clock import seeded_bytes
from nuska.testing.delivering import HOUR, OK, REFUSED, WRONG, DeliveryBench

A, B = "http://a.example/in", "http://b.example/in"
ME, STRANGER = Caller("acme"), Caller("other")
QUEUE = "jobs"


@pytest.fixture
def core(bench: DeliveryBench) -> Core:
    core = build_core(store=bench.store, clock=bench.clock, random_bytes=seeded_bytes(3))

    class Passed:
        """Whichever engine runs at the moment."""

        def changed(self, queue: QueueRef) -> None:
            bench.engine.changed(queue)

    core.followings.add(Passed())
    return core


async def dead(core: Core, **asked: str) -> list[DeadLetter]:
    return (await core.redriving.page(ME, QUEUE, limit=MAX_DEAD_LETTERS, **asked)).letters


async def give_up(bench: DeliveryBench, *bodies: str) -> str:
    """Have deliveries to A end as dead letters."""
    bench.sender.answers[A] = WRONG
    subscription = await bench.subscribe(A)
    await bench.post(*bodies, ttl=seconds(600))
    await bench.engine.settled()
    return subscription


async def test_deliveries_that_were_given_up_are_listed_with_their_reason(
    bench: DeliveryBench, core: Core
) -> None:
    id_ = await give_up(bench, "one", "two")
    letters = await dead(core)
    assert [bytes(letter.letter.body) for letter in letters] == [b'"one"', b'"two"']
    assert {(one.subscription, one.subscriber, one.count) for one in letters} == {(id_, A, 1)}
    assert len(await dead(core, reason="400")) == 2
    assert await dead(core, reason="nothing like it") == []
    assert (await core.redriving.page(STRANGER, QUEUE)).letters == []
    assert (await core.redriving.page(ME, "another")).letters == []


async def test_what_is_redriven_arrives_and_is_dead_no_more(
    bench: DeliveryBench, core: Core
) -> None:
    await give_up(bench, "one", "two")
    bench.sender.answers[A] = OK
    bench.clock.advance(seconds=700)  # the messages themselves have expired by now
    bench.sender.sent.clear()
    first = (await dead(core))[0]
    planned = await core.redriving.redrive(ME, QUEUE, dry_run=True)
    await bench.engine.settled()
    assert (len(planned.ids), bench.sender.sent) == (2, [])
    done = await core.redriving.redrive(ME, QUEUE, ids=[first.id])
    await bench.engine.settled()
    assert (done.ids, bench.sender.bodies()) == ([first.id], ["one"])
    assert [bytes(letter.letter.body) for letter in await dead(core)] == [b'"two"']
    assert (await core.redriving.redrive(ME, QUEUE)).complete
    await bench.engine.settled()
    assert bench.sender.bodies() == ["one", "two"]
    assert await dead(core) == []


@pytest.mark.parametrize("named", [False, True])
async def test_what_is_redriven_is_shown_with_the_delay_that_it_had(
    bench: DeliveryBench, core: Core, named: bool
) -> None:
    if named:
        await core.queues.create(ME, QUEUE, {"_dead_letter_queue": "graves"})
    await give_up(bench, "one")
    delays: list[int] = []

    def note(notification: Notification) -> Outcome:
        message = notification.message
        delays.append(message.available_at - message.created_at)
        return OK

    bench.sender.answers[A] = note
    bench.clock.advance(seconds=60)
    await core.redriving.redrive(ME, QUEUE)
    await bench.engine.settled()
    assert [max(0, delay) for delay in delays] == [0]


async def test_what_fails_again_is_a_dead_letter_again(bench: DeliveryBench, core: Core) -> None:
    await give_up(bench, "one")
    for _ in range(3):
        bench.clock.advance(seconds=1)
        await core.redriving.redrive(ME, QUEUE)
        await bench.engine.settled()
        assert len(await dead(core)) == 1
    assert bench.sender.bodies() == ["one"] * 4


async def test_deliveries_of_a_subscription_that_is_gone_stay_where_they_are(
    bench: DeliveryBench, core: Core
) -> None:
    id_ = await give_up(bench, "one")
    await core.subscriptions.delete(ME, QUEUE, id_)
    redriven = await core.redriving.redrive(ME, QUEUE)
    assert (redriven.ids, redriven.skipped) == ([], 1)
    assert len(await dead(core)) == 1


async def test_deliveries_go_to_the_dead_letter_queue_that_their_queue_names(
    bench: DeliveryBench, core: Core
) -> None:
    await core.queues.create(ME, QUEUE, {"_dead_letter_queue": "graves"})
    id_ = await give_up(bench, "one")
    graves = await bench.store.messages.page(
        QueueRef("acme", "graves"), after=BEFORE_ALL, limit=9, now=bench.clock.now()
    )
    assert [message.body for message in graves.messages] == [b'"one"']
    assert await bench.dead() == 0
    [letter] = await dead(core)
    assert (letter.subscription, letter.count) == (id_, 1)
    bench.sender.answers[A] = OK
    await core.redriving.redrive(ME, QUEUE)
    await bench.engine.settled()
    assert bench.sender.bodies() == ["one", "one"]
    assert await dead(core) == []


async def test_nothing_goes_round_in_circles_between_dead_letter_queues(
    bench: DeliveryBench, core: Core
) -> None:
    await core.queues.create(ME, QUEUE, {"_dead_letter_queue": "graves"})
    await core.queues.create(ME, "graves", {"_dead_letter_queue": QUEUE})
    bench.sender.answers[B] = WRONG
    await bench.subscribe(B, queue=QueueRef("acme", "graves"))
    await give_up(bench, "one")
    bench.engine.overhear(None, 0)
    await bench.pass_time(20)
    assert bench.sender.bodies() == ["one", "one"]
    assert len((await core.redriving.page(ME, "graves")).letters) == 1


async def test_a_messages_attributes_survive_being_tried_again_and_given_up(
    bench: DeliveryBench, core: Core
) -> None:
    bench.sender.answers[A] = REFUSED
    await bench.subscribe(A)
    new = NewMessage(body=b'"one"', ttl=HOUR, attributes=b'{"k": 1}')
    await bench.store.messages.add(bench.queue, [new], now=bench.clock.now())
    bench.engine.overhear(bench.queue, 1)
    await bench.pass_time(200)
    assert len(bench.sender.sent) == 15
    [letter] = await dead(core)
    assert letter.letter.attributes_as_posted == b'{"k": 1}'


async def test_nobody_can_post_a_notification_that_a_redrive_would_send(
    bench: DeliveryBench, core: Core
) -> None:
    await core.queues.create(ME, QUEUE, {"_dead_letter_queue": "graves"})
    await give_up(bench, "one")
    [grave] = (await core.messages.page(ME, "graves", echo=True)).messages
    assert grave.attributes is not None
    forged = Draft(body=b'"forged"', attributes=grave.attributes)
    with pytest.raises(InvalidInput, match="dead_delivery"):
        await core.messages.post(ME, "graves", [Draft(body=b"1"), forged])
    bench.sender.sent.clear()
    await core.redriving.redrive(ME, QUEUE)
    await bench.pass_time(5)
    assert bench.sender.bodies() == ["one"]


async def test_messages_that_nobody_got_done_go_back_to_their_queue(
    bench: DeliveryBench, core: Core
) -> None:
    metadata = {"_dead_letter_queue": "graves", "_max_claim_count": 0}
    await core.queues.create(ME, QUEUE, metadata)
    new = NewMessage(body=b'"poison"', ttl=HOUR, attributes=b'{"k": 1}')
    await bench.store.messages.add(QueueRef("acme", QUEUE), [new], now=bench.clock.now())
    await core.claims.create(ME, QUEUE, ClaimTerms())
    [letter] = await dead(core)
    assert (letter.subscription, letter.reason) == (None, "max_claim_count exceeded")
    redriven = await core.redriving.redrive(ME, QUEUE, reason="max_claim_count")
    assert redriven.ids == [letter.id]
    listing = await core.messages.page(ME, QUEUE, echo=True)
    assert [(m.body, m.attributes) for m in listing.messages] == [(b'"poison"', b'{"k": 1}')]
    assert await dead(core) == []


async def test_dead_letters_come_in_pages_over_both_places(
    bench: DeliveryBench, core: Core
) -> None:
    await give_up(bench, "one", "two", "three")
    seen: list[bytes] = []
    marker: str | None = None
    for _ in range(10):
        page = await core.redriving.page(ME, QUEUE, after=marker, limit=2)
        seen += [bytes(letter.letter.body) for letter in page.letters]
        if page.complete:
            break
        marker = page.marker
    assert seen == [b'"one"', b'"two"', b'"three"']
    assert (await core.redriving.page(ME, QUEUE, after="nonsense")).letters == []

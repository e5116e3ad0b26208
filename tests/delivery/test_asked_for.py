"""What a caller may ask of deliveries: what was tried, a trial, the past once more."""

import pytest
from msgspec.structs import replace

from nuska.core import Core, build_core
from nuska.domain.errors import InvalidInput, NotFound
from nuska.domain.subscriptions import Disabled
from nuska.interfaces.identity import Caller
from nuska.interfaces.notifications import Notification, Outcome
from nuska.testing.delivering import GONE, OK, REFUSED, DeliveryBench

WHO = "http://a.example/"
CALLER, OTHER = Caller(project="acme"), Caller(project="other")


@pytest.fixture
async def core(bench: DeliveryBench) -> Core:
    core = build_core(store=bench.store, clock=bench.clock)
    core.followings.add(bench.engine)
    return core


async def test_attempts_are_shown_page_by_page_and_only_to_their_project(
    bench: DeliveryBench, core: Core
) -> None:
    id_ = await bench.subscribe(WHO)
    for number in range(5):
        await bench.post(str(number))
        await bench.engine.settled()
        bench.clock.advance(seconds=10)
    first = await core.deliveries.attempts(CALLER, "jobs", id_, limit=2)
    assert (len(first.attempts), first.complete) == (2, False)
    rest = await core.deliveries.attempts(CALLER, "jobs", id_, after=first.marker)
    assert (len(rest.attempts), rest.complete) == (3, True)
    late = await core.deliveries.attempts(CALLER, "jobs", id_, since=25)
    assert late.attempts == rest.attempts[-2:]
    with pytest.raises(NotFound):
        await core.deliveries.attempts(OTHER, "jobs", id_)


async def test_what_came_of_attempts_is_counted_as_far_back_as_asked(
    bench: DeliveryBench, core: Core
) -> None:
    id_ = await bench.subscribe(WHO)
    nothing = await core.deliveries.standing(CALLER, "jobs", id_)
    assert (nothing.tally.rate, nothing.tally.complete) == (None, True)
    bench.sender.answers[WHO] = lambda sent: REFUSED if sent.attempt == 1 else OK
    for number in range(6):
        await bench.post(str(number))
        await bench.engine.settled()
        bench.clock.advance(seconds=10)
    # A letter about the subscription itself is no sign of how messages fare.
    letter = replace((await bench.attempts(id_))[0], letter="SubscriptionConfirmation")
    bench.engine.followers[bench.queue].note(letter)
    await bench.engine.settled()
    whole = (await core.deliveries.standing(CALLER, "jobs", id_)).tally
    assert (whole.attempts, whole.succeeded, whole.rate) == (12, 6, 0.5)
    assert whole.last_success == bench.clock.now() - 10_000
    late = (await core.deliveries.standing(CALLER, "jobs", id_, since=25)).tally
    assert (late.attempts, late.succeeded) == (4, 2)
    with pytest.raises(NotFound):
        await core.deliveries.standing(OTHER, "jobs", id_)


async def test_a_trial_is_sent_once_whatever_the_state_of_its_subscription(
    bench: DeliveryBench, core: Core
) -> None:
    bench.sender.answers[WHO] = REFUSED
    id_ = await bench.subscribe(WHO)
    await bench.engine.settled()
    seen = await bench.records.subscription(bench.queue, id_)
    assert seen is not None
    disabled = replace(seen.value, disabled=Disabled("410 Gone", bench.clock.now()))
    await bench.records.put_subscription(disabled, version=seen.version)
    message = await core.deliveries.try_out(CALLER, "jobs", id_)
    await bench.engine.settled()
    await bench.pass_time(60)
    [attempt] = await bench.attempts(id_)
    assert (attempt.message, attempt.ok, attempt.next_at) == (message, False, None)
    assert await bench.dead() == 0
    with pytest.raises(NotFound):
        await core.deliveries.try_out(OTHER, "jobs", id_)


async def test_a_trial_of_one_who_is_gone_leaves_nothing_behind(
    bench: DeliveryBench, core: Core
) -> None:
    bench.sender.answers[WHO] = GONE
    id_ = await bench.subscribe(WHO)
    await core.deliveries.try_out(CALLER, "jobs", id_)
    await bench.pass_time(200)
    assert len(bench.sender.sent) == 1


async def test_the_past_is_told_again_as_far_as_it_was_asked_for(
    bench: DeliveryBench, core: Core
) -> None:
    id_ = await bench.subscribe(WHO)
    other = "http://b.example/"
    await bench.subscribe(other)
    for number in range(5):
        await bench.post(str(number))
        await bench.engine.settled()
        bench.clock.advance(seconds=10)
    await core.deliveries.replay(CALLER, "jobs", id_, since=25)
    await bench.engine.settled()
    await bench.post("new")
    await bench.engine.settled()
    assert bench.sender.bodies(WHO) == ["0", "1", "2", "3", "4", "3", "4", "new"]
    assert bench.sender.bodies(other) == ["0", "1", "2", "3", "4", "new"]
    with pytest.raises(NotFound):
        await core.deliveries.replay(OTHER, "jobs", id_, since=25)
    with pytest.raises(InvalidInput):
        await core.deliveries.replay(CALLER, "jobs", id_, since=-1)


async def test_only_the_past_is_told_as_told_before_and_so_is_what_fails_of_it(
    bench: DeliveryBench, core: Core
) -> None:
    rounds: list[tuple[str, int]] = []

    def note(notification: Notification) -> Outcome:
        body = notification.message.body.decode()
        rounds.append((body.strip('"'), notification.round))
        failed = body == '"1"' and notification.round and notification.attempt < 6
        return REFUSED if failed else OK

    bench.sender.answers[WHO] = note
    id_ = await bench.subscribe(WHO)
    for number in range(2):
        await bench.post(str(number))
        await bench.engine.settled()
    assert rounds == [("0", 0), ("1", 0)]
    await core.deliveries.replay(CALLER, "jobs", id_, since=25)
    await bench.post("new")
    await bench.pass_time(20)
    await bench.post("newer")
    await bench.engine.settled()
    again = dict(rounds[2:])
    assert again["0"] == again["1"] > 0
    assert (again["new"], again["newer"]) == (0, 0)
    assert {round_ for body, round_ in rounds[2:] if body == "1"} == {again["1"]}
    assert len([body for body, _ in rounds[2:] if body == "1"]) == 6


async def test_a_restart_does_not_forget_that_the_past_is_told_again(
    bench: DeliveryBench, core: Core
) -> None:
    rounds: list[int] = []

    def note(notification: Notification) -> Outcome:
        rounds.append(notification.round)
        return OK

    bench.sender.answers[WHO] = note
    id_ = await bench.subscribe(WHO, {"ordered": True})
    for number in range(3):
        await bench.post(str(number))
        await bench.engine.settled()
    await core.deliveries.replay(CALLER, "jobs", id_, since=25)
    await bench.engine.stop()
    bench.new_engine()
    await bench.engine.settled()
    assert len(rounds) == 6
    assert len(set(rounds[3:])) == 1
    assert rounds[3] > 0


async def test_one_who_is_behind_loses_nothing_by_a_replay(
    bench: DeliveryBench, core: Core
) -> None:
    bench.sender.answers[WHO] = GONE
    id_ = await bench.subscribe(WHO)
    await bench.post("old")
    await bench.engine.settled()
    bench.clock.advance(seconds=100)
    await core.deliveries.replay(CALLER, "jobs", id_, since=10)
    cursor = await bench.records.cursor(bench.queue, id_)
    seen = await bench.records.subscription(bench.queue, id_)
    assert cursor is not None
    assert seen is not None
    assert cursor.value.position == seen.value.since

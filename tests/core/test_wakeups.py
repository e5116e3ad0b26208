"""Wake-ups: who is woken, in which order, and where a hint goes that nobody used."""

import asyncio
from collections import Counter
from contextlib import ExitStack
from typing import cast

import pytest

from nuska.core.wakeups import READERS_PER_TURN, LocalWakeups
from nuska.domain.errors import Unavailable
from nuska.domain.messages import QueueRef
from nuska.interfaces.storage import SelectiveStore

Heard = list[tuple[QueueRef | None, int]]
JOBS = QueueRef("acme", "jobs")
OTHER = QueueRef("acme", "other")


async def test_one_message_wakes_the_taker_who_waits_longest() -> None:
    wakeups = LocalWakeups()
    with wakeups.waiting(JOBS, taker=True) as first, wakeups.waiting(JOBS, taker=True) as second:
        wakeups.wake(JOBS, 1)
        assert (first.woken, second.woken) == (True, False)
        assert await first.wait(5)


async def test_a_taker_that_is_woken_already_is_not_woken_again() -> None:
    wakeups = LocalWakeups()
    with wakeups.waiting(JOBS, taker=True) as first, wakeups.waiting(JOBS, taker=True) as second:
        wakeups.wake(JOBS, 1)
        wakeups.wake(JOBS, 1)
        assert (first.woken, second.woken) == (True, True)


async def test_every_reader_is_woken_by_any_number_of_messages() -> None:
    wakeups = LocalWakeups()
    with wakeups.waiting(JOBS, taker=False) as one, wakeups.waiting(JOBS, taker=False) as two:
        wakeups.wake(JOBS, 1)
        assert (one.woken, two.woken) == (True, True)


async def test_a_crowd_of_readers_is_woken_over_several_turns_of_the_loop() -> None:
    wakeups = LocalWakeups()
    with ExitStack() as place:
        crowd = [
            place.enter_context(wakeups.waiting(JOBS, taker=False))
            for _ in range(3 * READERS_PER_TURN)
        ]
        wakeups.wake(JOBS, 1)
        wakeups.wake(JOBS, 1)
        assert sum(reader.woken for reader in crowd) == READERS_PER_TURN
        turns = 0
        while not all(reader.woken for reader in crowd):
            await asyncio.sleep(0)
            turns += 1
        assert turns <= 3


async def test_a_reader_that_leaves_before_its_turn_is_not_waited_for() -> None:
    wakeups = LocalWakeups()
    with ExitStack() as place:
        for _ in range(2 * READERS_PER_TURN):
            place.enter_context(wakeups.waiting(JOBS, taker=False))
        wakeups.wake(JOBS, 1)
    with wakeups.waiting(JOBS, taker=False) as late:
        await asyncio.sleep(0)
        assert not late.woken
        wakeups.wake(JOBS, 1)
        assert late.woken


async def test_no_messages_and_other_queues_wake_nobody() -> None:
    wakeups = LocalWakeups()
    with wakeups.waiting(JOBS, taker=True) as waiter:
        wakeups.wake(JOBS, 0)
        wakeups.wake(OTHER, 1)
        wakeups.wake(QueueRef("b", "jobs"), 1)
        assert not waiter.woken
        assert not await waiter.wait(0)


async def test_a_wait_ends_with_the_wake_up() -> None:
    wakeups = LocalWakeups()
    with wakeups.waiting(JOBS, taker=True) as waiter:
        waiting = asyncio.ensure_future(waiter.wait(30))
        await asyncio.sleep(0)
        wakeups.wake(JOBS, 1)
        assert await asyncio.wait_for(waiting, 5)


async def test_a_hint_left_unused_goes_to_the_next_taker() -> None:
    wakeups = LocalWakeups()
    with ExitStack() as place:
        place.enter_context(wakeups.waiting(JOBS, taker=True))
        with wakeups.waiting(JOBS, taker=True) as second:
            wakeups.wake(JOBS, 1)
            assert not second.woken
            place.close()
            assert second.woken


async def test_a_hint_that_was_used_is_not_passed_on() -> None:
    wakeups = LocalWakeups()
    with ExitStack() as place:
        first = place.enter_context(wakeups.waiting(JOBS, taker=True))
        with wakeups.waiting(JOBS, taker=True) as second:
            wakeups.wake(JOBS, 1)
            assert await first.wait(5)
            place.close()
            assert not second.woken


async def test_an_interrupt_ends_the_wait_and_is_no_wake_up() -> None:
    wakeups = LocalWakeups()
    with wakeups.waiting(JOBS, taker=True) as waiter:
        waiter.interrupt()
        assert not await waiter.wait(30)
        waiting = asyncio.ensure_future(waiter.wait(30))
        await asyncio.sleep(0)
        waiter.interrupt()
        assert not await asyncio.wait_for(waiting, 5)


async def test_stopping_wakes_everybody_for_good() -> None:
    wakeups = LocalWakeups()
    with wakeups.waiting(JOBS, taker=True) as taker, wakeups.waiting(OTHER, taker=False) as reader:
        assert not wakeups.stopping
        wakeups.stop()
        assert wakeups.stopping
        assert (await taker.wait(30), await reader.wait(30)) == (True, True)


async def test_more_waiters_than_allowed_are_turned_away() -> None:
    wakeups = LocalWakeups(max_waiters=1)
    with wakeups.waiting(JOBS, taker=True), pytest.raises(Unavailable):
        wakeups.waiting(OTHER, taker=True)
    with wakeups.waiting(OTHER, taker=True):
        pass


async def test_nothing_is_remembered_of_queues_that_nobody_waits_for() -> None:
    wakeups = LocalWakeups()
    for number in range(100):
        with wakeups.waiting(QueueRef("acme", str(number)), taker=True):
            pass
    assert not wakeups._queues  # white box: memory that would grow with every name


class Heeded:
    """A store that is told what somebody wants to hear of."""

    def __init__(self) -> None:
        self.wanted: Counter[QueueRef | None] = Counter([None])

    def heed(self, queue: QueueRef | None) -> None:
        self.wanted[queue] += 1

    def disregard(self, queue: QueueRef | None) -> None:
        self.wanted[queue] -= 1
        if not self.wanted[queue]:
            del self.wanted[queue]


def attended(wakeups: LocalWakeups) -> Heeded:
    store = Heeded()
    wakeups.attend(cast(SelectiveStore, store))
    return store


async def test_a_store_is_told_what_somebody_waits_for_and_when_nobody_does() -> None:
    wakeups = LocalWakeups()
    with wakeups.waiting(OTHER, taker=True):
        store = attended(wakeups)
        assert store.wanted == {OTHER: 1}
        with wakeups.waiting(JOBS, taker=True), wakeups.waiting(JOBS, taker=False):
            assert store.wanted == {OTHER: 1, JOBS: 1}
        assert store.wanted == {OTHER: 1}
    assert store.wanted == {}


async def test_who_overhears_hears_of_this_node_and_of_others_whether_somebody_waits_or_not() -> (
    None
):
    wakeups = LocalWakeups()
    heard: Heard = []
    overhearing = wakeups.overhear(lambda *hint: heard.append(hint))
    with wakeups.waiting(OTHER, taker=True):
        wakeups.wake(JOBS, 2)
        wakeups.hear(OTHER, 1)
        wakeups.hear(None, 0)
    assert heard == [(JOBS, 2), (OTHER, 1), (None, 0)]
    overhearing.stop()
    wakeups.wake(JOBS, 1)
    assert len(heard) == 3


async def test_who_overhears_everything_has_the_store_pass_on_everything() -> None:
    wakeups = LocalWakeups()
    first = wakeups.overhear(lambda *_: None)
    store = attended(wakeups)
    second = wakeups.overhear(lambda *_: None)
    assert store.wanted == {None: 2}
    first.stop()
    second.stop()
    assert store.wanted == {}


async def test_who_overhears_some_queues_has_the_store_pass_on_those() -> None:
    wakeups = LocalWakeups()
    overhearing = wakeups.overhear(lambda *_: None, everything=False)
    overhearing.follow(JOBS)
    store = attended(wakeups)
    overhearing.follow(JOBS)
    overhearing.follow(OTHER)
    assert store.wanted == {JOBS: 1, OTHER: 1}
    overhearing.unfollow(JOBS)
    overhearing.unfollow(JOBS)
    assert store.wanted == {OTHER: 1}
    overhearing.stop()
    assert store.wanted == {}

"""What a shared store promises while the network between it and its engine is bad.

A connection is cut at every point of every operation, on the way there and on the way back:
then the operation was made whole or not at all, a success is a success, and an answer that
was lost is never taken for one. A driver's tests provide ``engine``, as for
``FailureConformance``.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count

import pytest

from nuska.domain.errors import Unavailable
from nuska.domain.messages import DeleteOutcome
from nuska.testing.clock import ManualClock
from nuska.testing.conformance.failures import (
    PLENTY,
    EngineConformance,
    Load,
    until_posted,
)
from nuska.testing.conformance.inbox import Inbox, bodies
from nuska.testing.engine import Engine
from nuska.testing.fault_proxy import Direction, FaultProxy, fault_proxy
from nuska.testing.opening import Open

SLOW = 0.02
"""Seconds each way: another town."""
TOO_SLOW = 30.0
"""Seconds each way: nobody waits for that."""
POINTS_AT_MOST = 60
"""Messages of one operation on the wire, generously."""
CUTS = 5

BATCH = ("one", "two", "three")


class NetworkFaultConformance(EngineConformance):
    @pytest.fixture
    async def proxy(self, engine: Engine) -> AsyncIterator[FaultProxy]:
        async with fault_proxy(engine.port) as proxy:
            yield proxy

    @pytest.fixture
    async def far(
        self, engine: Engine, url: str, proxy: FaultProxy, open_at: Open, clock: ManualClock
    ) -> Inbox:
        """The same queue as ``inbox``, as a node sees it from beyond the proxy."""
        return Inbox(await open_at(engine.through(url, proxy.port)), clock)

    async def test_a_slow_engine_delays_answers_and_changes_none(
        self, far: Inbox, proxy: FaultProxy
    ) -> None:
        proxy.delay = SLOW
        ids = await asyncio.gather(*(far.post(f"{n}") for n in range(10)))
        assert {bodies(await far.get(*one))[0] for one in ids} == {f"{n}" for n in range(10)}
        claims = await asyncio.gather(*(far.claim(n, limit=3) for n in range(4)))
        taken = [message.id for claim in claims for message in claim]
        assert len(taken) == len(set(taken)) == 10

    async def test_an_engine_that_is_too_slow_is_unavailable_and_no_answer_reaches_the_wrong_caller(
        self, far: Inbox, proxy: FaultProxy
    ) -> None:
        await far.post("before")
        proxy.delay = TOO_SLOW
        outcomes = await asyncio.gather(
            self.outcome(far.post("during")), self.outcome(far.listed())
        )
        assert {type(outcome) for outcome in outcomes} == {Unavailable}
        proxy.delay = 0
        await until_posted(far, "after")
        assert (await far.listed())[-1] == "after"
        assert (await far.listed()).count("during") <= 1

    async def test_an_engine_that_falls_silent_is_unavailable_and_then_goes_on(
        self, far: Inbox, proxy: FaultProxy
    ) -> None:
        await far.post("before")
        proxy.hold()
        outcomes = await asyncio.gather(
            self.outcome(far.post("during")), self.outcome(far.listed()), self.outcome(far.pop())
        )
        assert {type(outcome) for outcome in outcomes} == {Unavailable}
        proxy.let_pass()
        await until_posted(far, "after")

    async def test_an_engine_that_cannot_be_reached_for_a_while_is_found_again(
        self, far: Inbox, proxy: FaultProxy
    ) -> None:
        load = Load(far, self.BOUND)
        async with load:
            await load.is_under_way()
            proxy.refuse()
            assert isinstance(await self.outcome(far.listed()), Unavailable)
            proxy.accept()
            await load.is_under_way()
        load.check(await far.listed(limit=PLENTY))

    async def test_connections_that_are_cut_under_load_lose_and_double_nothing(
        self, far: Inbox, proxy: FaultProxy
    ) -> None:
        load = Load(far, self.BOUND)
        async with load:
            for _ in range(CUTS):
                await load.is_under_way()
                assert proxy.cut(), "there was nothing to cut, so this shows nothing"
            await load.is_under_way()
        load.check(await far.listed(limit=PLENTY))

    @pytest.mark.parametrize("direction", ["request", "answer"])
    async def test_a_post_is_stored_whole_or_not_at_all_wherever_it_is_cut_off(
        self, inbox: Inbox, far: Inbox, proxy: FaultProxy, direction: Direction
    ) -> None:
        async for box, outcome in self.cut_everywhere(
            proxy, direction, far, lambda box: box.post(*BATCH)
        ):
            stored = await Inbox(inbox.store, inbox.clock, box.ref.name).listed()
            if isinstance(outcome, Unavailable):
                assert stored in ([], list(BATCH))
            else:
                assert stored == list(BATCH)

    async def test_a_post_whose_answer_was_lost_is_repeated_safely_with_a_key(
        self, far: Inbox, proxy: FaultProxy
    ) -> None:
        async for box, _ in self.cut_everywhere(
            proxy, "answer", far, lambda box: box.add(*BATCH, key="k")
        ):
            added = await box.add(*BATCH, key="k")
            assert [message.id for message in await box.all()] == added.ids

    @pytest.mark.parametrize("direction", ["request", "answer"])
    async def test_a_claim_that_is_cut_off_holds_all_it_took_or_nothing(
        self, inbox: Inbox, far: Inbox, proxy: FaultProxy, direction: Direction
    ) -> None:
        async for box, outcome in self.cut_everywhere(
            proxy, direction, far, lambda box: box.claim(1, limit=2), BATCH
        ):
            near = Inbox(inbox.store, inbox.clock, box.ref.name)
            held = await near.held(1)
            taken = [] if held is None else bodies(held.messages)
            assert taken in ([], ["one", "two"])
            assert taken or isinstance(outcome, Unavailable)
            assert await near.counts() == (3 - len(taken), 0, len(taken))
            assert bodies(await near.claim(2)) == [one for one in BATCH if one not in taken]

    @pytest.mark.parametrize("direction", ["request", "answer"])
    async def test_an_end_of_a_message_that_is_cut_off_is_one_or_none(
        self, inbox: Inbox, far: Inbox, proxy: FaultProxy, direction: Direction
    ) -> None:
        async def finish(box: Inbox) -> DeleteOutcome:
            return await box.delete((await box.claim(1, limit=1))[0].id, claim=1)

        async for box, outcome in self.cut_everywhere(proxy, direction, far, finish, BATCH):
            near = Inbox(inbox.store, inbox.clock, box.ref.name)
            await near.release(1)
            left = await near.listed()
            assert left in (list(BATCH), list(BATCH[1:]))
            if not isinstance(outcome, Unavailable):
                assert outcome is DeleteOutcome.DELETED
                assert left == list(BATCH[1:])
            assert await near.counts() == (len(left), 0, 0)

    @pytest.mark.parametrize("direction", ["request", "answer"])
    async def test_a_dead_letter_that_is_cut_off_is_in_one_place(
        self, inbox: Inbox, far: Inbox, proxy: FaultProxy, direction: Direction
    ) -> None:
        async for box, outcome in self.cut_everywhere(
            proxy,
            direction,
            far,
            lambda box: box.claiming(1, dead_letters=box.beside(f"{box.ref.name}-dead").rule(0)),
            BATCH,
        ):
            near = Inbox(inbox.store, inbox.clock, box.ref.name)
            left = await near.listed()
            dead = near.beside(f"{box.ref.name}-dead")
            assert sorted(left + await dead.listed()) == sorted(BATCH)
            assert left in ([], list(BATCH))
            assert not left or isinstance(outcome, Unavailable)

    async def cut_everywhere(
        self,
        proxy: FaultProxy,
        direction: Direction,
        far: Inbox,
        doing: Callable[[Inbox], Awaitable[object]],
        before: tuple[str, ...] = (),
    ) -> AsyncIterator[tuple[Inbox, object]]:
        """Do it in one queue after another, with the connections cut after the 1st, 2nd, … of
        its messages, until there was nothing more to cut; each queue, and what came of it."""
        cut_once = False
        for point in count():
            assert point < POINTS_AT_MOST, "an operation without an end"
            box = far.beside(f"box-{point}")
            if before:
                await until_posted(box.beside("other"), f"a connection before {point}")
                await box.post(*before)
            proxy.lose(direction, after=point)
            outcome = await self.outcome(doing(box))
            proxy.lose_nothing()
            yield box, outcome
            if not proxy.has_cut:
                break
            cut_once = True
            await until_posted(box.beside("other"), f"a connection after {point}")
        assert cut_once, "nothing was cut, so this shows nothing"

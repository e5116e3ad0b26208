"""Those who gather calls: how many are remembered, and that none of them loses a caller."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from nuska.client import ConnectionBroken
from nuska.client import gathering as at_most
from nuska.client.gathering import Gatherer, Gatherers

TIMEOUT = 30.0


class Echo(Gatherer[int, int]):
    """Answers what it is asked, once it is let go on; one whom it has no answer for waits on."""

    def __init__(self) -> None:
        super().__init__(TIMEOUT, late="late", cut_off="cut off")
        self.gate = asyncio.Event()
        self.requests: list[list[int]] = []
        self.puts_back: set[int] = set()

    async def ask(self, number: int) -> int:
        return await self._ask(number)

    def _beginning(self) -> Callable[[int], bool]:
        return lambda _: True

    async def _carry_out(self, batch: Any) -> None:
        self.requests.append([number for number, _ in batch])
        await self.gate.wait()
        for number, answer in batch:
            if number in self.puts_back:
                self.puts_back.discard(number)
                self._waiting.append((number, answer))
            elif not answer.done():
                answer.set_result(number)


async def until_asked(echo: Echo) -> None:
    async with asyncio.timeout(5):
        while not echo.requests:  # noqa: ASYNC110  nobody is told of it
            await asyncio.sleep(0)


async def test_a_carrier_that_is_cut_off_before_it_began_takes_nobody_with_it() -> None:
    echo = Echo()
    echo.gate.set()
    asking = asyncio.create_task(echo.ask(1))
    while not echo._carriers:  # noqa: ASYNC110
        await asyncio.sleep(0)
    [carrier] = echo._carriers
    carrier.cancel()
    async with asyncio.timeout(5):
        assert await asking == 1
    assert carrier.cancelled()


async def test_whom_a_request_leaves_without_an_answer_goes_with_a_later_one() -> None:
    echo = Echo()
    echo.puts_back = {0, 3}
    asking = [asyncio.create_task(echo.ask(number)) for number in range(5)]
    await until_asked(echo)
    echo.gate.set()
    async with asyncio.timeout(5):
        assert await asyncio.gather(*asking) == list(range(5))
    assert sorted(number for request in echo.requests for number in request) == [
        0,
        0,
        1,
        2,
        3,
        3,
        4,
    ]


async def test_of_more_queues_than_are_remembered_the_idle_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(at_most, "MOST", 3)
    echoes: Gatherers[Echo] = Gatherers()
    busy = echoes.of("busy", Echo)
    idle = [echoes.of(name, Echo) for name in ("a", "b")]
    asking = asyncio.create_task(busy.ask(1))
    await until_asked(busy)
    echoes.of("one more", Echo)
    assert echoes.of("busy", Echo) is busy
    assert echoes.of("a", Echo) is not idle[0]
    busy.gate.set()
    assert await asking == 1


async def test_those_who_wait_are_told_that_all_is_over() -> None:
    echoes: Gatherers[Echo] = Gatherers()
    echo = echoes.of("jobs", Echo)
    asking = asyncio.create_task(echo.ask(1))
    await asyncio.sleep(0)
    echoes.stop()
    with pytest.raises(ConnectionBroken):
        await asking
    assert echoes.of("jobs", Echo) is not echo

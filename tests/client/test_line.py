"""How requests leave on a WebSocket of the client."""

import asyncio
from typing import Any

import pytest

from nuska.client.address import Address
from nuska.client.line import TOGETHER, Line
from nuska.client.socket import Caller, open_socket
from nuska.testing.writes import Writes

CALLER = Caller(b"{}", None, may_merge=True)


@pytest.fixture
async def line(lines: Any) -> Any:
    """A line to a server that answers each request."""

    async def answers(other: Any) -> None:
        async for _ in other.connection:
            number = next(numbers)
            await other.replies({"request_id": number}, {})

    numbers = iter(range(1, 1000))
    lines.script = [answers]
    async with asyncio.timeout(30):
        opened = await open_socket(Address.parse(lines.url), CALLER, Line)
        opened.begin()
        yield opened
        await opened.close()


def ask(line: Line) -> Any:
    return line.ask("queue_list", CALLER.headers, b"{}")


async def test_requests_of_one_turn_leave_in_one_write_if_they_are_not_many(line: Line) -> None:
    recorded = line.transport = Writes(line.transport)
    await asyncio.gather(*(ask(line) for _ in range(TOGETHER)))
    assert len(recorded.written) == 1
    await asyncio.gather(*(ask(line) for _ in range(2 * TOGETHER + 1)))
    assert len(recorded.written) == 1 + 3

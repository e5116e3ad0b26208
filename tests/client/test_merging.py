"""Posts that go together: in order, each with its own ids or its own error."""

import asyncio

import pytest

from nuska.client import BadRequest, ConnectionBroken, DeadlinePassed
from nuska.client.encoding import EncodedMessage
from nuska.client.gathering import UNDER_WAY
from nuska.client.merging import MESSAGES_PER_POST, Merger

BAD = EncodedMessage(b'"bad"')
TIMEOUT = 30.0


class Server:
    """Stores what it is sent once it is let go on; refuses a request with a bad message in it."""

    def __init__(self, most: int = 10_000) -> None:
        self.requests: list[list[EncodedMessage]] = []
        self.stored: list[EncodedMessage] = []
        self.gate = asyncio.Event()
        self.broken = False
        self._most = most

    async def send(self, messages) -> list[str]:
        self.requests.append(list(messages))
        await self.gate.wait()
        if self.broken:
            raise ConnectionBroken("gone")
        if BAD in messages or len(messages) > self._most:
            raise BadRequest(400, title="no")
        self.stored += messages
        return [message.decode() for message in messages]


def numbered(number: int) -> EncodedMessage:
    return EncodedMessage(str(number).encode())


async def a_few_turns() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


async def all_at_once(merger: Merger, posts, gate: asyncio.Event):
    tasks = [asyncio.create_task(merger.post(post)) for post in posts]
    await a_few_turns()
    gate.set()
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_post_alone_goes_alone_and_at_once() -> None:
    server = Server()
    server.gate.set()
    merger = Merger(server.send, TIMEOUT)
    for number in range(3):
        assert await merger.post([numbered(number)]) == [str(number)]
    assert server.requests == [[b"0"], [b"1"], [b"2"]]


async def test_what_comes_meanwhile_goes_together_in_order_and_gets_its_own_ids() -> None:
    server = Server()
    posts = [[numbered(2 * n), numbered(2 * n + 1)] for n in range(30)]
    answers = await all_at_once(Merger(server.send, TIMEOUT), posts, server.gate)
    assert answers == [[str(2 * n), str(2 * n + 1)] for n in range(30)]
    assert server.stored == [numbered(n) for n in range(60)]
    assert len(server.requests) == UNDER_WAY


async def test_no_request_has_more_than_goes_into_one() -> None:
    server = Server()
    posts = [[numbered(n)] for n in range(5 * MESSAGES_PER_POST)]
    await all_at_once(Merger(server.send, TIMEOUT), posts, server.gate)
    assert max(map(len, server.requests)) == MESSAGES_PER_POST
    assert sorted(server.stored) == sorted(numbered(n) for n in range(5 * MESSAGES_PER_POST))


async def test_a_refused_post_takes_no_other_with_it() -> None:
    server = Server()
    posts = [[numbered(n)] for n in range(9)]
    posts[5] = [BAD]
    answers = await all_at_once(Merger(server.send, TIMEOUT), posts, server.gate)
    assert isinstance(answers.pop(5), BadRequest)
    assert answers == [[str(n)] for n in range(9) if n != 5]
    assert server.stored == [numbered(n) for n in range(9) if n != 5]


async def test_a_queue_that_takes_less_is_sent_less_after_a_while() -> None:
    server = Server(most=3)
    merger = Merger(server.send, TIMEOUT)
    posts = [[numbered(n)] for n in range(200)]
    for _ in range(3):
        answers = await all_at_once(merger, posts, server.gate)
        assert answers == [[str(n)] for n in range(200)]
    before = len(server.requests)
    await asyncio.gather(*(merger.post(post) for post in posts))
    refused = [request for request in server.requests[before:] if len(request) > 3]
    assert refused == []


async def test_a_broken_connection_is_everybodys_error() -> None:
    server = Server()
    server.broken = True
    posts = [[numbered(n)] for n in range(9)]
    answers = await all_at_once(Merger(server.send, TIMEOUT), posts, server.gate)
    assert {type(answer) for answer in answers} == {ConnectionBroken}
    assert len(server.requests) == UNDER_WAY


async def test_an_unexpected_failure_of_one_leaves_no_other_waiting() -> None:
    server = Server()

    async def send(messages) -> list[str]:
        ids = await server.send(messages)
        if BAD in messages or messages == [numbered(5)]:
            raise LookupError("a bug")
        return ids

    posts = [[numbered(n)] for n in range(9)]
    posts[6] = [BAD]
    answers = await all_at_once(Merger(send, TIMEOUT), posts, server.gate)
    assert isinstance(answers.pop(6), BadRequest)
    assert isinstance(answers.pop(5), LookupError)
    assert answers == [[str(n)] for n in range(9) if n not in (5, 6)]


async def test_when_requests_are_cut_off_nobody_is_left_waiting() -> None:
    server = Server()
    merger = Merger(server.send, TIMEOUT)
    posts = [asyncio.create_task(merger.post([numbered(n)])) for n in range(9)]
    await a_few_turns()
    for task in tuple(merger._carriers):
        task.cancel()
    async with asyncio.timeout(5):
        answers = await asyncio.gather(*posts, return_exceptions=True)
    assert {type(answer) for answer in answers} == {ConnectionBroken}


async def test_a_post_whose_caller_has_gone_is_not_sent() -> None:
    server = Server()
    merger = Merger(server.send, TIMEOUT)
    tasks = [asyncio.create_task(merger.post([numbered(n)])) for n in range(4)]
    await asyncio.sleep(0)
    tasks[2].cancel()
    await asyncio.sleep(0)
    server.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await tasks[2]
    assert await asyncio.gather(tasks[0], tasks[1], tasks[3]) == [["0"], ["1"], ["3"]]
    assert server.stored == [b"0", b"1", b"3"]


async def test_each_post_that_waits_has_its_own_deadline(later) -> None:
    server = Server()
    merger = Merger(server.send, TIMEOUT)
    under_way = [asyncio.create_task(merger.post([numbered(n)])) for n in range(UNDER_WAY)]
    await a_few_turns()
    early = asyncio.create_task(merger.post([numbered(8)]))
    await a_few_turns()
    later(TIMEOUT / 2)
    late = asyncio.create_task(merger.post([numbered(9)]))
    await a_few_turns()
    later(TIMEOUT / 2)
    with pytest.raises(DeadlinePassed):
        await early
    assert not late.done()
    server.gate.set()
    assert await late == ["9"]
    ended = await asyncio.gather(*under_way, return_exceptions=True)
    assert {type(one) for one in ended} == {DeadlinePassed}
    assert numbered(8) not in server.stored


async def test_stopping_ends_those_who_wait() -> None:
    server = Server()
    merger = Merger(server.send, TIMEOUT)
    tasks = [asyncio.create_task(merger.post([numbered(n)])) for n in range(UNDER_WAY)]
    await a_few_turns()
    tasks.append(asyncio.create_task(merger.post([numbered(UNDER_WAY)])))
    await a_few_turns()
    assert merger.busy
    merger.stop()
    with pytest.raises(ConnectionBroken):
        await tasks[-1]
    server.gate.set()
    await asyncio.gather(*tasks[:-1])
    await a_few_turns()
    assert not merger.busy

"""Claims that go together: each caller has his own or learns that there is nothing."""

import asyncio
from itertools import islice

import pytest

from nuska.client import BadRequest, ConnectionBroken, DeadlinePassed
from nuska.client.claiming import MOST_TOGETHER, ClaimCalls, ClaimMerger, Terms
from nuska.client.gathering import UNDER_WAY
from nuska.client.records import Claim, Message

TIMEOUT = 30.0
TERMS = Terms(1, 60, None, attributes=False)
OTHERS = Terms(2, 60, None, attributes=False)


class Server:
    """Makes claims as long as it has messages, ``most`` at a time, once it is let go on."""

    def __init__(self, messages: int, most: int = MOST_TOGETHER) -> None:
        self.asked: list[tuple[Terms, int]] = []
        self.released: list[str] = []
        self.gate = asyncio.Event()
        self.error: Exception | None = None
        self._messages = iter(range(messages))
        self._most = most

    @property
    def calls(self) -> ClaimCalls:
        return ClaimCalls(self._create, self._release)

    async def _create(self, terms: Terms, count: int) -> list[Claim]:
        self.asked.append((terms, count))
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        numbers = list(islice(self._messages, min(count, self._most)))
        return [
            Claim(id=f"c{n}", ttl=60, age=0, messages=[Message(id=str(n), body=n, ttl=60, age=0)])
            for n in numbers
        ]

    async def _release(self, claim: str) -> None:
        self.released.append(claim)


async def a_few_turns() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


async def all_at_once(server: Server, terms: list[Terms]):
    merger = ClaimMerger(server.calls, TIMEOUT)
    tasks = [asyncio.create_task(merger.claim(one)) for one in terms]
    await a_few_turns()
    server.gate.set()
    async with asyncio.timeout(10):
        return await asyncio.gather(*tasks, return_exceptions=True)


def ids(claims) -> list[str | None]:
    return [None if claim is None else claim.id for claim in claims]


async def test_a_claim_alone_goes_alone_and_at_once() -> None:
    server = Server(1)
    assert ids(await all_at_once(server, [TERMS])) == ["c0"]
    assert server.asked == [(TERMS, 1)]


async def test_claims_at_once_go_together_and_each_caller_has_one() -> None:
    server = Server(100)
    claims = await all_at_once(server, [TERMS] * 16)
    assert sorted(ids(claims)) == sorted(f"c{n}" for n in range(16))
    assert server.asked == [(TERMS, 8), (TERMS, 8)]


async def test_those_who_were_answered_together_go_together_again_with_no_turn_in_between() -> None:
    server = Server(100)
    merger = ClaimMerger(server.calls, TIMEOUT)

    async def claim_on() -> None:
        while await merger.claim(TERMS):
            pass

    claimers = [asyncio.create_task(claim_on()) for _ in range(8)]
    await a_few_turns()
    assert server.asked == [(TERMS, 4)] * 2
    server.gate.set()
    server.gate.clear()  # for the next
    await asyncio.sleep(0)  # the answers come
    await asyncio.sleep(0)  # those who were answered go on
    assert server.asked == [(TERMS, 4)] * 4
    server.gate.set()
    async with asyncio.timeout(10):
        await asyncio.gather(*claimers)


async def test_no_request_asks_for_more_than_the_server_makes_at_once() -> None:
    server = Server(100)
    claims = await all_at_once(server, [TERMS] * 90)
    assert None not in ids(claims)
    assert max(count for _, count in server.asked) == MOST_TOGETHER


async def test_whoever_gets_none_while_there_are_some_asks_again() -> None:
    server = Server(5)
    claims = await all_at_once(server, [TERMS] * 8)
    assert sorted(filter(None, ids(claims))) == [f"c{n}" for n in range(5)]
    assert claims.count(None) == 3


async def test_where_messages_are_large_fewer_go_together() -> None:
    server = Server(100, most=1)
    claims = await all_at_once(server, [TERMS] * 24)
    assert len({*ids(claims)} - {None}) == 24
    assert [count for _, count in server.asked[:2]] == [12, 12]
    assert {count for _, count in server.asked[4:]} <= {1, 2}


async def test_claims_on_other_terms_go_apart() -> None:
    server = Server(100)
    await all_at_once(server, [TERMS, TERMS, OTHERS, TERMS, OTHERS, OTHERS])
    assert {terms for terms, _ in server.asked} == {TERMS, OTHERS}
    assert sum(count for terms, count in server.asked if terms == OTHERS) == 3


async def test_an_error_is_everybodys() -> None:
    server = Server(100)
    server.error = BadRequest(400, title="no")
    answers = await all_at_once(server, [TERMS] * 5)
    assert {type(answer) for answer in answers} == {BadRequest}


async def test_what_was_claimed_for_one_who_has_gone_is_given_back() -> None:
    server = Server(100)
    merger = ClaimMerger(server.calls, TIMEOUT)
    tasks = [asyncio.create_task(merger.claim(TERMS)) for _ in range(6)]
    await a_few_turns()
    tasks[0].cancel()
    server.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    claims = await asyncio.gather(*tasks[1:])
    await a_few_turns()
    assert len(server.released) == 1
    assert {*ids(claims), *server.released} == {f"c{n}" for n in range(6)}


async def test_who_goes_before_he_was_sent_is_not_asked_for() -> None:
    server = Server(100)
    merger = ClaimMerger(server.calls, TIMEOUT)
    tasks = [asyncio.create_task(merger.claim(TERMS)) for _ in range(4)]
    await asyncio.sleep(0)
    tasks[3].cancel()
    await a_few_turns()
    server.gate.set()
    await asyncio.gather(*tasks[:3])
    assert sum(count for _, count in server.asked) == 3
    assert not server.released


async def test_when_requests_are_cut_off_nobody_is_left_waiting() -> None:
    server = Server(100)
    merger = ClaimMerger(server.calls, TIMEOUT)
    claims = [asyncio.create_task(merger.claim(TERMS)) for _ in range(9)]
    await a_few_turns()
    for task in tuple(merger._carriers):
        task.cancel()
    async with asyncio.timeout(5):
        answers = await asyncio.gather(*claims, return_exceptions=True)
    assert {type(answer) for answer in answers} == {ConnectionBroken}


async def test_a_claim_that_waits_for_others_has_its_own_deadline() -> None:
    server = Server(100)
    merger = ClaimMerger(server.calls, 0.1)
    under_way = [asyncio.create_task(merger.claim(TERMS)) for _ in range(UNDER_WAY)]
    await a_few_turns()
    with pytest.raises(DeadlinePassed):
        await merger.claim(TERMS)
    assert len(server.asked) == UNDER_WAY
    ended = await asyncio.gather(*under_way, return_exceptions=True)
    assert {type(one) for one in ended} == {DeadlinePassed}


async def test_stopping_ends_those_who_wait() -> None:
    server = Server(100)
    merger = ClaimMerger(server.calls, TIMEOUT)
    tasks = [asyncio.create_task(merger.claim(TERMS)) for _ in range(UNDER_WAY)]
    await a_few_turns()
    tasks.append(asyncio.create_task(merger.claim(TERMS)))
    await a_few_turns()
    assert merger.busy
    merger.stop()
    with pytest.raises(ConnectionBroken):
        await tasks.pop()
    server.gate.set()
    assert None not in await asyncio.gather(*tasks)


async def test_what_was_claimed_for_one_who_goes_as_it_comes_is_given_back() -> None:
    server = Server(100)
    merger = ClaimMerger(server.calls, TIMEOUT)
    tasks = [asyncio.create_task(merger.claim(TERMS)) for _ in range(2)]
    await a_few_turns()
    server.gate.set()
    asyncio.get_running_loop().call_soon(tasks[0].cancel)  # he has it, and has not gone on
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    claim = await tasks[1]
    await a_few_turns()
    assert claim is not None
    assert {claim.id, *server.released} == {"c0", "c1"}

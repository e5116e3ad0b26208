"""Long polls whose clients leave at random moments take nothing with them.

The client ends its sending half and then reads to the end, so it knows whether an answer was
on its way. Either it has the answer, or the messages are where they were: available at once,
never counted as claimed. Nobody's wake-up is swallowed.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from random import Random

import pytest
from msgspec import Struct

from nuska.testing.plain_http import PlainClient
from nuska.testing.raw_http import Answer, parse_answers
from nuska.testing.server_process import ServerProcess

POLLS = 1_000
AT_ONCE = 8
BACKLOG = 6
"""Messages that lie there before the producer waits: most polls have to wait for one."""
CLIENT = "7c1ff2ed-6b7c-4b0e-a9cd-8f1b8e2dbb11"
LONGEST_PATIENCE = 0.3
SETTLED_WITHIN = 5.0
"""Seconds for the last claims to be undone after their clients have gone."""
ROUNDS = 40


class Poll(Struct):
    """A long poll and what came of it."""

    is_claim: bool
    answer: Answer | None

    @property
    def ids(self) -> list[str]:
        if self.answer is None or not self.answer.body:
            return []
        return [message["id"] for message in json.loads(self.answer.body)["messages"]]


class Cutter:
    """Sends long polls and leaves early."""

    def __init__(self, server: ServerProcess, project: str) -> None:
        self._port = server.port
        self._project = project

    async def poll(self, queue: str, *, claim: bool, limit: int, stay: float) -> Poll:
        """Ask, stay for so many seconds, hang up, and read what was already on its way."""
        method, target = (
            ("POST", f"/v2/queues/{queue}/claims?limit={limit}&wait=20")
            if claim
            else ("DELETE", f"/v2/queues/{queue}/messages?pop={limit}&wait=20")
        )
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(
                f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nClient-ID: {CLIENT}\r\n"
                f"X-Project-Id: {self._project}\r\n\r\n".encode()
            )
            await asyncio.sleep(stay)
            writer.write_eof()
            answers, rest = parse_answers(await reader.read())
        finally:
            writer.close()
            await writer.wait_closed()
        assert not rest, "an answer was cut short"
        assert len(answers) <= 1
        return Poll(claim, answers[0] if answers else None)


@pytest.fixture
def cutter(server: ServerProcess, project: str) -> Cutter:
    return Cutter(server, project)


@pytest.fixture
async def client(server: ServerProcess, project: str) -> AsyncIterator[PlainClient]:
    async with PlainClient(server.port, project=project, client_id=CLIENT) as connected:
        yield connected


async def post(client: PlainClient, queue: str, count: int) -> list[str]:
    document = {"messages": [{"body": "letter"}] * count}
    answer = await client.ask("POST", f"/v2/queues/{queue}/messages", document)
    assert answer.status == 201
    return [name.rpartition("/")[2] for name in json.loads(answer.body)["resources"]]


async def counts(client: PlainClient, queue: str) -> tuple[int, int]:
    """Free and claimed messages."""
    answer = await client.ask("GET", f"/v2/queues/{queue}/stats")
    messages = json.loads(answer.body)["messages"]
    return messages["free"], messages["claimed"]


async def settled(client: PlainClient, queue: str, expected: tuple[int, int]) -> tuple[int, int]:
    """The counts, once they are as expected or will not be any more."""
    deadline = asyncio.get_running_loop().time() + SETTLED_WITHIN
    while True:
        seen = await counts(client, queue)
        if seen == expected or asyncio.get_running_loop().time() > deadline:
            return seen
        await asyncio.sleep(0.02)


@pytest.mark.slow
async def test_a_thousand_polls_cut_at_random_moments_take_nothing_with_them(
    cutter: Cutter, client: PlainClient
) -> None:
    random = Random(1)
    places = asyncio.Semaphore(AT_ONCE)
    polls: list[Poll] = []
    posted: list[str] = []
    patience = 0.02  # seconds; follows the speed of the machine, so that about half are answered

    async def cut() -> None:
        nonlocal patience
        async with places:
            poll = await cutter.poll(
                "jobs",
                claim=random.random() < 0.5,
                limit=random.randint(1, 3),
                stay=random.uniform(0, 2 * patience),
            )
        polls.append(poll)
        patience = min(patience * (0.96 if poll.ids else 1.04), LONGEST_PATIENCE)

    async def produce() -> None:
        while len(polls) < POLLS:
            if len(posted) - sum(len(poll.ids) for poll in polls) < BACKLOG:
                posted.extend(await post(client, "jobs", random.randint(1, 2)))
            await asyncio.sleep(random.uniform(0, 0.004))

    async with asyncio.TaskGroup() as group:
        group.create_task(produce())
        for _ in range(POLLS):
            group.create_task(cut())

    taken = Counter(one for poll in polls for one in poll.ids)
    assert [one for one, times in taken.items() if times > 1] == [], "given to two clients"
    assert taken.keys() <= set(posted)
    claimed = sum(len(poll.ids) for poll in polls if poll.is_claim)
    expected = (len(posted) - len(taken), claimed)
    assert await settled(client, "jobs", expected) == expected

    left = []
    while True:
        answer = await client.ask("DELETE", "/v2/queues/jobs/messages?pop=20")
        popped = json.loads(answer.body)["messages"]
        if not popped:
            break
        left += popped
    assert {message["id"] for message in left} == set(posted) - set(taken)
    assert all(message["claim_count"] == 0 for message in left), "a claim nobody saw was counted"
    answered = sum(bool(poll.ids) for poll in polls)
    assert 0.2 * POLLS < answered < 0.8 * POLLS, "the cuts missed the interesting moments"


async def test_those_who_leave_never_take_a_wake_up_from_those_who_stay(
    cutter: Cutter, client: PlainClient, server: ServerProcess, project: str
) -> None:
    random = Random(2)
    async with PlainClient(server.port, project=project, client_id=CLIENT) as patient:
        for number in range(ROUNDS):
            queue = f"round-{number}"
            leaving = [
                asyncio.create_task(
                    cutter.poll(queue, claim=claim, limit=1, stay=random.uniform(0, 0.02))
                )
                for claim in (True, False, True, False)
            ]
            await asyncio.sleep(random.uniform(0, 0.01))
            staying = asyncio.create_task(
                patient.ask("DELETE", f"/v2/queues/{queue}/messages?pop=1&wait=30")
            )
            await asyncio.sleep(random.uniform(0, 0.01))
            [wanted] = await post(client, queue, 1)
            left_with = [one for poll in await asyncio.gather(*leaving) for one in poll.ids]
            if left_with:
                assert left_with == [wanted]
                [wanted] = await post(client, queue, 1)
            async with asyncio.timeout(SETTLED_WITHIN):
                answer = await staying
            assert Poll(False, answer).ids == [wanted]

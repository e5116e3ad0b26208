"""Producers and workers that write down what they asked and what they were told.

They go on working when the service dies and comes back, as clients in the field do: a worker
still deletes what it claimed before, a producer with a key posts until it is told that the
message is kept, one without sometimes posts twice. Refuses to judge; see verdicts.py.
"""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from hashlib import sha256
from itertools import count
from random import Random

import msgspec

from nuska.testing.histories import Deletion, History, Post, Purge, Release, Renewal, Request, Take
from nuska.testing.plain_http import PlainClient, Unanswered
from nuska.testing.raw_http import Answer

WORK = "work"
POP = "pop"
TIRED = "tired"
"""Its messages are released again and again, and dead-lettered after two claims."""
GRAVES = "graves"
PURGED = "purged"
QUEUES = (WORK, POP, TIRED, GRAVES, PURGED)
MAX_CLAIMS = 2
CLAIM_TTL = 60
"""Seconds, the shortest there is: claims whose answer was lost hold on to the end."""
PROJECT = "kill-harness"
PRODUCERS = 4
WORKERS = 5
REST = 0.02
"""Seconds after an answer that says "not now"."""
BACKLOG = 400
"""Messages that producers let lie before they wait for the workers."""


class Clients:
    """All of them, and their history. ``up`` is set while the service should answer; ``port``
    says where, each time somebody connects."""

    def __init__(self, random: Random, port: Callable[[], int], up: asyncio.Event) -> None:
        self.history = History()
        self.requests = 0
        self.unavailable = 0
        """Answers of 5xx."""
        self.up = up
        self.stopping = False
        self._random = random
        self._port = port
        self._bodies = count()
        self._backlog = 0

    def connect(self) -> PlainClient:
        return PlainClient(self._port, project=PROJECT, client_id=str(uuid.uuid4()))

    async def prepare(self) -> None:
        async with self.connect() as client:
            rule = {"_max_claim_count": MAX_CLAIMS, "_dead_letter_queue": GRAVES}
            answer = await client.ask("PUT", f"/v2/queues/{TIRED}", rule)
            assert answer.status == 201, answer

    def start(self, group: asyncio.TaskGroup) -> None:
        """They work until ``stopping`` is set."""
        for deed in [
            *[self._produce] * PRODUCERS,
            *[self._work] * WORKERS,
            self._pop,
            self._tire,
            self._tire,
            self._purge,
        ]:
            group.create_task(self._client(deed))

    async def _client(self, deed: Callable[[PlainClient], Awaitable[None]]) -> None:
        async with self.connect() as client:
            while not self.stopping:
                await self.up.wait()
                with suppress(Unanswered):
                    await deed(client)
                    continue
                await asyncio.sleep(REST)  # where it was is known to be gone a little later

    async def _ask(
        self,
        client: PlainClient,
        note: Request,
        method: str,
        target: str,
        document: object = None,
        **headers: str,
    ) -> Answer:
        """Send a request and note when; raises ``Unanswered`` also for a 5xx."""
        self.requests += 1
        note.sent = time.monotonic()
        try:
            answer = await client.ask(method, target, document, **headers)
        finally:
            note.ended = time.monotonic()
        if answer.status >= 500:
            self.unavailable += 1
            await asyncio.sleep(REST)
            raise Unanswered(f"{answer.status} for {method} {target}: {answer.body!r:.200}")
        note.known = answer.status < 300
        return answer

    async def _produce(self, client: PlainClient) -> None:
        """A message, a batch, or either with a key and until it is acknowledged."""
        if self._backlog > BACKLOG:
            await asyncio.sleep(0.005)
            return
        queue = self._random.choice((WORK, WORK, WORK, POP, TIRED, PURGED))
        bodies = [self._body() for _ in range(self._random.choice((1, 1, 1, 5, 20)))]
        key = uuid.uuid4().hex if self._random.random() < 0.5 else None
        while True:
            try:
                await self._post(client, queue, bodies, key)
                return
            except Unanswered:
                # Without a key, a producer that must not lose its message posts it twice.
                if self.stopping or (key is None and self._random.random() < 0.5):
                    return
                await self.up.wait()

    def _body(self) -> str:
        """A body of its own, with a digest that only the right bytes match."""
        text = f"{next(self._bodies)} " + "x" * self._random.choice((0, 10, 200, 5000))
        return f"{sha256(text.encode()).hexdigest()} {text}"

    async def _post(
        self, client: PlainClient, queue: str, bodies: list[str], key: str | None
    ) -> None:
        post = Post(queue=queue, bodies=bodies, key=key, sent=0)
        self.history.posts.append(post)
        document = {"messages": [{"body": body, "ttl": 3600} for body in bodies]}
        headers = {} if key is None else {"Idempotency_Key": key}
        answer = await self._ask(
            client, post, "POST", f"/v2/queues/{queue}/messages", document, **headers
        )
        assert answer.status == 201, answer
        post.ids = [
            resource.rpartition("/")[2]
            for resource in msgspec.json.decode(answer.body)["resources"]
        ]
        self._backlog += len(bodies) if queue == WORK else 0

    async def _claim(self, client: PlainClient, queue: str) -> Take | None:
        limit = self._random.randint(1, 10)
        take = Take(queue=queue, limit=limit, is_claim=True, ttl=CLAIM_TTL, sent=0)
        self.history.takes.append(take)
        answer = await self._ask(
            client,
            take,
            "POST",
            f"/v2/queues/{queue}/claims?limit={limit}",
            {"ttl": CLAIM_TTL, "grace": 60},
        )
        if answer.status == 204:
            await asyncio.sleep(0.005)
            return None
        take.claim_id = answer.headers["location"].rpartition("/")[2]
        take.messages = messages_of(answer)
        return take

    async def _work(self, client: PlainClient) -> None:
        """Claim, then delete, renew and delete, or release; goes on after a crash."""
        take = await self._claim(client, WORK)
        if take is None:
            return
        way = self._random.random()
        if way < 0.2:
            await self._release(client, take)
            return
        if way < 0.5:
            await self._renew(client, take)
        for message_id, _ in take.messages:
            await self._delete(client, take, message_id)

    async def _renew(self, client: PlainClient, take: Take) -> None:
        renewal = Renewal(claim_id=take.claim_id, ttl=CLAIM_TTL + 10, sent=0)
        self.history.renewals.append(renewal)
        target = f"/v2/queues/{take.queue}/claims/{take.claim_id}"
        with suppress(Unanswered):
            await self._ask(client, renewal, "PATCH", target, {"ttl": CLAIM_TTL + 10, "grace": 60})

    async def _release(self, client: PlainClient, take: Take) -> None:
        release = Release(claim_id=take.claim_id, sent=0)
        self.history.releases.append(release)
        target = f"/v2/queues/{take.queue}/claims/{take.claim_id}"
        await self._ask(client, release, "DELETE", target)

    async def _delete(self, client: PlainClient, take: Take, message_id: str) -> None:
        """Until it is acknowledged or the claim is over."""
        target = f"/v2/queues/{take.queue}/messages/{message_id}?claim_id={take.claim_id}"
        while True:
            deletion = Deletion(message_id=message_id, sent=0)
            self.history.deletions.append(deletion)
            try:
                answer = await self._ask(client, deletion, "DELETE", target)
            except Unanswered:
                if self._random.random() < 0.3:  # this worker gives up
                    return
                await self.up.wait()
                continue
            self._backlog -= 1
            assert answer.status in (204, 400, 403), answer
            return

    async def _pop(self, client: PlainClient) -> None:
        limit = self._random.randint(1, 3)
        take = Take(queue=POP, limit=limit, is_claim=False, sent=0)
        self.history.takes.append(take)
        answer = await self._ask(client, take, "DELETE", f"/v2/queues/{POP}/messages?pop={limit}")
        assert answer.status == 200, answer
        take.messages = messages_of(answer)
        if not take.messages:
            await asyncio.sleep(0.01)

    async def _tire(self, client: PlainClient) -> None:
        """Claim and release, so that messages move to their graves."""
        queue = self._random.choice((TIRED, TIRED, GRAVES))
        take = await self._claim(client, queue)
        if take is None:
            return
        if queue == GRAVES and self._random.random() < 0.5:
            for message_id, _ in take.messages:
                await self._delete(client, take, message_id)
        else:
            await self._release(client, take)
        await asyncio.sleep(0.01)

    async def _purge(self, client: PlainClient) -> None:
        await asyncio.sleep(self._random.uniform(0.3, 2))
        purge = Purge(queue=PURGED, sent=0)
        self.history.purges.append(purge)
        answer = await self._ask(
            client, purge, "POST", f"/v2/queues/{PURGED}/purge", {"resource_types": ["messages"]}
        )
        assert answer.status == 204, answer


def messages_of(answer: Answer) -> list[tuple[str, str]]:
    """Ids and bodies; a body whose digest does not match is shown as broken."""
    messages = []
    for message in msgspec.json.decode(answer.body)["messages"]:
        digest, _, text = message["body"].partition(" ")
        intact = sha256(text.encode()).hexdigest() == digest
        messages.append((message["id"], message["body"] if intact else f"broken: {text}"))
    return messages

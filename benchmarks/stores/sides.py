"""The sides of a comparison at one connection: a node over HTTP, and the store's own client.

Each does the same round of operations, one after the other, and keeps the seconds of each.
Whatever is posted by the hundred stays; the rest is taken away again within the turn.
"""

import re
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from benchmarks.filling import BODY, small
from benchmarks.stores.engine import Raw
from benchmarks.wire import PRODUCER, Answer, Connection, Refused, request

T = TypeVar("T")

BATCHES = (10, 100)
CLAIM_SIZE = 10
POSTS = {count: f"post {count}" for count in (1, *BATCHES)}
DELETE_ONE = "delete 1"
CLAIM = f"claim {CLAIM_SIZE}"
DELETE = f"delete {CLAIM_SIZE}"
CYCLE = f"{CLAIM} + {DELETE}"
OPERATIONS = (*POSTS.values(), DELETE_ONE, CLAIM, DELETE, CYCLE)
TURNS_AT_ONCE = 4
"""So that what is measured is a server at work, not one waking up."""

_ID = re.compile(rb'"id": ?"([^"]+)"')
_HREF = re.compile(rb'"(/v2/[^"]+)"')


class TurnFailed(Exception):
    """An operation did not do what its time would be stated for."""


class Side:
    """``taken`` holds the seconds of every operation."""

    def __init__(self) -> None:
        self.taken: dict[str, list[float]] = defaultdict(list)

    def forget(self) -> None:
        """Drop what was measured so far: it was a warm-up."""
        self.taken.clear()

    def _keep_cycle(self) -> None:
        self.taken[CYCLE].append(self.taken[CLAIM][-1] + self.taken[DELETE][-1])


class ByApi(Side):
    """A node, on one kept-alive connection."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection
        self._queue = "/v2/queues/turns"
        message = {"ttl": 36_000, "body": BODY}
        self._posts = {
            count: request(
                "POST",
                f"{'/v2/queues/kept' if count > CLAIM_SIZE else self._queue}/messages",
                {"messages": [message] * count},
                client=PRODUCER,
            )
            for count in POSTS
        }
        self._claim = request(
            "POST", f"{self._queue}/claims?limit={CLAIM_SIZE}", {"ttl": 300, "grace": 60}
        )

    def block(self) -> None:
        for _ in range(TURNS_AT_ONCE):
            self._turn()

    def _turn(self) -> None:
        [href] = _HREF.findall(self._timed(POSTS[1], self._posts[1]).body)
        self._timed(DELETE_ONE, request("DELETE", href.decode()))
        for count in BATCHES:
            self._timed(POSTS[count], self._posts[count])
        ids = _ID.findall(self._timed(CLAIM, self._claim).body)
        if len(ids) != CLAIM_SIZE:
            raise TurnFailed(f"{len(ids)} messages claimed, not {CLAIM_SIZE}")
        path = f"{self._queue}/messages?ids={b','.join(ids).decode()}"
        self._timed(DELETE, request("DELETE", path))
        self._keep_cycle()

    def _timed(self, operation: str, message: bytes) -> Answer:
        answer = self._connection.exchange(message)
        if answer.status >= 400:
            raise Refused(f"{operation}: {answer.status} {answer.body[:500]!r}")
        self.taken[operation].append(answer.seconds)
        return answer


class ByClient(Side):
    """The store's own client; ``run`` awaits on the loop the client belongs to."""

    def __init__(self, turns: Raw, kept: Raw, run: Callable[[Any], None]) -> None:
        super().__init__()
        self._turns = turns
        self._kept = kept
        self._run = run

    def block(self) -> None:
        self._run(self._block())

    async def _block(self) -> None:
        for _ in range(TURNS_AT_ONCE):
            await self._turn()

    async def _turn(self) -> None:
        posted = await self._timed(POSTS[1], self._turns.post([small()]))
        await self._timed(DELETE_ONE, self._turns.delete(posted))
        for count in BATCHES:
            raw = self._kept if count > CLAIM_SIZE else self._turns
            await self._timed(POSTS[count], raw.post([small()] * count))
        claimed = await self._timed(CLAIM, self._turns.claim(CLAIM_SIZE))
        if len(claimed) != CLAIM_SIZE:
            raise TurnFailed(f"{len(claimed)} messages claimed, not {CLAIM_SIZE}")
        await self._timed(DELETE, self._turns.delete(claimed))
        self._keep_cycle()

    async def _timed(self, operation: str, doing: Awaitable[T]) -> T:
        began = time.perf_counter()
        answer = await doing
        self.taken[operation].append(time.perf_counter() - began)
        return answer

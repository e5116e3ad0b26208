"""One client working on one queue, one request at a time, each of them timed.

A turn posts one message, lists, claims ten, deletes what it claimed and posts the rest back,
so that the queue is as deep afterwards as before. Only the first three are counted.
"""

import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable

from benchmarks.filling import BODY
from benchmarks.wire import PRODUCER, Answer, Connection, Refused, request

OPERATIONS = ("post", "list", "claim")
_ID = re.compile(rb'"id": ?"([^"]+)"')


class Cycle:
    """Works on ``queue``; ``taken`` holds the seconds of every counted request."""

    def __init__(self, connection: Connection, queue: str, *, claim_size: int = 10) -> None:
        self.taken: dict[str, list[float]] = defaultdict(list)
        self._connection = connection
        self._path = f"/v2/queues/{queue}"
        message = {"ttl": 36_000, "delay": 0, "body": BODY}
        self._post = self._posting([message])
        self._post_back = [self._posting([message] * count) for count in range(1, claim_size)]
        self._list = request("GET", f"{self._path}/messages?echo=true")
        self._claim = request(
            "POST", f"{self._path}/claims?limit={claim_size}", {"ttl": 300, "grace": 60}
        )

    def turn(self) -> None:
        """All three operations, and what restores the depth."""
        self._timed("post", self._post)
        self._timed("list", self._list)
        claimed = _ID.findall(self._timed("claim", self._claim).body)
        if claimed:
            self._delete(claimed)
        if len(claimed) > 1:
            self._done(self._connection.exchange(self._post_back[len(claimed) - 2]))

    def turns(self, *, seconds: float) -> None:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            self.turn()

    def forget(self) -> None:
        """Drop what was measured so far: it was a warm-up."""
        self.taken.clear()

    def all_taken(self) -> list[float]:
        return [seconds for taken in self.taken.values() for seconds in taken]

    def _delete(self, ids: Iterable[bytes]) -> None:
        path = f"{self._path}/messages?ids={b','.join(ids).decode()}"
        self._done(self._connection.exchange(request("DELETE", path)))

    def _posting(self, messages: list[dict[str, object]]) -> bytes:
        document = {"messages": messages}
        return request("POST", f"{self._path}/messages", document, client=PRODUCER)

    def _timed(self, operation: str, message: bytes) -> Answer:
        answer = self._done(self._connection.exchange(message))
        self.taken[operation].append(answer.seconds)
        return answer

    @staticmethod
    def _done(answer: Answer) -> Answer:
        if answer.status >= 400:
            raise Refused(f"{answer.status} {answer.body[:500]!r}")
        return answer


def in_turns(cycles: Iterable[Callable[[], None]], *, rounds: int) -> None:
    """Let every side work in every round: noise of the machine meets all of them alike."""
    sides = list(cycles)
    for index in range(rounds):
        for side in sides[index % len(sides) :] + sides[: index % len(sides)]:
            side()

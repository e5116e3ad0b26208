"""Posts to one queue that come while others are under way go together, in one request.

At a low rate every post goes by itself and at once. At a high one, those of one turn of the loop,
and those that have gathered while two requests were under way, become the next ones, as a store
commits in groups: far more messages a second, in the order of the calls within a request. Two
requests are under way side by side: whose order matters waits for the answer of the one before.
Nobody else can tell: each call has its own ids or its own error, because a request that is refused
is taken apart, and each post judged by itself.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from nuska.client.encoding import MESSAGES_PER_POST, POST_SIZE, EncodedMessage
from nuska.client.errors import ConnectionBroken, DeadlinePassed, ErrorAnswer

UNDER_WAY = 2
"""Requests under way at once before posts wait for each other."""
FRAME = 1024
"""Bytes of a request that are not messages, roughly."""

Messages = Sequence[EncodedMessage]
Send = Callable[[Messages], Awaitable[list[str]]]
Answer = asyncio.Future[list[str]]
Waiting = tuple[Messages, Answer]


class Merger:
    """The posts of one client to one queue. ``send`` stores all it is given, or nothing."""

    def __init__(self, send: Send, timeout: float) -> None:
        """``timeout``: seconds for a post, from its call on; ``send`` holds to as many."""
        self._send = send
        self._waiting: deque[Waiting] = deque()
        self._deadlines = Deadlines(timeout, "The post was not stored in time.")
        self._loop = asyncio.get_running_loop()
        self._under_way: set[asyncio.Task[None]] = set()
        self._going_on = False
        self._most, self._size = MESSAGES_PER_POST, POST_SIZE - FRAME
        """Messages and bytes that go together; the queue may turn out to take less."""

    async def post(self, messages: Messages) -> list[str]:
        """The ids of ``messages``, once they are stored."""
        answer: Answer = self._loop.create_future()
        self._waiting.append((messages, answer))
        self._deadlines.add(answer)
        self._go_on_soon()
        return await answer

    @property
    def busy(self) -> bool:
        return bool(self._under_way or self._waiting)

    def stop(self) -> None:
        """Send nothing more; what is under way ends as its request does."""
        self._deadlines.stop()
        waiting = list(self._waiting)
        self._waiting.clear()
        _fail(waiting, ConnectionBroken("The client was closed."))

    def _go_on_soon(self) -> None:
        """At the end of this turn: who was answered together may well post together."""
        if not self._going_on and len(self._under_way) < UNDER_WAY:
            self._going_on = True
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._going_on = False
        while room := UNDER_WAY - len(self._under_way):
            batch = self._gathered(-(-len(self._waiting) // room))
            if not batch:
                return
            task = self._loop.create_task(self._send_together(batch), name="post together")
            self._under_way.add(task)
            task.add_done_callback(partial(self._ended, batch))

    def _ended(self, batch: list[Waiting], task: asyncio.Task[None]) -> None:
        # Whatever has ended it, also before it began: nobody is left waiting.
        _fail(batch, ConnectionBroken("The post was cut off."))
        self._under_way.discard(task)
        self._go_on_soon()

    def _gathered(self, share: int) -> list[Waiting]:
        """What may go together now, in the order of the calls: at most ``share`` of them, and at
        least one."""
        batch: list[Waiting] = []
        count = size = 0
        while self._waiting and len(batch) < share:
            messages, answer = self._waiting[0]
            if answer.done():  # nobody waits for it any more
                self._waiting.popleft()
                continue
            count += len(messages)
            size += sum(map(len, messages)) + len(messages)
            if batch and (count > self._most or size > self._size):
                break
            batch.append(self._waiting.popleft())
        return batch

    async def _send_together(self, batch: list[Waiting]) -> None:
        together = [message for messages, _ in batch for message in messages]
        try:
            ids = await self._send(together)
        except ErrorAnswer as error:
            if len(batch) > 1 and error.status < 500:
                await self._send_apart(batch, together)
            else:
                _fail(batch, error)
        except Exception as error:
            _fail(batch, error)
        else:
            at = 0
            for messages, answer in batch:
                own = ids[at : at + len(messages)]
                at += len(messages)
                if not answer.done():
                    answer.set_result(own)

    async def _send_apart(self, batch: list[Waiting], together: Messages) -> None:
        """One of them is at fault, or they were too much together."""
        failed = False
        for messages, answer in batch:
            try:
                ids = await self._send(messages)
            except Exception as error:
                failed = True
                _fail([(messages, answer)], error)
            else:
                if not answer.done():
                    answer.set_result(ids)
        if not failed:
            self._most = max(1, len(together) // 2)
            self._size = sum(map(len, together)) // 2


class Deadlines:
    """One timer for all calls that wait: each has as long as the others, so the oldest is first."""

    def __init__(self, timeout: float, passed: str) -> None:
        """``passed``: what is said to whom nobody answers for ``timeout`` seconds."""
        self._timeout = timeout
        self._passed = passed
        self._loop = asyncio.get_running_loop()
        self._due: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, answer: asyncio.Future[Any]) -> None:
        due = self._due
        while due and due[0][1].done():
            due.popleft()
        at = self._loop.time() + self._timeout
        due.append((at, answer))
        if self._timer is None:
            self._timer = self._loop.call_at(at, self._look)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """End what is over; look again when the next may be."""
        self._timer = None
        due, now = self._due, self._loop.time()
        while due and (due[0][1].done() or due[0][0] <= now):
            _, answer = due.popleft()
            if not answer.done():
                answer.set_exception(DeadlinePassed(self._passed))
        if due:
            self._timer = self._loop.call_at(due[0][0], self._look)


def _fail(batch: list[Waiting], error: Exception) -> None:
    for _, answer in batch:
        if not answer.done():
            answer.set_exception(error)

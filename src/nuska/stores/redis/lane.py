"""One connection that many requests share.

What requests hand in while the connection is busy goes out together, in one write, and
answers come back in order (D11). A lane never sends anything twice: when the connection
breaks, or an answer takes longer than ``ANSWER_WITHIN``, every request on it fails with
``Unavailable``, done or not, and the next one connects anew.
"""

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from msgspec import Struct
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import NoPermissionError, ReadOnlyError, RedisError, ResponseError

from nuska.domain.errors import Unavailable

CONNECT_WITHIN = 3.0
"""Seconds; with the bound below, the longest a request waits for a server that is gone."""
ANSWER_WITHIN = 3.0
WATCH_EVERY = 0.5

READS = frozenset(
    {"FCALL_RO", "HMGET", "ZRANGE", "ZCARD", "TIME", "PING", "INFO", "CONFIG", "CLUSTER", "ASKING"}
    | {"KEYS", "PUBLISH", "FUNCTION", "WAIT", "WAITAOF", "HGET", "HSCAN", "ZSCAN"}
)
"""Commands that change nothing worth waiting for; every other one is a write."""

TELL = ("FCALL", "nuska_tell")
"""A function that keeps nothing: what it does is not worth waiting for either."""

Connect = Callable[[], Awaitable[AbstractConnection]]
Part = bytes | str | int


class TooWeak(Exception):
    """A server promises less than is demanded; the argument is a sentence for the operator."""


class Confirmation(Struct, frozen=True):
    """A command that is to follow writes, and the answer without which they are in doubt."""

    command: tuple[str | int, ...]
    least: tuple[int, ...]
    """The answer, number by number, must not be less."""

    @property
    def name(self) -> str:
        return str(self.command[0])

    @property
    def seconds(self) -> float:
        """How long the answer may take."""
        return int(self.command[-1]) / 1000

    def is_met(self, answer: Any) -> bool:
        numbers = answer if isinstance(answer, list) else [answer]
        return len(numbers) == len(self.least) and all(
            isinstance(number, int) and number >= least
            for number, least in zip(numbers, self.least, strict=True)
        )


Confirmed = Callable[[Callable[..., Awaitable[Any]]], Awaitable[Confirmation | None]]
"""Given a way to ask a server, what is to follow every write there."""


class Pending(Struct, frozen=True):
    """An answer that is to come."""

    since: float
    future: asyncio.Future[Any] | None = None
    """Whoever waits for it; nobody, if it confirms the writes before it."""
    confirmation: Confirmation | None = None
    """For a write: what must be met before its answer counts. For nobody: what was asked."""


class Lane:
    """Commands to one server, which ``connect`` finds."""

    def __init__(self, connect: Connect, confirmed: Confirmed | None = None) -> None:
        self.connect = connect
        self._confirmed = confirmed
        self._confirmation: Confirmation | None = None
        self._owed: Confirmation | None = None
        """What the writes that wait to be sent are to be followed by."""
        self._unconfirmed: list[tuple[asyncio.Future[Any], Any]] = []
        """Writes that were answered and not yet confirmed, with their answers."""
        self._connecting: asyncio.Task[AbstractConnection] | None = None
        self._connection: AbstractConnection | None = None
        self._pending: deque[Pending] = deque()
        self._outgoing: list[bytes] = []
        self._has_outgoing = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False

    async def call(self, *command: Part) -> Any:
        """The answer; raises ``ResponseError`` if Redis refuses, else ``Unavailable``."""
        [answer] = await self.call_together(command)
        return answer

    async def call_together(self, *commands: tuple[Part, ...]) -> list[Any]:
        """Several commands with nothing of anybody else's between them."""
        connection = self._connection or await self._connected()
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in commands]
        for command, future in zip(commands, futures, strict=True):
            self._outgoing.extend(connection.pack_command(*command))
            owed = None if _is_passing(command) else self._confirmation
            self._owed = self._owed or owed
            self._pending.append(Pending(loop.time(), future, owed))
        self._has_outgoing.set()
        return [await future for future in futures]

    async def may_combine(self) -> bool:
        """Whether this user may do several commands in one step."""
        try:
            await self.call_together(("MULTI",), ("EXEC",))
        except NoPermissionError:
            return False
        return True

    async def call_at_once(self, *commands: tuple[Part, ...]) -> list[Any]:
        """The same in one step: when Redis refuses to take one of them, it does none."""
        *_, answers = await self.call_together(("MULTI",), *commands, ("EXEC",))
        for answer in answers:
            if isinstance(answer, ResponseError):
                raise answer
        return list(answers)

    @property
    def is_connected(self) -> bool:
        return self._connection is not None

    async def _connected(self) -> AbstractConnection:
        """One attempt serves all who wait for it, so that nobody waits for several."""
        while self._connection is None:
            if self._closed:
                raise Unavailable("The Redis store is closed.")
            if self._connecting is None:
                self._connecting = asyncio.create_task(self._open())
                self._connecting.add_done_callback(self._has_connected)
            await asyncio.shield(self._connecting)
        return self._connection

    def _has_connected(self, attempt: asyncio.Task[AbstractConnection]) -> None:
        self._connecting = None
        if not attempt.cancelled():
            attempt.exception()  # whoever waited may have gone

    async def _open(self) -> AbstractConnection:
        try:
            async with asyncio.timeout(CONNECT_WITHIN):
                connection = await self.connect()
                self._confirmation = await self._learn_confirmation(connection)
        except (RedisError, OSError, TooWeak) as error:
            raise unavailable(error) from error
        self._connection = connection
        self._outgoing, self._owed = [], None
        self._has_outgoing.clear()
        self._tasks = [
            asyncio.create_task(self._write(connection)),
            asyncio.create_task(self._read(connection)),
            asyncio.create_task(self._watch()),
        ]
        return connection

    async def _learn_confirmation(self, connection: AbstractConnection) -> Confirmation | None:
        """Before anything else is sent: what follows writes here, which may be a new primary."""
        if self._confirmed is None:
            return None

        async def ask(*command: Part) -> Any:
            await connection.send_command(*command, check_health=False)
            return await connection.read_response()

        try:
            return await self._confirmed(ask)
        except BaseException:
            with suppress(RedisError, OSError):
                await connection.disconnect(nowait=True)
            raise

    async def renew(self) -> None:
        """Learn anew what follows writes; a server that became too weak is let go of."""
        if self._confirmed is None or self._connection is None:
            return
        try:
            self._confirmation = await self._confirmed(self.call)
        except TooWeak as error:
            await self._fail(error)

    async def _write(self, connection: AbstractConnection) -> None:
        try:
            while True:
                await self._has_outgoing.wait()
                self._has_outgoing.clear()
                group, self._outgoing = self._outgoing, []
                if self._owed is not None:
                    owed, self._owed = self._owed, None
                    group.extend(connection.pack_command(*owed.command))
                    self._pending.append(Pending(asyncio.get_running_loop().time(), None, owed))
                await connection.send_packed_command(group, check_health=False)
        except (RedisError, OSError) as error:
            await self._fail(error)

    async def _read(self, connection: AbstractConnection) -> None:
        try:
            while True:
                answer: Any
                try:
                    answer = await connection.read_response(timeout=math.inf)
                except ResponseError as refusal:
                    answer = refusal
                self._settle(self._pending.popleft(), answer)
                if isinstance(answer, ReadOnlyError):  # it is not the primary any more
                    await self._fail(answer)
        except (RedisError, OSError) as error:
            await self._fail(error)

    def _settle(self, pending: Pending, answer: Any) -> None:
        """Pass an answer on, or keep it until the write has been confirmed."""
        if pending.future is None:
            assert pending.confirmation is not None, "nobody waits only for confirmations"
            met = pending.confirmation.is_met(answer)
            settled, self._unconfirmed = self._unconfirmed, []
            for future, kept in settled:
                _resolve(future, kept if met else _in_doubt())
        elif pending.confirmation is None or isinstance(answer, ResponseError):
            _resolve(pending.future, answer)
        else:
            self._unconfirmed.append((pending.future, answer))

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(WATCH_EVERY)
            bound = ANSWER_WITHIN - WATCH_EVERY
            if self._confirmation is not None:  # one is being waited for, and then our own
                bound += 2 * self._confirmation.seconds
            if self._pending and loop.time() - self._pending[0].since > bound:
                await self._fail(TimeoutError("no answer in time"))

    async def _fail(self, error: BaseException) -> None:
        """Let go of the connection; nobody on it learns what became of their request."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        waiting = self._waiting()
        self._pending, self._unconfirmed = deque(), []
        for future in waiting:
            _resolve(future, unavailable(error))
        tasks, self._tasks = self._tasks, []
        with suppress(RedisError, OSError):
            await connection.disconnect(nowait=True)
        for task in tasks:
            if task is not asyncio.current_task():
                task.cancel()
        if asyncio.current_task() in tasks:
            raise asyncio.CancelledError

    async def close(self) -> None:
        """Wait for the answers that are due, then let go."""
        self._closed = True
        if self._connecting is not None:
            await asyncio.wait([self._connecting])
        waiting = self._waiting()
        if waiting:
            await asyncio.wait(waiting, timeout=ANSWER_WITHIN)
        tasks = self._tasks
        await self._fail(ConnectionError("closed"))
        await asyncio.gather(*tasks, return_exceptions=True)

    def _waiting(self) -> list[asyncio.Future[Any]]:
        futures = [one.future for one in self._pending if one.future is not None]
        return futures + [future for future, _ in self._unconfirmed]


def _is_passing(command: tuple[Part, ...]) -> bool:
    return command[0] in READS or command[: len(TELL)] == TELL


def _resolve(future: asyncio.Future[Any], answer: Any) -> None:
    if future.done():
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
        future.exception()  # whoever waited may have gone
    else:
        future.set_result(answer)


def _in_doubt() -> Unavailable:
    return Unavailable(
        "The Redis store did not confirm in time that the change will last: it may or may not "
        "have been made."
    )


def unavailable(error: BaseException) -> Unavailable:
    """``error`` for clients, who need not know where the store is; the cause says more."""
    translated = Unavailable("The Redis store cannot answer now.")
    translated.__cause__ = error
    return translated

"""Crowds of live clients that come, go, hang and send nonsense: the real server serves on, forgets
them all, and whoever has a marker misses nothing."""

import asyncio
import contextlib
import json
import re
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from pathlib import Path
from random import Random

import msgspec
import pytest

from nuska.testing.event_source import EventSource
from nuska.testing.hostile_documents import MALFORMED_JSON
from nuska.testing.plain_http import PlainClient
from nuska.testing.raw_http import converse
from nuska.testing.server_process import ServerProcess
from nuska.testing.websocket_client import CLIENT, PROJECT, talking
from nuska.testing.websocket_frames import frame, handshake

pytestmark = pytest.mark.slow

ROUNDS = 6
CROWD = 90
"""Connections at once; as many sorts of clients as there are methods of ``Crowd``, in turns."""
SETTLES_WITHIN = 60.0
FORGOTTEN = ("nuska_websockets", "nuska_live_listeners", "nuska_waiters")
"""What is zero when all have gone."""
MEMORY_FOR_ALL = 24_000_000
"""Bytes by which a server may have grown after the second half of the rounds."""
IMPATIENT = {
    "NUSKA_PING_INTERVAL": "0.5",
    "NUSKA_PING_TIMEOUT": "0.5",
    "NUSKA_SEND_TIMEOUT": "1",
    "NUSKA_WEBSOCKET_SLOW_TIMEOUT": "1",
    "NUSKA_STREAM_HEARTBEAT": "0.5",
    "NUSKA_MAX_OUTBOX": "65536",
    "NUSKA_STREAM_UNSENT": "65536",
}
QUEUE = "storm"
STREAM = f"/v2/queues/{QUEUE}/messages/stream?project_id={PROJECT}"
SUBSCRIBE = {
    "action": "subscription_create",
    "headers": {"Client-ID": CLIENT, "X-Project-ID": PROJECT},
    "body": {"queue_name": QUEUE},
}


class Crowd:
    """Clients of every sort that nobody should have, each of which ends by itself."""

    def __init__(self, server: ServerProcess, seed: int) -> None:
        self._server = server
        self._dice = Random(seed)
        self.sorts = (
            self.subscribes_and_vanishes,
            self.waits_and_vanishes,
            self.hears_a_stream_and_vanishes,
            self.is_cut_off_anywhere,
            self.sends_nonsense,
            self.reads_nothing,
        )

    @property
    def _url(self) -> str:
        return self._server.url.replace("http", "ws", 1) + "/"

    async def subscribes_and_vanishes(self, number: int) -> None:
        async with talking(self._url, binary=bool(number % 2)) as talk:
            made = await talk.ask("subscription_create", queue_name=QUEUE)
            assert made.status == 201
            if number % 3:
                talk.connection.transport.abort()

    async def waits_and_vanishes(self, number: int) -> None:
        async with talking(self._url, binary=bool(number % 2)) as talk:
            await talk.send("claim_create", id=1, queue_name="empty", wait=30)
            await talk.send("message_list", queue_name="empty", wait=30)
            assert (await talk.ask("queue_list", id=2)).status == 200
            talk.connection.transport.abort()

    async def hears_a_stream_and_vanishes(self, number: int) -> None:
        async with EventSource(self._server.port, STREAM) as source:
            assert source.status == 200
            await source.begun()
            if number % 2:
                source.read_nothing()

    async def is_cut_off_anywhere(self, number: int) -> None:
        packed = msgspec.msgpack.encode(SUBSCRIBE)
        whole = handshake() + frame(packed, 2, fin=False) + frame(b"", 0) + frame(packed, 2)
        reader, writer = await asyncio.open_connection("127.0.0.1", self._server.port)
        writer.write(whole[: self._dice.randrange(1, len(whole))])
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(0.05 * (number % 3)):
                await reader.read()
        writer.transport.abort()

    async def sends_nonsense(self, number: int) -> None:
        dice = self._dice
        async with talking(self._url, binary=bool(number % 2)) as talk:
            await talk.connection.send(dice.choice(list(MALFORMED_JSON.values())))
            assert (await talk.next())["headers"]["status"] == 400
            await talk.connection.send(dice.randbytes(dice.randrange(200)))
            assert (await talk.next())["headers"]["status"] == 400
        reader, writer = await asyncio.open_connection("127.0.0.1", self._server.port)
        writer.write(handshake() + dice.randbytes(500))
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(SETTLES_WITHIN):
                await reader.read()  # until the server ends it: bytes that are frames are answered
        writer.transport.abort()

    async def reads_nothing(self, _number: int) -> None:
        """The server has to notice: it gets no pong, and can send no more."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._server.port)
        writer.write(handshake() + frame(json.dumps(SUBSCRIBE).encode()))
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await until(partial(metric, self._server, "nuska_websockets_closed_total"))
        writer.transport.abort()


class Faithful:
    """Comes back again and again, by WebSocket and by event stream, and notes what it hears."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._marker = ""
        self.heard: list[int] = []

    async def begin(self) -> None:
        async with EventSource(self._server.port, STREAM) as source:
            self._marker = (await source.begun()).last_id

    async def listen(self, until: int) -> None:
        """By turns: a few messages each time."""
        for turn in count():
            if len(self.heard) >= until:
                return
            few = min(1 + turn % 7, until - len(self.heard))
            await (self._by_socket(few) if turn % 2 else self._by_stream(few))

    async def _by_socket(self, few: int) -> None:
        url = self._server.url.replace("http", "ws", 1) + "/"
        async with talking(url, binary=True) as talk:
            options = {"detailed": True, "since": self._marker}
            made = await talk.ask("subscription_create", queue_name=QUEUE, options=options)
            assert made.status == 201
            for _ in range(few):
                pushed = await talk.push()
                assert pushed["Message_Type"] == "Notification"
                self.heard.append(pushed["body"]["number"])
                self._marker = pushed["marker"]
            talk.connection.transport.abort()

    async def _by_stream(self, few: int) -> None:
        headers = {"Last-Event-ID": self._marker}
        async with EventSource(self._server.port, STREAM, headers=headers) as source:
            for _ in range(few):
                event = await source.next()
                assert event.type == "message"
                self.heard.append(event.json["body"]["number"])
                self._marker = event.id


async def metrics(server: ServerProcess) -> str:
    asked = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    shown = await converse("127.0.0.1", server.port, asked)
    return shown.answers[0].body.decode()


async def metric(server: ServerProcess, name: str) -> float:
    found = re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", await metrics(server), re.MULTILINE)
    return sum(map(float, found))


async def until(holds: Callable[[], Awaitable[float]]) -> None:
    async with asyncio.timeout(SETTLES_WITHIN):
        while not await holds():  # noqa: ASYNC110  a server's metrics can only be looked at
            await asyncio.sleep(0.1)


async def forgotten(server: ServerProcess) -> None:
    """Until nothing is left of anybody but the connection that asks."""

    async def holds() -> bool:
        left = [await metric(server, name) for name in FORGOTTEN]
        return not any(left) and await metric(server, "nuska_connections") == 1

    await until(holds)


async def test_storms_of_bad_clients_leave_nothing_and_nobody_else_misses_anything(
    tmp_path: Path,
) -> None:
    with ServerProcess(tmp_path, environment=IMPATIENT) as server:
        crowd, faithful = Crowd(server, 1), Faithful(server)
        await faithful.begin()
        posted, memory = 0, list[int]()

        async def post(few: int) -> None:
            nonlocal posted
            async with PlainClient(server.port, project=PROJECT, client_id=CLIENT) as client:
                for _ in range(few):
                    message = {"body": {"number": posted, "padding": "x" * 2_000}, "ttl": 300}
                    answer = await client.ask(
                        "POST", f"/v2/queues/{QUEUE}/messages", {"messages": [message]}
                    )
                    assert answer.status == 201, answer.body
                    posted += 1

        for _ in range(ROUNDS):
            async with asyncio.TaskGroup() as group:
                for number in range(CROWD):
                    sort = crowd.sorts[number % len(crowd.sorts)]
                    group.create_task(sort(number // len(crowd.sorts)))
                group.create_task(post(50))
                group.create_task(faithful.listen(posted + 50))
            await forgotten(server)
            memory.append(server.resident_bytes)
        assert faithful.heard == list(range(posted))
        assert max(memory) - memory[ROUNDS // 2 - 1] < MEMORY_FOR_ALL
        assert "unexpected" not in server.output
        assert "Traceback" not in server.output
        assert await metric(server, "nuska_request_crashes_total") == 0
        assert server.terminate() == 0

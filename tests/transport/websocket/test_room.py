"""What large requests of many connections take in memory, the first of each included."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from nuska.core.sharing import SharingRules
from nuska.domain.signing import Signer
from nuska.interfaces.identity import Credentials, Verified
from nuska.testing.raw_websocket import request
from nuska.testing.tokens import Tokens
from nuska.testing.websocket_client import Talk, talking
from nuska.testing.websocket_frames import frame
from nuska.transport.server import bounds
from nuska.transport.websocket.frames import read
from nuska.transport.websocket.session import MAX_OF_STRANGERS

FILLER: list[Any] = [[] for _ in range(10_000)]
"""Two or three bytes each, and more than sixty when it is read."""
WEIGHT = 1_280_000
"""About, of the document that it is in."""
WAIT = {"wait": 20, "filler": FILLER}
BINARY = pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
MEMBER = Verified(project="acme", roles=frozenset({"member"}))
TOKEN = {"X-Auth-Token": "t"}
SIGNER = Signer("a-signing-key-for-large-posts")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  the server tells nobody of this
            await asyncio.sleep(0.01)


@pytest.fixture
async def talk(served: Any) -> AsyncIterator[Callable[..., Any]]:
    async with AsyncExitStack() as stack:

        async def start(*, binary: bool = False) -> Talk:
            return await stack.enter_async_context(talking(served.ws, binary=binary))

        yield start


@BINARY
async def test_the_first_requests_of_many_connections_take_so_much_memory_and_no_more(
    served: Any,
    talk: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    binary: bool,
) -> None:
    monkeypatch.setattr(bounds, "MAX_IN_HAND_OF_ALL", 2 * WEIGHT)
    talks = [await talk(binary=binary) for _ in range(8)]
    for number, one in enumerate(talks):
        await one.send("message_list", queue_name=f"q{number}", **WAIT)
    await until(lambda: served.sockets.room.waiting == 6)
    assert served.core.wakeups.waiters == 2
    assert served.sockets.room.taken < 2 * WEIGHT * 1.1
    assert (await (await talk()).ask("queue_list")).status == 200, "small ones are carried out"
    served.core.wakeups.stop()
    for one in talks:
        assert (await one.reply()).status == 200
    assert served.sockets.room.taken == served.sockets.room.waiting == 0


async def test_who_goes_makes_room_whether_he_was_let_in_or_waited(
    served: Any, talk: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "MAX_IN_HAND_OF_ALL", WEIGHT // 2)
    talks = [await talk() for _ in range(3)]

    def arrived() -> int:
        return int(served.core.wakeups.waiters + served.sockets.room.waiting)

    for number, one in enumerate(talks):
        await one.send("message_list", queue_name=f"q{number}", **WAIT)
        await until(lambda: arrived() == number + 1)  # noqa: B023
    assert served.sockets.room.waiting == 2
    talks[1].connection.transport.abort()
    talks[0].connection.transport.abort()
    await until(lambda: served.sockets.room.waiting == 0)
    served.core.wakeups.stop()
    assert (await talks[2].reply()).status == 200
    await until(lambda: served.sockets.room.taken == 0)


async def test_what_never_began_when_its_connection_ended_takes_no_room(
    served: Any, talk: Callable[..., Any]
) -> None:
    one = await talk()
    await one.send("message_list", queue_name="jobs", wait=20)
    await until(lambda: served.core.wakeups.waiters == 1)
    await one.send("queue_list", filler=FILLER)
    await until(lambda: served.sockets.room.taken > WEIGHT // 2)
    one.connection.transport.abort()
    await until(lambda: served.sockets.room.taken == 0)


async def test_nobody_waits_for_room_for_ever(
    served: Any, talk: Callable[..., Any], dial: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "MAX_IN_HAND_OF_ALL", WEIGHT // 2)
    monkeypatch.setattr(bounds, "ROOM_WITHIN", 0.1)
    first = await talk()
    await first.send("message_list", queue_name="jobs", **WAIT)
    await until(lambda: served.core.wakeups.waiters == 1)
    second = await dial(served.port, sent=frame(request("queue_list", filler=FILLER)))
    assert await second.close_code() == 1013
    assert served.sockets.room.waiting == 0


async def test_what_waits_for_room_unread_has_a_bound_of_its_own(
    served: Any, talk: Callable[..., Any], dial: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "MAX_IN_HAND_OF_ALL", WEIGHT // 2)
    monkeypatch.setattr(bounds, "MAX_UNFINISHED", 250_000)
    first = await talk()
    await first.send("message_list", queue_name="jobs", **WAIT)
    await until(lambda: served.core.wakeups.waiters == 1)
    large = frame(request("queue_list", filler="x" * 100_000))
    waiting = [await dial(served.port, sent=large) for _ in range(2)]
    await until(lambda: served.sockets.room.waiting == 2)
    beyond = await dial(served.port, sent=large)
    assert await beyond.close_code() == 1013
    served.core.wakeups.stop()
    for one in waiting:
        assert b'"status": 200' in (await one.frame())[1]
    assert served.sockets._unfinished_bytes == 0


# Who has not shown who he is


class SlowTokens(Tokens):
    """Needs a moment to know anybody."""

    def __init__(self) -> None:
        super().__init__({"t": MEMBER})
        self.answer = asyncio.Event()

    async def identify(self, credentials: Credentials) -> Verified:
        await self.answer.wait()
        return await super().identify(credentials)


@BINARY
async def test_a_stranger_may_only_send_what_is_small(serve: Any, binary: bool) -> None:
    tokens = SlowTokens()
    served = await serve(identity=tokens)
    async with talking(served.ws, binary=binary) as talk:
        await talk.send("authenticate", TOKEN, filler=FILLER * 4)
        refused = await talk.reply()
        assert refused.status == 403
        assert str(MAX_OF_STRANGERS) in refused.body["exception"]
        assert refused.document["request"]["action"] == "authenticate"
        await talk.send("queue_list", id="by its id", filler=FILLER * 4)
        assert (await talk.reply()).document["request_id"] == "by its id"
        await talk.connection.send(b"?" * 50_000)
        assert (await talk.reply()).status == 403
        tokens.answer.set()
        assert (await talk.ask("authenticate", TOKEN)).status == 200
        assert (await talk.ask("queue_list", filler=FILLER * 4)).status == 200


async def test_what_follows_an_authentication_at_once_waits_for_it(serve: Any) -> None:
    tokens = SlowTokens()
    served = await serve(identity=tokens)
    async with talking(served.ws) as talk:
        await talk.send("authenticate", TOKEN)
        await talk.send("queue_list", filler=FILLER * 4)
        [connection] = served.sockets.open
        await until(lambda: connection._arrivals.waiting_bytes > MAX_OF_STRANGERS)
        assert served.sockets.room.taken == 0
        tokens.answer.set()
        assert [(await talk.reply()).status for _ in range(2)] == [200, 200]


@BINARY
async def test_a_signature_is_enough_for_a_large_post(serve: Any, binary: bool) -> None:
    served = await serve(identity=Tokens({}), core={"sharing": SharingRules(signer=SIGNER)})
    signed = SIGNER.sign(
        paths=("/v2/queues/jobs/messages",),
        methods=("POST",),
        project="acme",
        expires_at=served.core.clock.now() + 60_000,
    )
    shown = {
        "URL-Signature": signed.signature,
        "URL-Expires": signed.expires,
        "URL-Methods": list(signed.methods),
        "URL-Paths": list(signed.paths),
    }
    async with talking(served.ws, binary=binary) as talk:
        post = {"queue_name": "jobs", "messages": [{"body": "x" * 100_000}]}
        forged = shown | {"URL-Signature": "0" * len(signed.signature)}
        for headers in (forged, {}):
            refused = await talk.ask("message_post", headers, **post)
            assert refused.status == 403
            assert str(MAX_OF_STRANGERS) in refused.body["exception"]
        assert (await talk.ask("message_post", shown, **post)).status == 201


def test_a_document_counts_for_its_widest_character() -> None:
    plain, wide = (
        read(json.dumps({"note": "x" * 5_000 + last}).encode(), binary=False)
        for last in ("", "\U0001f600")
    )
    assert wide.weight > 4 * 5_000 > plain.weight

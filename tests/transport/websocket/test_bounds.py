"""What a connection may cost: messages that do not end, who says nothing, what is packed small."""

import asyncio
import json
import zlib
from itertools import pairwise
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from nuska.core import connected
from nuska.domain.quotas import Quota
from nuska.interfaces.identity import Verified
from nuska.testing.raw_websocket import LIST, Raw, request
from nuska.testing.tokens import Tokens
from nuska.testing.websocket_client import Talk, talking
from nuska.testing.websocket_frames import frame, handshake
from nuska.transport.server import bounds
from nuska.transport.websocket import service

SHOWN = {"X-Auth-Token": "t"}


@pytest.fixture
def tokens() -> Tokens:
    return Tokens({"t": Verified(project="acme", roles=frozenset({"member"}))})


@pytest.mark.parametrize(
    "pieces",
    [
        [frame(LIST[:5], fin=False)],
        [frame(LIST[:5], fin=False), *[frame(b"", 0, fin=False)] * 1000],
        [frame(LIST[:5], fin=False), *[frame(b"?", 9)] * 1000],
        [frame(LIST)[:8], *[LIST[at : at + 1] for at in range(3, 100)]],
    ],
    ids=["in silence", "with pieces", "with pings", "byte by byte"],
)
async def test_a_message_that_is_not_finished_in_time_ends_the_connection(
    serve: Any, dial: Any, pieces: list[bytes]
) -> None:
    served = await serve(server={"body_timeout": 0.3})
    raw = await dial(served.port)

    async def send() -> None:
        for piece in pieces:
            raw.writer.write(piece)
            await asyncio.sleep(0.02)

    sending = asyncio.create_task(send())
    assert await raw.close_code() == 1008
    sending.cancel()


async def test_messages_that_follow_each_other_slowly_end_nothing(
    serve: Any, dial: Any, later: Any
) -> None:
    served = await serve(server={"body_timeout": 40.0}, bounds={"ping_interval": 300.0})
    raw = await dial(served.port)
    halves = frame(LIST) + frame(LIST[:9], fin=False), frame(LIST[9:], 0)
    for _ in range(4):
        for piece in halves:
            raw.writer.write(piece)
            await asyncio.sleep(0.05)  # it is read, and the deadlines are looked at
            later(15)
    for _ in range(8):
        opcode, payload = await raw.frame()
        assert opcode == 1
        assert json.loads(payload)["headers"]["status"] == 200


async def test_who_does_not_say_who_it_is_has_little_time(
    serve: Any, tokens: Tokens, dial: Any, later: Any
) -> None:
    served = await serve(identity=tokens, bounds={"websocket_authenticate_timeout": 30.0})
    async with talking(served.ws) as known:
        assert (await known.ask("authenticate", SHOWN)).status == 200
        silent = await dial(served.port)
        later(31)
        assert await silent.close_code() == 4003
        async with talking(served.ws) as stranger:

            async def guess() -> None:
                for seconds in (0, 14, 15, 0):
                    later(seconds)
                    refused = await stranger.ask("authenticate", {"X-Auth-Token": "guess"})
                    assert refused.status == 401
                later(2)
                await stranger.next()

            with pytest.raises(ConnectionClosed) as closed:
                await guess()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4003
        assert (await known.ask("queue_list")).status == 200


async def test_where_nobody_is_asked_a_silent_connection_is_only_idle(
    serve: Any, dial: Any
) -> None:
    served = await serve(bounds={"websocket_authenticate_timeout": 0.1})
    raw = await dial(served.port)
    await asyncio.sleep(0.5)
    raw.writer.write(frame(LIST))
    assert (await raw.frame())[0] == 1


def packed(message: bytes) -> bytes:
    """One frame of ``permessage-deflate``."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = packer.compress(message) + packer.flush(zlib.Z_SYNC_FLUSH)
    return frame(data.removesuffix(b"\0\0\xff\xff"), 0x41)


async def test_what_is_packed_small_is_unpacked_only_as_far_as_there_is_room(
    serve: Any, dial: Any
) -> None:
    served = await serve(bounds={"websocket_compression": True, "max_in_flight": 2})
    raw = await dial(served.port, opened=False)
    raw.writer.write(
        handshake("/v2", Sec_WebSocket_Extensions="permessage-deflate; client_no_context_takeover")
    )
    assert "permessage-deflate" in await raw.head()
    large = request("message_list", queue_name="jobs", wait=20, filler=" " * 300_000)
    number = 200
    sent = packed(large) * number
    assert len(sent) < 150_000, "they fit into one read"
    raw.writer.write(sent)
    [connection] = served.sockets.open
    most = 0
    async with asyncio.timeout(20):
        while served.core.wakeups.waiters < 1:
            most = max(most, connection._arrivals.waiting_bytes)
            await asyncio.sleep(0.001)
    await asyncio.sleep(0.2)
    most = max(most, connection._arrivals.waiting_bytes)
    assert most <= served.sockets.max_message + 1032 * bounds.UNPACKED_AT_ONCE
    assert connection.session.has_in_hand <= 2 * len(large) + 4096
    assert connection._arrivals.packed, "the rest waits as it came"
    served.core.wakeups.stop()
    for _ in range(number):
        assert (await raw.frame())[0] == 1
    assert not connection._arrivals.packed
    assert connection._arrivals.waiting_bytes == connection.session.has_in_hand == 0


BEGUN = [
    (frame(b"x" * 100_000, length=200_000), b"x" * 100_000),
    (frame(b"x" * 100_000, fin=False), frame(b"x", 0)),
]
"""Messages of which the end has not come, and the end."""


async def knows(dial: Any, port: int) -> Raw:
    """Somebody who has said who he is."""
    headers = {**SHOWN, "X-Project-ID": "acme"}
    document = {"action": "authenticate", "headers": headers, "body": {}}
    raw: Raw = await dial(port, sent=frame(json.dumps(document).encode()))
    assert b'"status": 200' in (await raw.frame())[1]
    return raw


async def begin(served: Any, raw: Raw, begun: bytes) -> None:
    """Send it, and wait until it has come."""
    raw.writer.write(begun)
    before = served.sockets._unfinished_bytes
    async with asyncio.timeout(20):
        while served.sockets._unfinished_bytes < before + 100_000:  # noqa: ASYNC110  only counted
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(("begun", "end"), BEGUN, ids=["a frame", "pieces"])
async def test_what_strangers_begin_and_do_not_finish_takes_no_more_than_so_much_memory(
    serve: Any,
    dial: Any,
    tokens: Tokens,
    monkeypatch: pytest.MonkeyPatch,
    begun: bytes,
    end: bytes,
) -> None:
    monkeypatch.setattr(bounds, "MAX_UNFINISHED", 250_000)
    served = await serve(identity=tokens)
    known = await knows(dial, served.port)
    await begin(served, known, begun)
    strangers = [await dial(served.port) for _ in range(3)]
    await begin(served, strangers[0], begun)
    for former, stranger in pairwise(strangers):
        stranger.writer.write(begun)
        assert await former.close_code() == 1013
        assert served.sockets._unfinished_bytes <= 250_000
        former.writer.write(end + frame(b"\x03\xf5", 8))
        await former.ended()
    known.writer.write(end)
    assert (await known.frame())[0] == 1
    strangers[-1].writer.transport.abort()
    async with asyncio.timeout(20):
        while served.sockets._unfinished:  # noqa: ASYNC110  it is only counted
            await asyncio.sleep(0.01)
    assert not served.sockets._unfinished_bytes


async def test_where_all_are_known_who_goes_beyond_that_is_closed(
    serve: Any, dial: Any, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "MAX_UNFINISHED", 150_000)
    served = await serve(identity=tokens)
    begun, end = BEGUN[0]
    first, second = [await knows(dial, served.port) for _ in range(2)]
    await begin(served, first, begun)
    second.writer.write(begun)
    assert await second.close_code() == 1013
    first.writer.write(end)
    assert (await first.frame())[0] == 1


async def all_are_answered(served: Any, talk: Talk, *, filler: Any, at_a_time: int) -> None:
    """Ten requests that wait, of which so many are carried out before the others have room."""
    for number in range(10):
        await talk.send("message_list", id=number, queue_name=f"q{number}", wait=20, filler=filler)
    async with asyncio.timeout(20):
        while served.core.wakeups.waiters < at_a_time:  # noqa: ASYNC110  it is only counted
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    assert served.core.wakeups.waiters == at_a_time
    served.core.wakeups.stop()
    seen = [(await talk.reply()).document["request_id"] for _ in range(10)]
    assert sorted(seen) == list(range(10))


async def test_large_requests_are_carried_out_a_few_at_a_time(
    serve: Any, dial: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "MAX_IN_HAND", 1_000_000)
    served = await serve()
    async with talking(served.ws) as talk:
        await all_are_answered(served, talk, filler="x" * 250_000, at_a_time=3)


@pytest.mark.parametrize("binary", [False, True])
async def test_requests_count_for_what_they_take_in_memory(
    serve: Any, dial: Any, monkeypatch: pytest.MonkeyPatch, binary: bool
) -> None:
    monkeypatch.setattr(bounds, "MAX_IN_HAND", 1_000_000)
    served = await serve()
    async with talking(served.ws, binary=binary) as talk:
        filler = [[] for _ in range(10_000)]  # two bytes each, and more than sixty when read
        await all_are_answered(served, talk, filler=filler, at_a_time=1)


# Options of subscriptions


def subscribe(number: int, size: int) -> dict[str, Any]:
    return {"queue_name": f"q{number}", "options": {"note": "x" * size}}


async def test_the_options_of_a_connection_have_a_limit_in_all(served: Any) -> None:
    async with talking(served.ws) as talk:
        ids = []
        for number in range(2):
            made = await talk.ask("subscription_create", **subscribe(number, 30_000))
            assert made.status == 201
            ids.append(made.body["subscription_id"])
        refused = await talk.ask("subscription_create", **subscribe(2, 30_000))
        assert refused.status == 400
        assert str(connected.MAX_OPTIONS) in refused.body["error"]
        assert (await talk.ask("subscription_create", **subscribe(3, 100))).status == 201
        gone = await talk.ask("subscription_delete", queue_name="q0", subscription_id=ids[0])
        assert gone.status == 204
        assert (await talk.ask("subscription_create", **subscribe(2, 30_000))).status == 201
    async with asyncio.timeout(20):
        while served.core.connected._size:  # noqa: ASYNC110  it is only counted
            await asyncio.sleep(0.01)
    assert not served.core.connected._sizes


async def test_the_options_of_all_connections_have_a_limit_too(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connected, "MAX_OPTIONS_IN_ALL", 50_000)
    async with talking(served.ws) as one, talking(served.ws) as two:
        assert (await one.ask("subscription_create", **subscribe(0, 30_000))).status == 201
        assert (await two.ask("subscription_create", **subscribe(0, 30_000))).status == 503
        assert (await two.ask("subscription_create", **subscribe(0, 100))).status == 201


async def test_the_options_of_one_project_leave_others_room(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connected, "MAX_OPTIONS_OF_PROJECT", 50_000)
    async with (
        talking(served.ws) as one,
        talking(served.ws) as two,
        talking(served.ws, project="other") as other,
    ):
        assert (await one.ask("subscription_create", **subscribe(0, 30_000))).status == 201
        refused = await two.ask("subscription_create", **subscribe(0, 30_000))
        assert refused.status == 503
        assert "this project" in refused.body["error"]
        assert (await other.ask("subscription_create", **subscribe(0, 30_000))).status == 201
    async with asyncio.timeout(20):
        while served.core.connected._size:  # noqa: ASYNC110  it is only counted
            await asyncio.sleep(0.01)
    assert not served.core.connected._of_project


# Projects


async def test_a_connection_counts_for_every_project_that_it_speaks_for(serve: Any) -> None:
    served = await serve(core={"quota": Quota(connections=1)})
    async with talking(served.ws) as one, talking(served.ws, project="b") as two:
        assert (await one.ask("queue_list")).status == 200
        one.headers["X-Project-ID"] = "c"
        assert (await one.ask("queue_list")).status == 200
        assert (await two.ask("queue_list")).status == 200
        for project in ("acme", "c"):
            two.headers["X-Project-ID"] = project
            assert (await two.ask("queue_list")).status == 503
        two.headers["X-Project-ID"] = "b"
        assert (await two.ask("queue_list")).status == 200, "it counts for that one"
    async with asyncio.timeout(20):
        while served.sockets.open:  # noqa: ASYNC110  it is only counted
            await asyncio.sleep(0.01)
    assert not served.sockets.service._of_project


async def test_of_many_projects_the_last_ones_count_and_those_with_a_subscription(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MAX_PROJECTS", 3)
    served = await serve()
    async with talking(served.ws) as talk:
        assert (await talk.ask("subscription_create", queue_name="jobs")).status == 201
        for number in range(10):
            talk.headers["X-Project-ID"] = f"p{number}"
            assert (await talk.ask("queue_list")).status == 200
        assert served.sockets.service._of_project == {"acme": 1, "p8": 1, "p9": 1}

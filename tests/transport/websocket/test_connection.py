"""Connections themselves: handshakes, frames in pieces, pings, bounds, and their ends."""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from nuska.domain.quotas import Quota
from nuska.testing.raw_http import converse
from nuska.testing.raw_websocket import LIST, WITHIN, request
from nuska.testing.websocket_client import CLIENT, talking
from nuska.testing.websocket_frames import frame, handshake
from nuska.testing.writes import Writes
from nuska.transport.server import bounds as server_bounds
from nuska.transport.server import websocket


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN):
        while not condition():  # noqa: ASYNC110  the server tells nobody of this
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("path", ["/", "/v2", "/v2/websocket"])
async def test_the_handshake_succeeds_where_websockets_are(served: Any, path: str) -> None:
    async with talking(f"ws://127.0.0.1:{served.port}{path}?a=b") as talk:
        assert (await talk.ask("queue_list")).status == 200


async def test_other_paths_are_still_http(served: Any) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"ws://127.0.0.1:{served.port}/v2/queues", proxy=None)
    assert refused.value.response.status_code == 400  # the API's own answer: no Client-ID


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec_WebSocket_Key": "short"}, 400),
        ({"Sec_WebSocket_Key": ""}, 400),
        ({"Sec_WebSocket_Version": "8"}, 400),
        ({"Upgrade": "h2c"}, 300),
        ({"Connection": "keep-alive"}, 300),
        ({"Content_Length": "5"}, 300),
    ],
)
async def test_what_is_no_handshake_is_answered_as_http(
    served: Any, headers: dict[str, str], status: int
) -> None:
    talk = await converse("127.0.0.1", served.port, handshake(**headers) + b"hello")
    assert talk.answers[0].status == status
    assert served.sockets.open == set()


async def test_a_page_of_another_site_gets_no_connection(serve: Any) -> None:
    served = await serve()
    served.sockets.admit = lambda headers: headers.get(b"origin") != b"http://evil.example"
    refused = await converse("127.0.0.1", served.port, handshake(Origin="http://evil.example"))
    assert refused.status == 403
    async with talking(served.ws, origin="http://localhost") as talk:
        assert (await talk.ask("queue_list")).status == 200


async def test_frames_may_come_with_the_handshake(served: Any, dial: Any) -> None:
    raw = await dial(served.port, sent=frame(LIST) + frame(LIST))
    for _ in range(2):
        opcode, payload = await raw.frame()
        assert opcode == 1
        assert json.loads(payload)["headers"]["status"] == 200


@pytest.mark.parametrize("opcode", [1, 2], ids=["JSON", "MessagePack"])
async def test_os_collect_config_goes_through_its_sequence_in_raw_frames(
    served: Any, dial: Any, opcode: int
) -> None:
    """Contract websocket-v2 §7: one frame is sent, the next one read is taken for its answer."""
    coding = msgspec.json if opcode == 1 else msgspec.msgpack
    raw = await dial(served.port)

    async def ask(action: str, more: dict[str, str] | None = None, /, **body: Any) -> Any:
        headers = {"Client-ID": CLIENT, "X-Project-ID": "acme", **(more or {})}
        sent = {"action": action, "headers": headers, "body": body}
        raw.writer.write(frame(coding.encode(sent), opcode))
        return await heard()

    async def heard() -> Any:
        found, payload = await raw.frame()
        assert found == opcode
        return coding.decode(payload)

    shown = await ask("authenticate", {"X-Auth-Token": "abc"})
    assert (shown["headers"]["status"], shown["body"]) == (200, {"message": "Authentified."})
    assert (await ask("queue_create", queue_name="config"))["headers"]["status"] == 201
    made = await ask("subscription_create", queue_name="config", ttl=10_000)
    assert made["headers"]["status"] == 201
    popped = await ask("message_delete_many", queue_name="config", pop=1)
    assert (popped["headers"]["status"], popped["body"]) == (200, {"messages": []})
    async with talking(served.ws) as other:
        messages = [{"body": {"deployments": []}, "ttl": 600}]
        await other.ask("message_post", queue_name="config", messages=messages)
    pushed = await heard()
    assert pushed["body"] == {"deployments": []}
    assert "request" not in pushed


async def test_a_conversation_may_be_cut_anywhere(served: Any, dial: Any) -> None:
    whole = frame(LIST) + frame(b"hi", 9) + frame(LIST[:20], fin=False) + frame(LIST[20:], 0)
    for step in (1, 2, 3, 7):
        raw = await dial(served.port)
        for at in range(0, len(whole), step):
            raw.writer.write(whole[at : at + step])
            await raw.writer.drain()
            if step < 3:
                await asyncio.sleep(0)
        opcodes = sorted([(await raw.frame())[0] for _ in range(3)])
        assert opcodes == [1, 1, 10]


async def test_a_connection_that_ends_anywhere_leaves_nothing(served: Any, dial: Any) -> None:
    whole = handshake() + frame(LIST) + frame(LIST, fin=False)
    for at in range(1, len(whole), 11):
        raw = await dial(served.port, opened=False)
        raw.writer.write(whole[:at])
        await raw.writer.drain()
        raw.writer.transport.abort()
    await until(lambda: served.server.open_connections == 0 and not served.sockets.open)
    assert served.server.running_requests == 0


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"\x81\x05hello", 1002),
        (frame(b"", 3), 1002),
        (frame(b"", 0), 1002),
        (b"\xf1" + frame(LIST)[1:], 1002),
        (frame(b"x" * 126, 9), 1002),
        (frame(b"a", fin=False) + frame(b"b"), 1002),
        (frame(b"\x03", 8), 1002),
        (frame(struct.pack("!H", 1005), 8), 1002),
        (frame(struct.pack("!H", 1000) + b"\xff", 8), 1007),
        (frame(b"", length=400_000), 1009),
        (frame(b"", length=2**62), 1009),
        (frame(b"x" * 300_000, fin=False) + frame(b"x" * 100_000, 0), 1009),
        (frame(b"", fin=False) + frame(b"", 0, fin=False) * 5_000, 1009),
        (frame(struct.pack("!H", 1000), 8), 1000),
        (frame(struct.pack("!H", 4999), 8), 4999),
    ],
)
async def test_what_is_no_websocket_is_closed_with_a_reason(
    served: Any, dial: Any, sent: bytes, code: int
) -> None:
    raw = await dial(served.port, sent=sent)
    assert await raw.close_code() == code
    await raw.ended()
    await until(lambda: not served.sockets.open)


async def test_a_message_as_large_as_the_api_allows_may_come_in_many_frames(served: Any) -> None:
    body = "x" * 262_000
    async with talking(served.ws) as talk:
        text = request("message_post", queue_name="jobs", messages=[{"body": body}]).decode()
        await talk.connection.send([text[at : at + 5000] for at in range(0, len(text), 5000)])
        assert (await talk.reply()).status == 201
        listed = await talk.ask("message_list", queue_name="jobs", echo=True)
        assert listed.body["messages"][0]["body"] == body


async def test_pings_are_answered_and_silent_connections_are_pinged(
    serve: Any, dial: Any, later: Any
) -> None:
    served = await serve(bounds={"ping_interval": 10.0, "ping_timeout": 15.0})
    raw = await dial(served.port, sent=frame(b"hi", 9))
    assert await raw.frame() == (10, b"hi")
    [connection] = served.sockets.open
    later(11)
    assert await raw.frame() == (9, b"")
    raw.writer.write(frame(b"", 10))
    await until(lambda: not connection._pinged)
    later(11)
    assert await raw.frame() == (9, b"")
    later(16)
    assert await raw.close_code() == 1011  # that ping was not answered
    raw.writer.close()
    await until(lambda: not served.sockets.open)


async def test_a_client_that_answers_pings_stays(serve: Any, later: Any) -> None:
    served = await serve(bounds={"ping_interval": 10.0, "ping_timeout": 15.0})
    async with talking(served.ws) as talk:
        [connection] = served.sockets.open
        for _ in range(4):
            later(11)
            pinged = asyncio.get_running_loop().time()
            await until(lambda pinged=pinged: connection._heard >= pinged)  # type: ignore[misc]
        assert (await talk.ask("queue_list")).status == 200


async def test_what_comes_after_a_close_is_thrown_away(serve: Any, dial: Any) -> None:
    served = await serve(bounds={"websocket_idle_timeout": 0.1})
    raw = await dial(served.port)
    assert await raw.close_code() == 1001
    [connection] = served.sockets.open
    raw.writer.write(frame(LIST) * 1000)
    await raw.writer.drain()
    await until(lambda: connection._drained > 0)
    assert not connection._arrivals
    assert served.sockets.counters.received == 0


async def test_an_idle_connection_is_closed(serve: Any, dial: Any) -> None:
    served = await serve(bounds={"websocket_idle_timeout": 0.1})
    assert await (await dial(served.port)).close_code() == 1001


async def test_a_client_that_does_not_answer_a_close_is_dropped(serve: Any, dial: Any) -> None:
    served = await serve(bounds={"websocket_idle_timeout": 0.1})
    raw = await dial(served.port)
    assert await raw.close_code() == 1001
    await raw.ended()


async def test_connections_are_limited_in_all_and_by_address(serve: Any) -> None:
    for bound in ("max_websockets", "max_websockets_per_address"):
        served = await serve(bounds={bound: 2})
        async with talking(served.ws) as one, talking(served.ws) as two:
            with pytest.raises(InvalidStatus) as refused:
                await connect(served.ws, proxy=None)
            assert refused.value.response.status_code == 503
            assert (await one.ask("queue_list")).status == 200
            assert (await two.ask("queue_list")).status == 200
        await until(lambda served=served: not served.sockets.open)  # type: ignore[misc]
        async with talking(served.ws) as three:
            assert (await three.ask("queue_list")).status == 200


async def test_a_project_has_so_many_connections_and_no_more(serve: Any) -> None:
    served = await serve(core={"quota": Quota(connections=1)})
    async with talking(served.ws) as one, talking(served.ws, project="other") as other:
        assert (await one.ask("queue_list")).status == 200
        assert (await other.ask("queue_list")).status == 200
        async with talking(served.ws) as two:
            with pytest.raises(ConnectionClosed) as closed:
                await two.ask("queue_list")
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1008
        assert (await one.ask("queue_list")).status == 200
    await until(lambda: not served.sockets.open)
    async with talking(served.ws) as three:
        assert (await three.ask("queue_list")).status == 200


async def test_a_stop_answers_what_has_begun_and_says_that_it_restarts(serve: Any) -> None:
    served = await serve()
    async with talking(served.ws) as idle, talking(served.ws) as waiting:
        await waiting.send("message_list", queue_name="jobs", wait=20)
        await until(lambda: served.core.wakeups.waiters == 1)
        served.server.stop_accepting()
        served.core.wakeups.stop()
        stopping = asyncio.create_task(served.server.stop())
        assert (await waiting.reply()).status == 200
        for talk in (idle, waiting):
            with pytest.raises(ConnectionClosed) as closed:
                await talk.next()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
        await stopping


async def test_a_handshake_that_comes_while_the_server_stops_is_to_be_tried_again(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_bounds, "FIRST_WITHIN", 60.0)
    served = await serve(server={"stop_timeout": 60.0})
    address = urlsplit(served.ws)
    with socket.create_connection((address.hostname, address.port)) as early:
        await until(lambda: served.server.open_connections == 1)
        stopping = asyncio.create_task(served.server.stop())
        await asyncio.sleep(0)
        with pytest.raises(InvalidStatus) as refused:
            await connect(served.ws, sock=early, proxy=None)
        assert refused.value.response.status_code == 503
        assert refused.value.response.headers["retry-after"]
        await stopping


async def test_many_requests_with_ids_go_on_side_by_side(served: Any) -> None:
    async with talking(served.ws) as talk:
        await talk.send("message_list", id="patient", queue_name="jobs", echo=True, wait=20)
        for number in range(300):
            await talk.send("queue_list", id=number)
        seen = {(await talk.reply()).document["request_id"] for _ in range(300)}
        assert seen == set(range(300))
        async with talking(served.ws) as other:
            await other.ask("message_post", queue_name="jobs", messages=[{"body": 1}])
        assert (await talk.reply()).document["request_id"] == "patient"


@pytest.mark.parametrize(("size", "writes"), [(100, 1), (websocket.LARGE, 3)])
async def test_small_replies_leave_together_and_a_large_one_as_soon_as_it_is_made(
    served: Any, dial: Any, size: int, writes: int
) -> None:
    async with talking(served.ws) as talk:
        await talk.ask("message_post", queue_name="jobs", messages=[{"body": "x" * size}])
    await until(lambda: not served.sockets.open)
    raw = await dial(served.port)
    [connection] = served.sockets.open
    recorded = connection.transport = Writes(connection.transport)
    lists = [request("message_list", number, queue_name="jobs", echo=True) for number in range(3)]
    raw.writer.write(b"".join(frame(one) for one in lists))
    replies = [json.loads((await raw.frame())[1]) for _ in range(3)]
    assert len(recorded.written) == writes
    assert [reply["request_id"] for reply in replies] == [0, 1, 2]


async def test_no_more_requests_are_carried_out_at_a_time_than_may_be(serve: Any) -> None:
    served = await serve(bounds={"max_in_flight": 4})
    async with talking(served.ws) as talk:
        for number in range(20):
            await talk.send("message_list", id=number, queue_name=f"q{number}", wait=20)
        await until(lambda: served.core.wakeups.waiters == 4)
        await asyncio.sleep(0.1)
        assert served.core.wakeups.waiters == 4
        async with talking(served.ws) as other:
            other.headers["Client-ID"] = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
            for number in range(20):
                name = f"q{number}"
                await other.ask("message_post", queue_name=name, messages=[{"body": 1}])
        seen = [(await talk.reply()).document["request_id"] for _ in range(20)]
        assert sorted(seen) == list(range(20))


@pytest.mark.parametrize("with_ids", [False, True])
async def test_posts_of_one_connection_are_stored_in_the_order_in_which_they_were_sent(
    served: Any, with_ids: bool
) -> None:
    async with talking(served.ws) as talk:
        for number in range(200):
            id_ = number if with_ids else None
            messages = [{"body": number}]
            await talk.send("message_post", id=id_, queue_name="jobs", messages=messages)
        for _ in range(200):
            assert (await talk.reply()).status == 201
        bodies, marker = [], None
        while True:
            more = {} if marker is None else {"marker": marker}
            page = await talk.ask("message_list", queue_name="jobs", echo=True, limit=20, **more)
            if not page.body["messages"]:
                break
            bodies += [message["body"] for message in page.body["messages"]]
            marker = page.body["marker"]
        assert bodies == list(range(200))


async def test_nothing_is_taken_for_a_connection_that_has_gone(served: Any) -> None:
    async with talking(served.ws) as other:
        for action, body in (
            ("claim_create", {"wait": 20}),
            ("message_delete_many", {"pop": 1, "wait": 20}),
        ):
            async with talking(served.ws) as talk:
                await talk.send(action, queue_name="jobs", **body)
                await until(lambda: served.core.wakeups.waiters == 1)
                talk.connection.transport.abort()
            await until(lambda: served.core.wakeups.waiters == 0)
            await other.ask("message_post", queue_name="jobs", messages=[{"body": 1}])
            stats = (await other.ask("queue_get_stats", queue_name="jobs")).body["messages"]
            assert (stats["free"], stats["claimed"]) == (1, 0)
            await other.ask("queue_delete", queue_name="jobs")


async def test_a_client_that_reads_nothing_is_not_read_from_and_then_dropped(
    serve: Any, dial: Any
) -> None:
    served = await serve(server={"send_timeout": 0.5}, bounds={"max_outbox": 65_536})
    async with talking(served.ws) as talk:
        body = "x" * 200_000
        await talk.ask("message_post", queue_name="jobs", messages=[{"body": body}])
        raw = await dial(served.port)
        ask = frame(request("message_list", queue_name="jobs", echo=True))
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(WITHIN):
                while not raw.writer.transport.is_closing():
                    raw.writer.write(ask * 100)
                    await raw.writer.drain()
        await until(lambda: len(served.sockets.open) == 1)
        assert (await talk.ask("queue_list")).status == 200


async def test_a_storm_of_disconnects_leaves_no_tasks_and_no_connections(served: Any) -> None:
    async def come_and_go(number: int) -> None:
        async with talking(served.ws, binary=bool(number % 2)) as talk:
            await talk.ask("message_post", queue_name="jobs", messages=[{"body": number}])
            await talk.send("claim_create", id=1, queue_name="empty", wait=20)
            await talk.send("message_list", queue_name="empty", wait=20)
            if number % 3:
                talk.connection.transport.abort()

    before = asyncio.all_tasks()
    for _ in range(4):
        await asyncio.gather(*(come_and_go(number) for number in range(50)))
    await until(lambda: asyncio.all_tasks() <= before)
    await until(lambda: served.server.open_connections == 0)
    await until(lambda: served.server.running_requests == 0)
    assert served.core.wakeups.waiters == 0
    assert served.sockets._by_address == {}


async def test_compression_is_spoken_when_it_is_wanted(serve: Any) -> None:
    served = await serve(bounds={"websocket_compression": True})
    for binary in (False, True):
        async with talking(served.ws, compression="deflate", binary=binary) as talk:
            assert [one.name for one in talk.connection.protocol.extensions] == [
                "permessage-deflate"
            ]
            body = "ü" * 10_000
            posted = await talk.ask("message_post", queue_name="jobs", messages=[{"body": body}])
            assert posted.status == 201
            listed = await talk.ask("message_list", queue_name="jobs", echo=True)
            assert listed.body["messages"][0]["body"] == body
    async with talking(served.ws) as talk:
        assert talk.connection.protocol.extensions == []
        assert (await talk.ask("queue_list")).status == 200


async def test_a_small_message_that_is_huge_when_unpacked_is_refused(serve: Any) -> None:
    served = await serve(bounds={"websocket_compression": True})
    async with talking(served.ws, compression="deflate") as talk:
        await talk.connection.send(" " * 50_000_000)
        with pytest.raises(ConnectionClosed) as closed:
            await talk.next()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


async def test_compression_is_off_unless_wanted(served: Any) -> None:
    async with talking(served.ws, compression="deflate") as talk:
        assert talk.connection.protocol.extensions == []

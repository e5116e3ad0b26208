"""The layer below the API: bounds on connections, and requests that nobody should answer."""

import asyncio
import gc
import json
import os
import socket
import uuid
from typing import Any

import pytest

from nuska.testing.raw_http import converse
from nuska.transport.server import bounds, server
from nuska.transport.server.bounds import MAX_HEAD, MAX_PIPELINED
from nuska.transport.server.request_ids import RequestIds
from nuska.transport.server.server import HttpServer

GET = b"GET /thing HTTP/1.1\r\nHost: localhost\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


async def read_body(receive: Any) -> bytes | None:
    """None when the client went away first."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message["body"]
        if not message["more_body"]:
            return body


async def answer(send: Any, body: bytes, status: int = 200) -> None:
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [length]})
    await send({"type": "http.response.body", "body": body})


async def echo(scope: Any, receive: Any, send: Any) -> None:
    body = await read_body(receive)
    if body is not None:
        await answer(send, scope["raw_path"] + b" " + body)


async def nobody_connected(server: HttpServer) -> None:
    await no_more_connected_than(0, server)


async def no_more_connected_than(most: int, server: HttpServer) -> None:
    async with asyncio.timeout(10):
        while server.open_connections > most:  # noqa: ASYNC110  the server tells nobody of this
            await asyncio.sleep(0.01)


async def time_passes(seconds: float, server: HttpServer, later: Any) -> None:
    """And the server looks at its deadlines."""
    later(seconds)
    now = asyncio.get_running_loop().time()
    while server._shared.now < now:  # noqa: ASYNC110  the server tells nobody of this
        await asyncio.sleep(0.01)


async def shout(scope: Any, receive: Any, send: Any) -> None:
    """Answers without reading the body."""
    await answer(send, b"no", 400)


async def test_every_answer_has_a_date_and_an_id_of_its_own(serve: Any) -> None:
    port = (await serve(echo)).port
    talk = await converse("127.0.0.1", port, GET + GET, answers=2)
    assert [found.body for found in talk.answers] == [b"/thing ", b"/thing "]
    ids = {found.headers["x-openstack-request-id"] for found in talk.answers}
    assert len(ids) == 2
    assert all(identity.startswith("req-") and len(identity) == 40 for identity in ids)
    assert all(found.headers["date"].endswith(" GMT") for found in talk.answers)
    assert all(found.headers["x-content-type-options"] == "nosniff" for found in talk.answers)


async def test_the_application_is_told_the_id_that_the_answer_shows(serve: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, scope["nuska.request_id"].encode())

    talk = await converse("127.0.0.1", (await serve(app)).port, GET)
    assert talk.answers[0].headers["x-openstack-request-id"] == talk.answers[0].body.decode()


async def test_an_id_that_the_application_sends_is_not_sent_twice(serve: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"x-openstack-request-id", b"req-mine"), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    port = (await serve(app)).port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(GET)
    head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    assert head.count(b"x-openstack-request-id") == 1


async def test_a_body_may_come_in_chunks(serve: Any) -> None:
    pieces = [CHUNKED, b"5\r\nhel", b"lo\r\n", b"6;a=b\r\n world\r\n0\r\nX-Trailer: 1\r\n\r\n"]
    talk = await converse("127.0.0.1", (await serve(echo)).port, pieces)
    assert talk.answers[0].body == b"/ hello world"


async def test_a_trailer_does_not_become_a_header(serve: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        await answer(send, b",".join(name for name, _ in scope["headers"]))

    pieces = CHUNKED + b"1\r\nx\r\n0\r\nX-Project-Id: other\r\n\r\n"
    talk = await converse("127.0.0.1", (await serve(app)).port, pieces)
    assert talk.answers[0].body == b"host,transfer-encoding"


async def test_an_answer_without_a_length_is_sent_in_chunks(serve: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for piece in (b"one", b"", b"two"):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})

    talk = await converse("127.0.0.1", (await serve(app)).port, GET + GET, answers=2)
    assert [found.body for found in talk.answers] == [b"onetwo", b"onetwo"]


async def test_http_1_0_is_answered_and_closed(serve: Any) -> None:
    request = b"GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    talk = await converse("127.0.0.1", (await serve(echo)).port, request, until_closed=True)
    assert talk.answers[0].body == b"/old "
    assert talk.answers[0].headers["connection"] == "close"


async def test_a_whole_address_in_the_request_line_must_agree_with_host(serve: Any) -> None:
    port = (await serve(echo)).port
    same = b"GET http://localhost/a?b HTTP/1.1\r\nHost: localhost\r\n\r\n"
    other = b"GET http://elsewhere/a HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert (await converse("127.0.0.1", port, same)).answers[0].body == b"/a "
    assert (await converse("127.0.0.1", port, other)).status == 400


async def test_a_request_for_another_protocol_is_answered_as_http(serve: Any) -> None:
    request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n" + GET
    talk = await converse("127.0.0.1", (await serve(echo)).port, request, until_closed=True)
    assert [found.status for found in talk.answers] == [200]


async def test_a_client_that_asks_first_is_told_to_go_on(serve: Any) -> None:
    port = (await serve(echo)).port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    writer.write(head)
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"ok")
    assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
    writer.close()


HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
MALFORMED = {
    "not HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "two lengths that differ": POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "two lengths that agree": POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nab",
    "a length and chunks": POST
    + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and a length": POST
    + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "another coding first": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "another coding": POST + b"Transfer-Encoding: identity\r\n\r\n",
    "chunks in HTTP/1.0": POST.replace(b"1.1", b"1.0")
    + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a negative length": POST + b"Content-Length: -1\r\n\r\n",
    "a signed length": POST + b"Content-Length: +1\r\n\r\na",
    "a bad chunk size": POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a chunk longer than it says": POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
    "a folded header": HEAD + b"X-A: b\r\n c\r\n\r\n",
    "a line feed alone": HEAD + b"X-A: b\nX-C: d\r\n\r\n",
    "a carriage return alone": HEAD + b"X-A: b\rX-C: d\r\n\r\n",
    "a NUL in a value": HEAD + b"X-A: b\0c\r\n\r\n",
    "a space before the colon": HEAD + b"X-A : b\r\n\r\n",
    "two hosts": HEAD + b"Host: b\r\n\r\n",
    "HTTP/2": b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    "HTTP/0.9": b"GET / HTTP/0.9\r\n\r\n",
    "an unknown method": b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target for proxies": b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n",
    "a target that is no path": b"GET thing HTTP/1.1\r\nHost: a\r\n\r\n",
    "a raw letter in the path": "GET /ü HTTP/1.1\r\nHost: a\r\n\r\n".encode(),
}


@pytest.mark.parametrize("request_bytes", MALFORMED.values(), ids=MALFORMED.keys())
async def test_a_malformed_request_is_answered_400_and_the_connection_ends(
    serve: Any, request_bytes: bytes
) -> None:
    served = await serve(echo)
    talk = await converse("127.0.0.1", served.port, request_bytes + GET, until_closed=True)
    assert [found.status for found in talk.answers] == [400]
    [found] = talk.answers
    assert set(json.loads(found.body)) == {"title", "description"}
    assert found.headers["content-type"] == "application/json"
    assert found.headers["connection"] == "close"
    assert found.headers["x-content-type-options"] == "nosniff"
    assert found.headers["x-openstack-request-id"].startswith("req-")
    assert served.server.counters.refusals == {400: 1}


async def test_what_was_asked_before_a_malformed_request_is_still_answered(serve: Any) -> None:
    port = (await serve(echo)).port
    talk = await converse("127.0.0.1", port, GET + GET + b"\0" + GET, until_closed=True)
    assert [found.status for found in talk.answers] == [200, 200, 400]


async def test_a_malformed_body_in_the_line_of_requests_ends_the_line(serve: Any) -> None:
    port = (await serve(echo)).port
    talk = await converse("127.0.0.1", port, GET + CHUNKED + b"zz\r\n" + GET, until_closed=True)
    assert [found.status for found in talk.answers] == [200, 400]


async def test_a_head_as_large_as_it_may_be_is_served(serve: Any) -> None:
    port = (await serve(echo)).port
    filler = b"X-Filler: " + b"a" * (MAX_HEAD - 200) + b"\r\n"
    assert (await converse("127.0.0.1", port, HEAD + filler + b"\r\n")).status == 200


@pytest.mark.parametrize("piece", [1_000, 40_000, 1_000_000])
@pytest.mark.parametrize("ends", [True, False])
async def test_a_head_that_is_too_large_is_answered_431(serve: Any, piece: int, ends: bool) -> None:
    port = (await serve(echo)).port
    large = HEAD + b"X-Filler: " + b"a" * 600_000 + (b"\r\n\r\n" if ends else b"")
    pieces = [large[at : at + piece] for at in range(0, len(large), piece)]
    talk = await converse("127.0.0.1", port, pieces, until_closed=True)
    assert [found.status for found in talk.answers] == [431]


async def test_a_large_body_before_it_does_not_count_as_head(serve: Any) -> None:
    port = (await serve(echo)).port
    body = b"a" * 50_000

    async def pieces() -> Any:
        yield POST + b"Content-Length: %d\r\n\r\n" % len(body) + body + GET[:10]
        await asyncio.sleep(0.05)
        yield GET[10:]

    talk = await converse("127.0.0.1", port, pieces(), answers=2)
    assert [found.status for found in talk.answers] == [200, 200]


async def test_too_many_header_lines_are_answered_431(serve: Any) -> None:
    port = (await serve(echo)).port
    talk = await converse("127.0.0.1", port, HEAD + b"a: b\r\n" * 200 + b"\r\n", until_closed=True)
    assert [found.status for found in talk.answers] == [431]


async def test_a_body_that_is_all_framing_is_refused(serve: Any) -> None:
    port = (await serve(echo)).port
    pieces = [CHUNKED, *[b"1;" + b"x" * 10_000 + b"\r\na\r\n"] * 40]
    talk = await converse("127.0.0.1", port, pieces, until_closed=True)
    assert [found.status for found in talk.answers] == [400]


async def test_endless_trailers_are_refused(serve: Any) -> None:
    port = (await serve(echo)).port
    pieces = [CHUNKED, b"0\r\n", *[b"X-Trailer: " + b"x" * 1_000 + b"\r\n"] * 200]
    talk = await converse("127.0.0.1", port, pieces, until_closed=True)
    assert talk.answers[-1].status in (400, 431)


async def test_a_head_that_does_not_come_is_answered_408(serve: Any) -> None:
    port = (await serve(echo, head_timeout=1.0)).port
    talk = await converse("127.0.0.1", port, HEAD, until_closed=True)
    assert [found.status for found in talk.answers] == [408]


async def test_bytes_now_and_then_do_not_put_the_deadline_off(serve: Any) -> None:
    port = (await serve(echo, head_timeout=1.0)).port

    async def drip() -> Any:
        for byte in HEAD * 10:
            yield bytes([byte])
            await asyncio.sleep(0.05)

    talk = await converse("127.0.0.1", port, drip(), until_closed=True, within=5)
    assert [found.status for found in talk.answers] == [408]


async def test_a_body_that_does_not_come_is_answered_408(serve: Any) -> None:
    port = (await serve(echo, body_timeout=0.2)).port
    talk = await converse(
        "127.0.0.1", port, POST + b"Content-Length: 9\r\n\r\nabc", until_closed=True
    )
    assert [found.status for found in talk.answers] == [408]


async def test_a_handler_may_take_longer_than_any_deadline_of_the_client(
    serve: Any, later: Any
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(3):
            await time_passes(6, served.server, later)
        await answer(send, b"late")

    served = await serve(app, head_timeout=5.0, body_timeout=5.0, idle_timeout=5.0)
    async with asyncio.timeout(60):
        talk = await converse("127.0.0.1", served.port, GET, within=60)
    assert talk.answers[0].body == b"late"


@pytest.mark.parametrize("first", [b"", GET], ids=["new", "used"])
async def test_an_idle_connection_ends_without_a_word(serve: Any, later: Any, first: bytes) -> None:
    served = await serve(echo, head_timeout=5.0, idle_timeout=5.0)
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    async with asyncio.timeout(60):
        while not served.server.open_connections:  # noqa: ASYNC110  the server tells nobody
            await asyncio.sleep(0.01)
        if first:
            writer.write(first)
            await reader.readuntil(b"/thing ")
        later(6)
        assert await reader.read() == b""
    writer.close()


async def test_one_connection_too_many_is_told_so(serve: Any) -> None:
    served = await serve(echo, max_connections=1)
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(GET)
    await reader.readuntil(b"/thing ")
    talk = await converse("127.0.0.1", served.port, GET, until_closed=True)
    assert [found.status for found in talk.answers] == [503]
    assert talk.answers[0].headers["retry-after"] == "1"
    writer.close()
    await nobody_connected(served.server)
    assert (await converse("127.0.0.1", served.port, GET)).status == 200


async def test_more_requests_than_may_wait_in_line_end_the_line_politely(serve: Any) -> None:
    port = (await serve(echo)).port
    talk = await converse("127.0.0.1", port, GET * 500, until_closed=True)
    assert [found.status for found in talk.answers] == [200] * (MAX_PIPELINED + 1)
    assert talk.answers[-1].headers["connection"] == "close"


async def test_an_answer_given_before_the_body_came_can_be_read(serve: Any) -> None:
    port = (await serve(shout)).port
    body = b"a" * 3_000_000
    request = POST + b"Content-Length: %d\r\n\r\n" % len(body) + body + GET
    talk = await converse("127.0.0.1", port, request, answers=2)
    assert [found.status for found in talk.answers] == [400, 400]


async def test_a_body_without_end_is_not_read_for_ever(serve: Any) -> None:
    port = (await serve(shout)).port

    async def endless() -> Any:
        yield POST + b"Content-Length: 99999999999\r\n\r\n"
        while True:
            yield b"a" * 1_000_000

    talk = await converse("127.0.0.1", port, endless(), until_closed=True)
    assert [found.status for found in talk.answers] == [400]


async def test_a_body_that_goes_wrong_after_the_answer_gets_no_second_one(serve: Any) -> None:
    port = (await serve(shout)).port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(CHUNKED)
    await reader.readuntil(b"\r\n\r\nno")
    writer.write(b"zz\r\n")
    assert await reader.read() == b""
    writer.close()


async def test_a_client_is_not_blamed_for_what_the_handler_does_not_read(serve: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(2.5)
        body = await read_body(receive)
        await answer(send, b"%d" % len(body or b""))

    port = (await serve(app, body_timeout=1.0)).port
    request = POST + b"Content-Length: 8000000\r\n\r\n" + b"a" * 8_000_000
    talk = await converse("127.0.0.1", port, request)
    assert talk.answers[0].body == b"8000000"


async def test_a_client_that_does_not_read_is_dropped(serve: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, b"a" * 20_000_000)

    served = await serve(app, send_timeout=0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port, limit=1)
    writer.write(GET)
    await reader.read(1)
    await nobody_connected(served.server)
    writer.close()


async def test_what_a_client_that_has_gone_never_acknowledges_ends_its_connection(
    serve: Any,
) -> None:
    """The system sees to it, for connections on which too little is sent to fill any buffer."""
    served = await serve(echo, send_timeout=17.0)
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(GET)
    await reader.read(1)
    [connection] = served.server._shared.connections
    accepted = connection.transport.get_extra_info("socket")
    assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 17_000
    writer.close()


async def test_of_clients_that_do_not_read_those_that_take_too_much_memory_are_dropped(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, b"a" * 20_000_000)

    monkeypatch.setattr(bounds, "MAX_UNSENT", 50_000_000)
    served = await serve(app)
    writers = []
    for _ in range(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port, limit=1)
        writers.append(writer)
        writer.write(GET)
        await reader.read(1)
    await no_more_connected_than(2, served.server)
    last = (await converse("127.0.0.1", served.port, GET)).answers[0]
    assert len(last.body) == 20_000_000
    for writer in writers:
        writer.transport.abort()


async def test_a_handler_learns_that_its_client_has_gone(serve: Any) -> None:
    learned = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        if (await receive())["type"] == "http.disconnect":
            learned.set()

    port = (await serve(app)).port
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(GET)
    await asyncio.sleep(0.05)
    writer.close()
    await asyncio.wait_for(learned.wait(), 5)


async def test_a_handler_that_fails_is_answered_500_without_its_text(
    serve: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("a secret")

    served = await serve(app)
    talk = await converse("127.0.0.1", served.port, GET, until_closed=True)
    assert [found.status for found in talk.answers] == [500]
    assert b"secret" not in talk.answers[0].body
    [record] = caplog.records
    assert record.request_id == talk.answers[0].headers["x-openstack-request-id"]
    assert served.server.counters.crashes == 1


async def test_a_header_with_a_line_break_never_leaves_the_server(
    serve: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"location", b"/a\r\nset-cookie: b"), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body"})

    talk = await converse("127.0.0.1", (await serve(app)).port, GET, until_closed=True)
    assert [found.status for found in talk.answers] == [500]
    assert "control character" in caplog.text


async def test_a_handler_learns_it_also_when_more_requests_are_in_line(serve: Any) -> None:
    learned = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        if (await receive())["type"] == "http.disconnect":
            learned.set()

    port = (await serve(app)).port
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(GET + GET)
    await asyncio.sleep(0.05)
    writer.close()
    await asyncio.wait_for(learned.wait(), 5)


async def test_a_handler_can_ask_whether_its_client_has_gone(serve: Any) -> None:
    left, found = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert not scope["nuska.gone"]()
        await left.wait()
        if scope["nuska.gone"]():
            found.set()

    port = (await serve(app)).port
    client = socket.create_connection(("127.0.0.1", port))
    client.sendall(GET)
    await asyncio.sleep(0.05)
    client.close()
    left.set()
    await asyncio.wait_for(found.wait(), 5)


async def test_a_request_leaves_nothing_for_the_garbage_collector(serve: Any) -> None:
    port = (await serve(echo)).port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def ask(times: int) -> None:
        for _ in range(times):
            writer.write(GET)
            await reader.readuntil(b"/thing ")

    await ask(10)
    gc.collect()
    gc.disable()
    try:
        await ask(200)
        assert gc.collect() < 100
    finally:
        gc.enable()
        writer.close()


async def test_stopping_finishes_what_has_begun_and_accepts_nothing_new(serve: Any) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        await go_on.wait()
        await answer(send, b"done")

    served = await serve(app, stop_timeout=10)
    talking = asyncio.create_task(converse("127.0.0.1", served.port, GET, until_closed=True))
    await begun.wait()
    served.server.stop_accepting()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", served.port)
    stopping = asyncio.create_task(served.server.stop())
    await asyncio.sleep(0)
    assert not stopping.done()
    go_on.set()
    talk = await talking
    assert [found.body for found in talk.answers] == [b"done"]
    assert talk.answers[0].headers["connection"] == "close"
    await stopping


async def test_stopping_cuts_off_what_does_not_end(
    serve: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "ENDS_WITHIN", 0.2)
    begun = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        await asyncio.Event().wait()

    served = await serve(app, stop_timeout=0.2)
    talking = asyncio.create_task(converse("127.0.0.1", served.port, GET, until_closed=True))
    await begun.wait()
    await served.server.stop()
    assert (await talking).answers == []
    assert "cut off" in caplog.text


def test_request_ids_are_random_uuids_and_never_the_same() -> None:
    ids = RequestIds(os.urandom)
    given = [ids.next() for _ in range(1_000)]
    assert len(set(given)) == len(given)
    for one in given:
        parsed = uuid.UUID(one.removeprefix("req-"))
        assert (parsed.version, parsed.variant) == (4, uuid.RFC_4122)
        assert f"req-{parsed}" == one

"""What nobody should send, sent over real sockets to the real server process.

Each row is the bytes of a request and the status it must get. None gets a 5xx, each answer
explains itself in JSON and has an id, and the server serves on as before.
"""

import asyncio
import json
import urllib.request
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from msgspec import Struct

from nuska.testing.hostile_documents import (
    MALFORMED_JSON,
    WRONG_CLAIMS,
    WRONG_METADATA,
    WRONG_POSTS,
    WRONG_RENEWALS,
    one,
)
from nuska.testing.raw_http import Conversation, converse
from nuska.testing.server_process import ServerProcess

PATIENCE = "1.5"
"""Seconds the server of these tests waits for a head or a body."""
MEMORY_FOR_ALL = 48 * 1024 * 1024
"""Bytes by which the server may have grown when the whole table has been sent three times."""
AT_ONCE = 24

CLIENT = "7c1ff2ed-6b7c-4b0e-a9cd-8f1b8e2dbb11"
PROJECT = "hostile"
QUEUE = "/v2/queues/jobs"
MESSAGES = f"{QUEUE}/messages"
CLAIMS = f"{QUEUE}/claims"
MSGPACK = "application/msgpack"
PATCH_TYPE = "application/openstack-messaging-v2.0-json-patch"

Pieces = Callable[[], AsyncIterator[bytes]]


class Row(Struct, frozen=True):
    name: str
    sent: bytes | Pieces
    status: int
    says_why: bool = True
    """The answer has a body."""


def request(
    method: str,
    target: str | bytes,
    body: bytes | str | None = None,
    version: str = "HTTP/1.1",
    **headers: str | bytes | None,
) -> bytes:
    """A well-formed request but for what is asked; ``None`` leaves a usual header out."""
    given: dict[str, str | bytes | None] = {
        "Host": "localhost",
        "Client_ID": CLIENT,
        "X_Project_Id": PROJECT,
    }
    body = body.encode() if isinstance(body, str) else body
    if body is not None:
        given["Content_Length"] = str(len(body))
        given["Content_Type"] = "application/json"
    given |= headers
    lines = [f"{method} ".encode() + as_bytes(target) + f" {version}".encode()]
    lines += [
        name.replace("_", "-").encode() + b": " + as_bytes(value)
        for name, value in given.items()
        if value is not None
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + (body or b"")


def as_bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def raw(*lines: bytes, body: bytes = b"") -> bytes:
    """A post to the queue with these header lines besides the usual ones, as they are."""
    usual = [b"POST " + MESSAGES.encode() + b" HTTP/1.1", b"Host: localhost"]
    usual += [b"Client-ID: " + CLIENT.encode(), b"X-Project-Id: " + PROJECT.encode()]
    return b"\r\n".join([*usual, *lines]) + b"\r\n\r\n" + body


def post(body: bytes | str, **headers: str | bytes | None) -> bytes:
    return request("POST", MESSAGES, body, **headers)


def slowly(*pieces: bytes, pause: float = 0.2) -> Pieces:
    """The pieces with pauses, and then nothing; the connection stays open."""

    async def send() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece
            await asyncio.sleep(pause)

    return send


CHUNKED = b"Transfer-Encoding: chunked"
GOOD = b'{"messages": [{"body": 1}]}'

NOT_HTTP = [
    Row("a TLS greeting", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 300, 400),
    Row("random bytes", bytes(range(255, 127, -1)) * 4 + b"\r\n\r\n", 400),
    Row("the HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    Row("HTTP/2 as version", request("GET", "/", version="HTTP/2.0"), 400),
    Row("HTTP/1.2", request("GET", "/", version="HTTP/1.2"), 400),
    Row("HTTP/0.9 with a version", request("GET", "/", version="HTTP/0.9"), 400),
    Row("a version of one digit", request("GET", "/", version="HTTP/1"), 400),
    Row("no version at all, then headers", b"GET /\r\nHost: localhost\r\n\r\n", 400),
    Row("lower-case protocol", request("GET", "/", version="http/1.1"), 400),
    Row("lower-case method", request("get", "/"), 400),
    Row("a method that does not exist", request("BREW", "/"), 400),
    Row("a method of 10 000 letters", request("A" * 10_000, "/"), 400),
    Row("a method with a NUL", request("GE\0T", "/"), 400),
    Row("no method", b" / HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    Row("no target", b"GET  HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    Row("a space in the target", request("GET", "/v2/ queues"), 400),
    Row("a raw umlaut in the target", request("GET", "/v2/queues/ü"), 400),
    Row("a NUL in the target", request("GET", b"/v2/queues/a\0b"), 400),
    Row("a control in the target", request("GET", b"/v2/queues/a\x01b"), 400),
    Row("a target without a slash", request("GET", "v2/queues"), 400),
    Row("CONNECT", request("CONNECT", "localhost:80"), 400),
    Row("a target on another host", request("GET", "http://elsewhere/v2/queues"), 400),
    Row("a target of another scheme", request("GET", "ftp://elsewhere/v2/queues"), 400),
]

HEADERS = [
    Row("a NUL in a header's value", raw(b"X-A: b\0c"), 400),
    Row("a NUL in a header's name", raw(b"X\0A: b"), 400),
    Row("a control in a header's value", raw(b"X-A: b\x01c"), 400),
    Row("a DEL in a header's value", raw(b"X-A: b\x7fc"), 400),
    Row("a space in a header's name", raw(b"X A: b"), 400),
    Row("a space before the colon", raw(b"X-A : b"), 400),
    Row("a header without a name", raw(b": b"), 400),
    Row("a header without a colon", raw(b"X-A"), 400),
    Row("a folded header", raw(b"X-A: b\r\n c"), 400),
    Row("a header folded by a tab", raw(b"X-A: b\r\n\tc"), 400),
    Row("a header before the first", b"GET / HTTP/1.1\r\n X: a\r\nHost: localhost\r\n\r\n", 400),
    Row("a line that ends in LF", raw(b"X-A: b\nX-B: c"), 400),
    Row("a line that ends in CR", raw(b"X-A: b\rX-B: c"), 400),
    Row("a request line that ends in LF", b"GET / HTTP/1.1\nHost: localhost\r\n\r\n", 400),
    Row("nothing but LF", b"GET / HTTP/1.1\nHost: localhost\n\n", 400),
    Row("a head that ends in LF", b"GET / HTTP/1.1\r\nHost: localhost\r\n\n", 400),
    Row("two hosts", raw(b"Host: localhost"), 400),
    Row("100 KiB of one header", raw(b"X-A: " + b"a" * 102_400), 431),
    Row("100 KiB of one header's name", raw(b"X" * 102_400 + b": a"), 431),
    Row("a target of 100 KiB", request("GET", "/v2/queues/" + "a" * 102_400), 431),
    Row("a query of 100 KiB", request("GET", "/v2/queues?marker=" + "a" * 102_400), 431),
    Row("5 000 headers", raw(*[b"X-%d: a" % n for n in range(5_000)]), 431),
    Row("200 short headers", raw(*[b"a: b"] * 200), 431),
    Row("10 MB without an end", b"GET / HTTP/1.1\r\nX-A: " + b"a" * 10_000_000, 431),
]

SMUGGLING = [
    Row("two lengths", raw(b"Content-Length: 1", b"Content-Length: 2", body=b"{}"), 400),
    Row("twice the same length", raw(b"Content-Length: 2", b"Content-Length: 2", body=b"{}"), 400),
    Row("a list of lengths", raw(b"Content-Length: 2, 2", body=b"{}"), 400),
    Row("a negative length", raw(b"Content-Length: -1", body=b"{}"), 400),
    Row("a length with a sign", raw(b"Content-Length: +2", body=b"{}"), 400),
    Row("a length in hexadecimal", raw(b"Content-Length: 0x2", body=b"{}"), 400),
    Row("a length with a point", raw(b"Content-Length: 2.0", body=b"{}"), 400),
    Row("a length with a space inside", raw(b"Content-Length: 2 2", body=b"{}"), 400),
    Row("an empty length", raw(b"Content-Length: ", body=b"{}"), 400),
    Row("a length of letters", raw(b"Content-Length: two", body=b"{}"), 400),
    Row("a length beyond 64 bit", raw(b"Content-Length: " + b"9" * 30, body=b"{}"), 400),
    Row("a length of 2^63", raw(b"Content-Length: 9223372036854775808", body=b"{}"), 400),
    Row("length, then chunks", raw(b"Content-Length: 5", CHUNKED, body=b"0\r\n\r\n"), 400),
    Row("chunks, then length", raw(CHUNKED, b"Content-Length: 5", body=b"0\r\n\r\n"), 400),
    Row("chunks twice", raw(CHUNKED, CHUNKED, body=b"0\r\n\r\n"), 400),
    Row("chunks, then identity", raw(b"Transfer-Encoding: chunked, identity"), 400),
    Row("identity, then chunks", raw(b"Transfer-Encoding: identity, chunked"), 400),
    Row("gzip, then chunks", raw(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), 400),
    Row("identity", raw(b"Transfer-Encoding: identity"), 400),
    Row("chunks by another name", raw(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"), 400),
    Row("chunks in quotes", raw(b'Transfer-Encoding: "chunked"', body=b"0\r\n\r\n"), 400),
    Row("chunks after a vertical tab", raw(b"Transfer-Encoding: \x0bchunked"), 400),
    Row("no transfer encoding", raw(b"Transfer-Encoding: "), 400),
    Row("chunks with a space before the colon", raw(b"Transfer-Encoding : chunked"), 400),
    Row("chunks on a folded line", raw(b"Transfer-Encoding:\r\n chunked"), 400),
    Row(
        "chunks in HTTP/1.0",
        request("POST", MESSAGES, version="HTTP/1.0", Transfer_Encoding="chunked") + b"0\r\n\r\n",
        400,
    ),
    Row("a chunk size of letters", raw(CHUNKED, body=b"zz\r\n"), 400),
    Row("a negative chunk size", raw(CHUNKED, body=b"-1\r\n"), 400),
    Row("a chunk size with 0x", raw(CHUNKED, body=b"0x1\r\na\r\n0\r\n\r\n"), 400),
    Row("a chunk size beyond 64 bit", raw(CHUNKED, body=b"f" * 17 + b"\r\n"), 400),
    Row("no chunk size", raw(CHUNKED, body=b"\r\n\r\n"), 400),
    Row("a chunk longer than its size", raw(CHUNKED, body=b"1\r\nab\r\n0\r\n\r\n"), 400),
    Row("a chunk size that ends in LF", raw(CHUNKED, body=b"1\na\n0\n\n"), 400),
    Row("an LF in a chunk extension", raw(CHUNKED, body=b"1;a\nb\r\na\r\n0\r\n\r\n"), 400),
    Row("a length as trailer", raw(CHUNKED, body=b"0\r\nContent-Length: 3\r\n\r\n"), 400),
    Row("a request inside a body", post(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), 400),
    Row("chunks that are all extension", raw(CHUNKED, body=b"1;" + b"x" * 500_000), 400),
    Row(
        "another project's name as trailer",
        raw(CHUNKED, body=b"2\r\n[]\r\n0\r\nX-Project-Id: other\r\n\r\n"),
        400,
    ),
]

CALLERS = [
    Row("no Client-ID", request("GET", "/v2/queues", Client_ID=None), 400),
    Row("an empty Client-ID", request("GET", "/v2/queues", Client_ID=""), 400),
    Row("a Client-ID that is no UUID", request("GET", "/v2/queues", Client_ID="me"), 400),
    Row("a Client-ID of 33 digits", request("GET", "/v2/queues", Client_ID="a" * 33), 400),
    Row("a Client-ID of 20 000 digits", request("GET", "/v2/queues", Client_ID="a" * 20_000), 400),
    Row("a Client-ID that is not ASCII", request("GET", "/v2/queues", Client_ID=b"\xff" * 32), 400),
    Row("a Client-ID of other digits", request("GET", "/v2/queues", Client_ID="٣" * 32), 400),
    Row("no project", request("GET", "/v2/queues", X_Project_Id=None), 400),
    Row("an empty project", request("GET", "/v2/queues", X_Project_Id=""), 400),
    Row("a project of 257 characters", request("GET", QUEUE, X_Project_Id="p" * 257), 400),
    Row("a foreign Host", request("GET", "/v2/queues", Host="evil.example"), 403),
    Row("a foreign Host with a port", request("GET", "/v2/queues", Host="evil.example:80"), 403),
    Row("a Host that starts like ours", request("GET", "/v2/queues", Host="localhost.evil"), 403),
    Row("an empty Host", request("GET", "/v2/queues", Host=""), 403),
    Row("a Host that is a list", request("GET", "/v2/queues", Host="localhost, evil"), 403),
    Row("a Host with a broken bracket", request("GET", "/v2/queues", Host="[::1"), 403),
    Row("a Host of raw bytes", request("GET", "/v2/queues", Host=b"\xff\xfe"), 403),
    Row("a foreign Origin", request("GET", "/v2/queues", Origin="http://evil.example"), 403),
    Row("an Origin of null", request("GET", "/v2/queues", Origin="null"), 403),
    Row("a foreign Host on the version", request("GET", "/", Host="evil.example"), 403),
    Row(
        "a foreign Host on the metrics", request("GET", "/metrics", Host="evil.example"), 403, False
    ),
    Row("a signature nobody can check", request("GET", MESSAGES, URL_Signature="a" * 64), 404),
    Row("an empty signature", request("GET", MESSAGES, URL_Signature=""), 404),
    Row("a form", post("a=b", Content_Type="application/x-www-form-urlencoded"), 400),
    Row("Accept of XML only", request("GET", "/v2/queues", Accept="text/xml"), 406, False),
    Row("Accept of nothing", request("GET", "/v2/queues", Accept="*/*;q=0"), 406, False),
    Row("Accept of rubbish", request("GET", "/v2/queues", Accept=";;;=,,/"), 406, False),
    Row("health for everybody", request("GET", "/v2/health"), 404),
]

ROUTES = [
    Row("a path that is not there", request("GET", "/v3/queues"), 404),
    Row("a path above the root", request("GET", "/v2/../../etc/passwd"), 404),
    Row("an encoded path above the root", request("GET", "/%2e%2e/%2e%2e/etc/passwd"), 404),
    Row("a star", request("GET", "*"), 404),
    Row("two slashes", request("GET", "//evil.example/v2/queues"), 404),
    Row("a queue without a name", request("PUT", "/v2/queues/"), 400),
    Row("an encoded slash in a name", request("PUT", "/v2/queues/a%2Fb"), 404),
    Row("a space in a name", request("PUT", "/v2/queues/a%20b"), 400),
    Row("a newline after a name", request("PUT", "/v2/queues/a%0A"), 400),
    Row("a NUL in a name", request("PUT", "/v2/queues/a%00b"), 400),
    Row("a percent sign in a name", request("PUT", "/v2/queues/a%25b"), 400),
    Row("a broken escape in a name", request("PUT", "/v2/queues/a%zz"), 400),
    Row("broken UTF-8 in a name", request("PUT", "/v2/queues/%ff%fe"), 400),
    Row("an umlaut in a name", request("PUT", "/v2/queues/%C3%BC"), 400),
    Row("a colon in a name", request("PUT", "/v2/queues/a:b"), 400),
    Row("a name of 65 characters", request("PUT", "/v2/queues/" + "a" * 65), 400),
    Row("a name of 20 000 characters", request("PUT", "/v2/queues/" + "a" * 20_000), 400),
    Row("a bad name on a claim", request("POST", "/v2/queues/a%20b/claims"), 400),
    Row("PATCH of messages", request("PATCH", MESSAGES, "[]"), 405),
    Row("PUT of a claim", request("PUT", f"{CLAIMS}/1", "{}"), 405),
    Row("GET of all claims", request("GET", CLAIMS), 405),
    Row("GET of purge", request("GET", f"{QUEUE}/purge"), 405),
    Row("DELETE of all queues", request("DELETE", "/v2/queues"), 405),
    Row("DELETE of the version", request("DELETE", "/"), 405),
    Row("TRACE", request("TRACE", QUEUE), 405),
    Row("PROPFIND", request("PROPFIND", QUEUE), 405),
    Row("M-SEARCH", request("M-SEARCH", QUEUE), 400),
    Row("a message that is not there", request("GET", f"{MESSAGES}/nothing"), 404),
    Row("a message id with a NUL", request("GET", f"{MESSAGES}/a%00b"), 404),
    Row("a message id of 20 000 digits", request("GET", f"{MESSAGES}/" + "a" * 20_000), 404),
    Row("a claim that is not there", request("GET", f"{CLAIMS}/nothing"), 404),
    Row("a claim id of quotes", request("GET", f"{CLAIMS}/'%20OR%20'1'='1"), 404),
    Row("renewing a claim that is not there", request("PATCH", f"{CLAIMS}/nothing", "{}"), 404),
]

LONG = "9" * 40
MANY_IDS = ",".join("a" * 21)
WRONG_QUERIES = {
    ("GET", "/v2/queues"): """
        limit=0 limit=-1 limit=21 limit=a limit=1.5 limit=1e1 limit=%00 limit=%20 limit=1_0
        limit=%D9%A3 detailed=TRUE with_count=2 color=red,blue""",
    ("GET", MESSAGES): """
        limit=0 limit=21 limit=nan limit=0x10 limit=%FF echo=maybe include_claimed=NO
        include_delayed=-1 wait=-1 wait=soon wait=1.5 attributes=2""",
    ("DELETE", MESSAGES): """
        pop=0 pop=-1 pop=21 pop=%20 pop=many pop=1&ids=a ids= ids=,,,""",
    ("POST", CLAIMS): "limit=0 limit=21 limit=x limit=-5 wait=x",
}
QUERIES = [
    *[
        Row(f"{method} {target}?{query}", request(method, f"{target}?{query}"), 400)
        for (method, target), queries in WRONG_QUERIES.items()
        for query in queries.split()
    ],
    Row("a limit of 40 digits", request("GET", f"/v2/queues?limit={LONG}"), 400),
    Row("a wait of minus 40 digits", request("GET", f"{MESSAGES}?wait=-{LONG}"), 400),
    Row("a pop of 40 digits", request("DELETE", f"{MESSAGES}?pop={LONG}"), 400),
    Row("21 ids", request("GET", f"{MESSAGES}?ids={MANY_IDS}"), 400),
    Row("21 ids to delete", request("DELETE", f"{MESSAGES}?ids={MANY_IDS}"), 400),
    Row("a bulk delete of nothing", request("DELETE", MESSAGES), 400),
    Row("a query that is not UTF-8", request("GET", f"{MESSAGES}?marker=%FF%FE&limit=x"), 400),
    Row("10 000 parameters", request("GET", "/v2/queues?" + "&a" * 10_000 + "&limit=x"), 400),
]

WRONG_PATCHES = {
    "nothing": "",
    "an object": "{}",
    "a text": '"a"',
    "an operation that is a number": "[1]",
    "an operation that is empty": "[{}]",
    "an operation nobody knows": '[{"op": "move", "path": "/metadata/a", "value": 1}]',
    "an operation that is a number in op": '[{"op": 1, "path": "/metadata/a", "value": 1}]',
    "no path": '[{"op": "add", "value": 1}]',
    "no value": '[{"op": "add", "path": "/metadata/a"}]',
    "another root": '[{"op": "add", "path": "/data/a", "value": 1}]',
    "a path too deep": '[{"op": "add", "path": "/metadata/a/b", "value": 1}]',
    "a path too short": '[{"op": "add", "path": "/metadata", "value": 1}]',
    "a path that is an array": '[{"op": "add", "path": ["metadata"], "value": 1}]',
    "a value out of range": '[{"op": "add", "path": "/metadata/_default_message_ttl", "value": 1}]',
    "a patch too large": '[{"op": "add", "path": "/metadata/a", "value": "' + "b" * 70_000 + '"}]',
}

WRONG_PURGES = {
    "an array": "[]",
    "no types": '{"types": []}',
    "types of text": '{"resource_types": "messages"}',
    "a type nobody knows": '{"resource_types": ["everything"]}',
    "a type that is a number": '{"resource_types": [1]}',
    "null": '{"resource_types": null}',
    "not JSON": "resource_types",
}

BODIES = [
    *[Row(f"post of {name}", post(body), 400) for name, body in MALFORMED_JSON.items()],
    *[Row(f"post with {name}", post(body), 400) for name, body in WRONG_POSTS.items()],
    *[
        Row(f"queue with metadata: {name}", request("PUT", QUEUE, body), 400)
        for name, body in WRONG_METADATA.items()
    ],
    *[
        Row(f"patch: {name}", request("PATCH", QUEUE, body, Content_Type=PATCH_TYPE), 400)
        for name, body in WRONG_PATCHES.items()
    ],
    *[
        Row(f"claim with {name}", request("POST", CLAIMS, body), 400)
        for name, body in WRONG_CLAIMS.items()
    ],
    *[
        Row(f"renewal with {name}", request("PATCH", f"{CLAIMS}/{'0' * 24}", body), 400)
        for name, body in WRONG_RENEWALS.items()
    ],
    *[
        Row(f"purge of {name}", request("POST", f"{QUEUE}/purge", body), 400)
        for name, body in WRONG_PURGES.items()
    ],
    Row("a patch as plain JSON", request("PATCH", QUEUE, "[]"), 415),
    Row("invalid UTF-8", post(b'{"messages": [{"body": "\xff\xfe"}]}'), 400),
    Row("overlong UTF-8", post(b'{"messages": [{"body": "\xc0\xaf"}]}'), 400),
    Row("UTF-8 of a surrogate", post(b'{"messages": [{"body": "\xed\xa0\x80"}]}'), 400),
    Row("UTF-16", post(one().encode("utf-16")), 400),
    Row("gzip", post(b"\x1f\x8b\x08\x00" + b"\0" * 50, Content_Encoding="gzip"), 400),
    Row("no body", request("POST", MESSAGES), 400),
    Row("an empty chunked body", raw(CHUNKED, body=b"0\r\n\r\n"), 400),
    Row("a body one byte too long", post(GOOD + b" " * (262_145 - len(GOOD))), 400),
    Row("a body of 3 MB", post(b"[" + b"1," * 1_500_000 + b"1]"), 400),
    Row("a body that says 1 TB", raw(b"Content-Length: 1000000000000", body=b"{" * 1000), 400),
    Row("chunks of 1 MB", raw(CHUNKED, body=b"100000\r\n" + b"1" * 0x100000 + b"\r\n"), 400),
    Row(
        "MessagePack with bytes inside",
        post(b"\x81\xa1a\xc4\x01b", Content_Type=MSGPACK),
        400,
    ),
    Row(
        "MessagePack with a number as key",
        post(b"\x81\x01\x01", Content_Type=MSGPACK),
        400,
    ),
    Row("MessagePack that is cut off", post(b"\x81", Content_Type=MSGPACK), 400),
    Row(
        "MessagePack that says 4 GB",
        post(b"\xdd\xff\xff\xff\xff", Content_Type=MSGPACK),
        400,
    ),
    Row(
        "MessagePack of 100 000 arrays",
        post(b"\x91" * 100_000, Content_Type=MSGPACK),
        400,
    ),
    Row("an Idempotency-Key too long", post(GOOD, Idempotency_Key="k" * 300), 400),
    Row("an empty Idempotency-Key", post(GOOD, Idempotency_Key=""), 400),
    Row("an Idempotency-Key of raw bytes", post(GOOD, Idempotency_Key=b"\xff"), 400),
    Row("a share that has ended", request("POST", f"{QUEUE}/share", '{"expires": "1"}'), 400),
    Row("a share of an array", request("POST", f"{QUEUE}/share", "[]"), 400),
]

SLOW = [
    Row("half a request line", slowly(b"GET /v2"), 408),
    Row("a head byte by byte", slowly(*[b"%c" % byte for byte in b"GET /v2/queues HTTP"]), 408),
    Row("a head that never ends", slowly(raw(b"X-A: b")[:-2], *[b"X-A: b\r\n"] * 20), 408),
    Row("a body that does not come", slowly(raw(b"Content-Length: 27")), 408),
    Row("a body byte by byte", slowly(raw(b"Content-Length: 99"), *[b" "] * 30), 408),
    Row("chunks byte by byte", slowly(raw(CHUNKED), *[b"1\r\n \r\n"] * 30), 408),
    Row("trailers without end", slowly(raw(CHUNKED), b"0\r\n", *[b"X-A: b\r\n"] * 30), 408),
]

ROWS = [
    *NOT_HTTP,
    *HEADERS,
    *SMUGGLING,
    *CALLERS,
    *ROUTES,
    *QUERIES,
    *BODIES,
    *SLOW,
]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    impatient = {"NUSKA_HEAD_TIMEOUT": PATIENCE, "NUSKA_BODY_TIMEOUT": PATIENCE}
    with ServerProcess(tmp_path_factory.mktemp("data"), environment=impatient) as server:
        make_the_queue(server)
        yield server


def make_the_queue(server: ServerProcess) -> None:
    """The patches are of a queue that exists: else they would fail for that reason."""
    assert call("PUT", server.url + QUEUE)[0] in (201, 204)


def call(method: str, url: str, body: bytes | None = None) -> tuple[int, bytes]:
    """What a friendly client does."""
    who = {"Client-ID": CLIENT, "X-Project-Id": PROJECT, "Content-Type": "application/json"}
    asked = urllib.request.Request(url, data=body, headers=who, method=method)
    with urllib.request.urlopen(asked, timeout=20) as answer:
        return answer.status, answer.read()


async def send(server: ServerProcess, row: Row) -> Conversation:
    sent = row.sent if isinstance(row.sent, bytes) else row.sent()
    return await converse("127.0.0.1", server.port, sent, within=60)


def faults(row: Row, talk: Conversation) -> list[str]:
    """What is wrong with the answer."""
    if not talk.answers:
        return [f"{row.name}: no answer"]
    found = talk.answers[0]
    wrong = []
    if found.status != row.status:
        wrong.append(f"{row.name}: {found.status} instead of {row.status}: {found.body[:200]!r}")
    if not found.headers.get("x-openstack-request-id", "").startswith("req-"):
        wrong.append(f"{row.name}: no request id")
    if row.says_why:
        try:
            told = json.loads(found.body)
        except ValueError:
            told = {}
        if "title" not in told or not set(told) <= {"title", "description"}:
            wrong.append(f"{row.name}: does not say why: {found.body[:200]!r}")
    return wrong


def test_the_table_is_as_long_as_promised_and_its_names_are_distinct() -> None:
    assert len(ROWS) >= 150
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert all(400 <= row.status < 500 for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_a_hostile_request_gets_its_4xx(target: ServerProcess, row: Row) -> None:
    assert faults(row, await send(target, row)) == []


def test_good_requests_are_served_all_the_same(target: ServerProcess) -> None:
    serves(target)


def serves(server: ServerProcess) -> None:
    """Post, claim and delete one message, as a friendly client."""
    queue = f"{server.url}/v2/queues/friendly-{uuid.uuid4().hex}"
    assert call("POST", f"{queue}/messages", GOOD)[0] == 201
    status, claimed = call("POST", f"{queue}/claims", b"{}")
    assert status == 201
    [message] = json.loads(claimed)["messages"]
    assert call("DELETE", server.url + message["href"])[0] == 204


@pytest.mark.slow
async def test_the_whole_table_at_once_leaves_the_server_as_it_was(tmp_path: Path) -> None:
    impatient = {"NUSKA_HEAD_TIMEOUT": "4", "NUSKA_BODY_TIMEOUT": "4"}
    with ServerProcess(tmp_path, environment=impatient) as server:
        serves(server)
        make_the_queue(server)
        at_first = server.resident_bytes
        free = asyncio.Semaphore(AT_ONCE)

        async def one_row(row: Row) -> list[str]:
            async with free:
                return faults(row, await send(server, row))

        quick = [row for row in ROWS if row not in SLOW]
        for _ in range(3):
            wrong = await asyncio.gather(*(one_row(row) for row in quick))
            assert [fault for faults_of_one in wrong for fault in faults_of_one] == []
        serves(server)
        assert server.resident_bytes - at_first < MEMORY_FOR_ALL
        assert "unexpected" not in server.output
        metrics = call("GET", f"{server.url}/metrics")[1].decode()
        assert "nuska_request_crashes_total 0.0" in metrics
        assert 'status="5' not in metrics
        assert server.terminate() == 0

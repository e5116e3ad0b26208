"""The ceiling: an ASGI handler with no framework, no store and no checks.

It reads the body, decodes it with the same decoder library and answers 201 with a body of the
size a post's answer has. What Nuska's POST costs beyond this is Nuska's. It refuses nothing and
keeps nothing; the store-less rate it shows is a yardstick, never a competitor.
"""

import argparse
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import uvicorn

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_PREFIX = "/v2/queues/jobs/messages/"
_ID = "0123456789abcdef01234567"


class _Message(msgspec.Struct):
    body: msgspec.Raw
    ttl: int = 3600


class _Post(msgspec.Struct):
    messages: list[_Message]


_decoder = msgspec.json.Decoder(_Post)
_encoder = msgspec.json.Encoder()


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Decode the body, whatever the path, and answer one href for each message."""
    if scope["type"] != "http":
        return
    event = await receive()
    body = event["body"]
    while event["more_body"]:
        event = await receive()
        body += event["body"]
    posted = _decoder.decode(body) if body else _Post([])
    answer = _encoder.encode({"resources": [_PREFIX + _ID for _ in posted.messages]})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(answer)).encode()),
    ]
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


def main() -> None:
    """Serve on a port of the loopback interface until SIGTERM."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--port", type=int, required=True)
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=options.parse_args().port,
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()

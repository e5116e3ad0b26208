"""Brings a store to the state that a phase measures: by the API, or straight through the driver.

Only the harness fills this way; nothing that is timed goes through here.
"""

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.wire import PRODUCER, Connection, Refused, request
from nuska.domain.messages import NewMessage
from nuska.domain.moments import Moment, seconds
from nuska.drivers import STORE_DRIVERS
from nuska.interfaces.storage import Store, StoreOptions

BODY = {"job": 17, "kind": "resize", "path": "/in/a.png"}
TTL = 36_000
"""Seconds: longer than any run."""
BATCH = 100
AT_ONCE = 500
"""Calls of a driver under way while filling."""
_WINDOW = 8
"""Requests in flight while filling by the API."""


def by_api(port: int, queue: str, count: int, *, batch: int = BATCH, ttl: int = TTL) -> float:
    """Post ``count`` messages, ``batch`` a request (none if negative); seconds it took."""
    whole, rest = divmod(max(0, count), batch)
    path = f"/v2/queues/{queue}/messages"
    sizes = [batch] * whole + ([rest] if rest else [])
    ready = {size: request("POST", path, _document(size, ttl), client=PRODUCER) for size in sizes}
    began = time.perf_counter()
    with ExitStack() as stack:
        connections = [stack.enter_context(Connection(port)) for _ in range(_WINDOW)]
        for index in range(0, len(sizes), _WINDOW):
            used = list(zip(connections, sizes[index : index + _WINDOW], strict=False))
            for connection, size in used:
                connection.send(ready[size])
            for connection, _size in used:
                answer = connection.receive()
                if answer.status != 201:
                    raise Refused(f"{path}: {answer.status} {answer.body[:500]!r}")
    return time.perf_counter() - began


def _document(size: int, ttl: int) -> dict[str, Any]:
    return {"messages": [{"ttl": ttl, "body": BODY}] * size}


def in_store(data: Path, fill: Callable[[Store], Awaitable[None]]) -> None:
    """Open the durable store under ``data``, let ``fill`` work on it, close it."""
    data.mkdir(parents=True, exist_ok=True)
    uvloop.run(in_store_at("sqlite:", fill, data=data))


async def in_store_at(url: str, fill: Callable[[Store], Awaitable[None]], *, data: Path) -> None:
    """The same with the store at ``url``."""
    module, _, function = STORE_DRIVERS[url.partition(":")[0]].partition(":")
    options = StoreOptions(url=url, data_dir=str(data), now=wall_clock(), random_bytes=os.urandom)
    store: Store = await getattr(import_module(module), function)(options)
    try:
        await fill(store)
    finally:
        await store.close()


def small(*, delay: int = 0) -> NewMessage:
    """The same message for a store; ``delay`` in seconds."""
    return NewMessage(body=json.dumps(BODY).encode(), ttl=seconds(TTL), delay=seconds(delay))


def wall_clock() -> Moment:
    """Now, as a store counts it."""
    return Moment(time.time_ns() // 1_000_000)


async def together(calls: Iterator[Awaitable[object]], *, at_once: int = AT_ONCE) -> None:
    """Await all ``calls``, ``at_once`` at a time, so that the store can group them."""
    while group := list(islice(calls, at_once)):
        await asyncio.gather(*group)

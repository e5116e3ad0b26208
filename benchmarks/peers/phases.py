"""Posts, claims and deletes, one phase after the other, each on the clock by itself."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from benchmarks.peers.peer import Peer

CLAIM_SIZE = 20
"""Jobs of one claim: as many as the API gives at once unless told otherwise."""
PHASE_LIMIT = 300.0
"""Seconds for one phase."""


class Rates(NamedTuple):
    """Jobs a second."""

    posts: float
    claims: float
    deletes: float


async def measure(peer: Peer, jobs: int) -> Rates:
    """Carry ``jobs`` through once."""
    numbers = iter(range(jobs))

    async def post() -> None:
        for number in numbers:
            await peer.post(number)

    claimed: deque[list[Any]] = deque()
    count = 0

    everything = asyncio.Event()

    async def claim() -> None:
        nonlocal count
        while count < jobs:
            if together := await peer.claim(CLAIM_SIZE):
                count += len(together)
                claimed.append(together)
        everything.set()

    async def claim_all() -> None:
        """Who still waits for more when there is no more is not waited for."""
        claimers = [asyncio.create_task(claim()) for _ in range(peer.claimers)]
        over = asyncio.create_task(everything.wait())
        await asyncio.wait([over, *claimers], return_when=asyncio.FIRST_COMPLETED)
        for task in (over, *claimers):
            task.cancel()
        ended = await asyncio.gather(*claimers, return_exceptions=True)
        for failure in ended:
            if isinstance(failure, Exception):
                raise failure

    async def delete() -> None:
        while claimed:
            await peer.delete(claimed.popleft())  # in the order of the claims

    async def delete_all() -> None:
        await at_once(peer.in_flight, delete)
        await peer.settled()

    posts = await timed(at_once(peer.in_flight, post))
    claims = await timed(claim_all())
    if count != jobs:
        raise RuntimeError(f"{peer.name} handed out {count} of {jobs} jobs")
    deletes = await timed(delete_all())
    return Rates(jobs / posts, jobs / claims, jobs / deletes)


async def at_once(count: int, work: Callable[[], Awaitable[None]]) -> None:
    await asyncio.gather(*(work() for _ in range(count)))


async def timed(work: Awaitable[None]) -> float:
    """Seconds that ``work`` took."""
    began = time.perf_counter()
    async with asyncio.timeout(PHASE_LIMIT):
        await work
    return time.perf_counter() - began

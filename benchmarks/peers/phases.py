"""Posts, claims and deletes, one phase after the other, each on the clock by itself."""

import asyncio
import time
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

    claimed: list[Any] = []

    async def claim() -> None:
        while len(claimed) < jobs:
            claimed.extend(await peer.claim(CLAIM_SIZE))

    async def delete() -> None:
        while claimed:
            await peer.delete(claimed.pop())

    async def delete_all() -> None:
        await together(peer.in_flight, delete)
        await peer.settled()

    posts = await timed(together(peer.in_flight, post))
    claims = await timed(together(peer.claimers, claim))
    if len(claimed) != jobs:
        raise RuntimeError(f"{peer.name} handed out {len(claimed)} of {jobs} jobs")
    deletes = await timed(delete_all())
    return Rates(jobs / posts, jobs / claims, jobs / deletes)


async def together(count: int, work: Callable[[], Awaitable[None]]) -> None:
    await asyncio.gather(*(work() for _ in range(count)))


async def timed(work: Awaitable[None]) -> float:
    """Seconds that ``work`` took."""
    began = time.perf_counter()
    async with asyncio.timeout(PHASE_LIMIT):
        await work
    return time.perf_counter() - began

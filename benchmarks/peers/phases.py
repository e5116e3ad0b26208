"""Posts, claims and deletes, one phase after the other, each on the clock by itself."""

import asyncio
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from benchmarks.peers.peer import Claimed, Peer
from benchmarks.processes import busy_seconds, cpu_seconds

CLAIM_SIZE = 20
"""Jobs of one claim: as many as the API gives at once unless told otherwise."""
PHASE_LIMIT = 300.0
"""Seconds for one phase."""


class Spent(NamedTuple):
    """What a phase took, in seconds."""

    time: float
    client: float
    """Of CPU, in the process that is producer and worker."""
    broker: float
    """Of CPU, in the broker's processes."""
    others: float
    """Of CPU, in everything else on the machine."""

    @property
    def noise(self) -> float:
        """Cores that others used."""
        return self.others / self.time


class Round(NamedTuple):
    """One carrying of jobs from one end to the other."""

    jobs: int
    posts: Spent
    claims: Spent
    deletes: Spent

    def rate(self, phase: str) -> float:
        """Jobs a second."""
        spent: Spent = getattr(self, phase)
        return self.jobs / spent.time


PHASES = ("posts", "claims", "deletes")


async def measure(peer: Peer, jobs: int) -> Round:
    """Carry ``jobs`` through once."""
    numbers = iter(range(jobs))

    async def post() -> None:
        for number in numbers:
            await peer.post(number)

    claimed: deque[list[Claimed]] = deque()
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

    posts = await spent(peer, at_once(peer.in_flight, post))
    claims = await spent(peer, claim_all())
    handed_out = {one.job["job"] for together in claimed for one in together}
    if count != jobs or len(handed_out) != jobs:
        raise RuntimeError(
            f"{peer.name} handed out {len(handed_out)} of {jobs} jobs, {count} times"
        )
    deletes = await spent(peer, delete_all())
    return Round(jobs, posts, claims, deletes)


async def at_once(count: int, work: Callable[[], Awaitable[None]]) -> None:
    await asyncio.gather(*(work() for _ in range(count)))


async def spent(peer: Peer, work: Awaitable[None]) -> Spent:
    """What ``work`` took."""
    before = _clocks(peer)
    async with asyncio.timeout(PHASE_LIMIT):
        await work
    now, client, broker, busy = (
        after - earlier for after, earlier in zip(_clocks(peer), before, strict=True)
    )
    return Spent(now, client, broker, max(0.0, busy - client - broker))


def _clocks(peer: Peer) -> tuple[float, float, float, float]:
    used = cpu_seconds(peer.pids()), busy_seconds()
    return time.perf_counter(), cpu_seconds([os.getpid()]), *used

"""A long poll on one node wakes for what another node posts, heard or not (D13).

Subclass ``WakeupConformance`` and provide the fixture ``url`` of a store that several nodes may
open; ``nodes`` are two whole services on it. What else can go wrong with a store's way of
carrying hints is tested beside it, with the functions here.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from nuska.assembly import Service, assembled
from nuska.core.claims import ClaimTerms
from nuska.core.messages import Draft
from nuska.core.waiting import Patience
from nuska.domain.messages import QueueRef
from nuska.interfaces.identity import Caller
from nuska.settings import Settings

CALLER = Caller(project="acme", client=b"c" * 16)
PATIENCE = 20.0
"""Seconds after which a poll that nobody woke would end."""
QUICKLY = 1.0
"""Seconds; a hint takes a millisecond or two."""
Found = tuple[list[bytes], float]
"""What a long poll got, and when."""


async def until_heard(nodes: list[Service]) -> None:
    """Each hears the other: queues of names that do not matter are told until it is so."""
    for speaker, listener in (nodes, nodes[::-1]):
        ref = QueueRef("acme", "are you there")
        with listener.core.wakeups.waiting(ref, taker=True) as waiter:
            async with asyncio.timeout(PATIENCE):
                await waiter.wait(0.5)  # whoever begins to listen is woken once without reason
                woken = False
                while not woken:
                    speaker.core.announcing.wake(ref, 1)
                    woken = await waiter.wait(0.1)


async def post(node: Service, body: bytes, queue: str = "inbox") -> None:
    await node.core.messages.post(CALLER, queue, [Draft(body=body)])


async def popping(node: Service, queue: str = "inbox") -> Found:
    """What a long poll gets, and when."""
    found = await node.core.messages.pop(CALLER, queue, 1, patience=Patience(PATIENCE))
    return [message.body for message in found], time.monotonic()


async def waits(node: Service, queue: str = "inbox") -> asyncio.Task[Found]:
    """A long poll that has begun to wait."""
    polling = asyncio.create_task(popping(node, queue))
    async with asyncio.timeout(PATIENCE):
        while not node.core.wakeups.waiters:  # noqa: ASYNC110  it is only counted
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)  # its first look, which finds nothing
    return polling


class WakeupConformance:
    wakes_within = QUICKLY
    """Seconds; more for a store that carries no hints, where everybody looks for himself."""

    @pytest.fixture
    async def nodes(self, url: str, tmp_path: Path) -> AsyncIterator[list[Service]]:
        """Two whole services on one store that hear each other."""
        settings = Settings(listen="127.0.0.1:0", store=url, metrics="off")
        async with AsyncExitStack() as stack:
            services = [
                await stack.enter_async_context(assembled(settings, tmp_path)) for _ in "ab"
            ]
            await until_heard(services)
            yield services

    async def test_a_long_poll_wakes_for_what_another_node_posts(
        self, nodes: list[Service]
    ) -> None:
        for poster, waiter in (nodes, nodes[::-1]):
            polling = await waits(waiter)
            began = time.monotonic()
            await post(poster, b'"hello"')
            found, at = await polling
            assert found == [b'"hello"']
            assert at - began < self.wakes_within

    async def test_a_long_poll_wakes_for_what_another_node_releases(
        self, nodes: list[Service]
    ) -> None:
        poster, waiter = nodes
        await post(poster, b'"hello"')
        taken = await poster.core.claims.create(CALLER, "inbox", ClaimTerms(ttl=60))
        assert taken is not None
        polling = await waits(waiter)
        began = time.monotonic()
        await poster.core.claims.release(CALLER, "inbox", taken.id)
        found, at = await polling
        assert found == [b'"hello"']
        assert at - began < self.wakes_within

"""A receiver that notes what it is told, and the means to wait until all has been told."""

import asyncio
from collections.abc import Sequence

from nuska.core import Core, build_core
from nuska.core.live import Announced, Ending, Gap, Listening, Live, LiveBounds
from nuska.domain.filters import parse_filter
from nuska.domain.markers import Marker
from nuska.domain.messages import NewMessage, QueueRef
from nuska.domain.moments import Duration, seconds
from nuska.interfaces.clock import Clock
from nuska.interfaces.storage import Store
from nuska.testing.clock import seeded_bytes

WITHIN = 10.0
"""Seconds for what takes milliseconds."""


class Ear:
    """Implements ``Receiver``."""

    def __init__(self) -> None:
        self.heard: list[Announced] = []
        self.gaps: list[Gap] = []
        self.ended: Ending | None = None
        self.calls = 0
        self.something = asyncio.Event()
        """Set anew with everything that comes."""

    def take(self, batch: Sequence[Announced]) -> None:
        self.calls += 1
        self.heard += batch
        self.something.set()

    def gap(self, gap: Gap) -> None:
        self.gaps.append(gap)
        self.something.set()

    def end(self, ending: Ending) -> None:
        self.ended = ending
        self.something.set()

    @property
    def bodies(self) -> list[str]:
        return [item.message.body.decode().strip('"') for item in self.heard]

    async def until(self, count: int) -> list[str]:
        """The bodies of the first so many messages, as soon as there are as many."""
        async with asyncio.timeout(WITHIN):
            while len(self.heard) < count:
                self.something.clear()
                await self.something.wait()
        return self.bodies


class LiveBench:
    """A core on an open store, as one node of several perhaps."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        bounds: LiveBounds | None = None,
        core: Core | None = None,
    ) -> None:
        self.store = store
        self.clock = clock
        self.core = core or build_core(
            store=store, clock=clock, random_bytes=seeded_bytes(), live=bounds
        )

    @property
    def live(self) -> Live:
        return self.core.live

    async def listen(
        self,
        *queues: QueueRef,
        after: Marker | dict[QueueRef, Marker] | None = None,
        wanted: object = None,
        ear: Ear | None = None,
    ) -> tuple[Ear, Listening]:
        """One more listener, who has begun."""
        ear = Ear() if ear is None else ear
        markers = dict.fromkeys(queues, after) if isinstance(after, Marker) else after
        listening = await self.live.listen(
            queues[0].project, queues, ear, after=markers, wanted=parse_filter(wanted)
        )
        listening.go_on()
        return ear, listening

    async def post(self, queue: QueueRef, *bodies: str, delay: int = 0, ttl: int = 3600) -> None:
        messages = [
            NewMessage(body=f'"{body}"'.encode(), ttl=seconds(ttl), delay=Duration(delay * 1000))
            for body in bodies
        ]
        await self.store.messages.add(queue, messages, now=self.clock.now())
        self.core.announcing.wake(queue, len(bodies))

    async def settled(self) -> None:
        """Until everybody has been told of what there is to tell at this moment."""
        async with asyncio.timeout(WITHIN):
            for reader in list(self.live.readers.values()):
                before = reader.turns
                reader.poke()
                while reader.turns == before or not reader.idle:  # noqa: ASYNC110  # tells nobody
                    await asyncio.sleep(0)

"""Whoever comes back gets what he missed once, or is told of a gap (I21): random walks.

One client listens to one queue through two nodes of one store. It disconnects anywhere, also in the
middle of what it was handed, comes back to either node, falls behind, and time passes.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nuska.core import build_core
from nuska.core.live import Gap, Listening, LiveBounds
from nuska.domain.limits import Limits
from nuska.domain.markers import Marker, parse_live_marker
from nuska.domain.messages import Message, QueueRef
from nuska.stores.memory.store import MemoryStore
from nuska.testing.clock import ManualClock, seeded_bytes
from nuska.testing.live import Ear, LiveBench

JOBS = QueueRef("acme", "jobs")
LONGEST_DELAY = 30
KEPT_LONG = LiveBounds(live_kept=86_400)
KEPT_SHORT = LiveBounds(live_kept=20, live_kept_messages=1_000)
TTL = 1_000_000
EXAMPLES = 60

Step = tuple[Any, ...]
STEPS = st.one_of(
    st.tuples(st.just("away"), st.integers(0, 3), st.sampled_from([1, 40]), st.booleans()),
    st.tuples(st.just("pause"), st.sampled_from([1, 6, 40])),
    st.tuples(st.just("post"), st.integers(1, 5), st.sampled_from([0, 0, 0, 5, 5, 30])),
    st.tuples(st.just("flood"), st.sampled_from([100, 1_200])),
    st.tuples(st.just("pass"), st.sampled_from([0.001, 1, 6, 40])),
    st.tuples(st.just("settle")),
    st.tuples(st.just("connect"), st.integers(0, 1)),
    st.tuples(st.just("drop"), st.integers(0, 5)),
    st.tuples(st.just("hold")),
    st.tuples(st.just("go on")),
    st.tuples(st.just("restart"), st.integers(0, 1)),
    st.tuples(st.just("tend")),
)


class Client:
    """What it has dealt with, and from where it goes on."""

    def __init__(self) -> None:
        self.told: list[Message] = []
        self.gaps: list[Gap] = []
        self.marker: str | None = None
        self.ear = Ear()
        self.listening: Listening | None = None

    def disconnect(self, unread: int = 0) -> None:
        """The last so many messages never reached it."""
        if self.listening is None:
            return
        if not self.listening.closed:
            self.marker = str(self.listening.marker(JOBS))
            self.listening.close()
        heard = self.ear.heard
        dealt_with = heard[: max(0, len(heard) - unread)]
        if dealt_with and len(dealt_with) < len(heard):
            self.marker = str(dealt_with[-1].marker)
        elif heard and not dealt_with:
            self.marker = self.began_at
            self.ear.gaps = []
        self.told += [item.message for item in dealt_with]
        self.gaps += self.ear.gaps
        self.listening, self.ear = None, Ear()

    async def connect(self, node: LiveBench) -> None:
        if self.listening is not None:
            self.disconnect()
        after = None if self.marker is None else parse_live_marker(self.marker)
        assert self.marker is None or str(after) == self.marker
        self.ear, self.listening = await node.listen(JOBS, after=after)
        self.began_at = str(self.listening.marker(JOBS))


class Walk:
    def __init__(self, bounds: LiveBounds) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(now=self.clock.now(), random_bytes=seeded_bytes())
        self.bounds = bounds
        self.nodes = [self.node(), self.node()]
        self.client = Client()
        self.posted = 0

    def node(self) -> LiveBench:
        core = build_core(
            store=self.store,
            clock=self.clock,
            random_bytes=seeded_bytes(),
            limits=Limits(max_message_delay=LONGEST_DELAY),
            live=self.bounds,
        )
        return LiveBench(self.store, self.clock, core=core)

    async def settle(self) -> None:
        for node in self.nodes:
            await node.settled()

    async def post(self, count: int, delay: int = 0) -> None:
        bodies = [str(number) for number in range(self.posted, self.posted + count)]
        self.posted += count
        await self.nodes[0].post(JOBS, *bodies, delay=delay, ttl=TTL)

    async def take(self, step: Step) -> None:
        client = self.client
        match step:
            case ("post", count, delay):
                await self.post(count, delay)
            case ("flood", count):
                await self.post(count)
            case ("pass", seconds):
                self.clock.advance(seconds=seconds)
            case ("settle",):
                await self.settle()
            case ("connect", number):
                await client.connect(self.nodes[number])
            case ("drop", unread):
                client.disconnect(unread)
            case ("away", unread, seconds, comes_back):
                client.disconnect(unread)
                await self.post(3, 5)
                self.clock.advance(seconds=seconds)
                await self.take(("tend",))
                if comes_back:
                    await client.connect(self.nodes[0])
            case ("pause", seconds):
                await self.post(2, 5)
                await self.settle()
                await self.take(("hold",))
                self.clock.advance(seconds=seconds)
                await self.settle()
                await self.post(2)
                await self.take(("tend",))
                await self.take(("go on",))
            case ("hold",):
                if client.listening is not None:
                    client.listening.hold()
            case ("go on",):
                if client.listening is not None:
                    client.listening.go_on()
            case ("restart", number):
                if client.listening in self.nodes[number].live.listenings:
                    client.disconnect()
                await self.nodes[number].live.stop()
                self.nodes[number] = self.node()
            case ("tend",):
                for node in self.nodes:
                    for reader in node.live.readers.values():
                        reader.tend_soon()
                await self.settle()

    async def walk(self, steps: list[tuple[Step, bool]]) -> Client:
        try:
            await self.client.connect(self.nodes[0])
            for step, settles in steps:
                await self.take(step)
                if settles:
                    await self.settle()
            await self.client.connect(self.nodes[1])
            await self.settle()
            for _ in range(3):
                self.clock.advance(seconds=15)
                await self.settle()
            self.client.disconnect()
            return self.client
        finally:
            for node in self.nodes:
                await node.live.stop()


def _missing(client: Client, posted: int) -> list[int]:
    told = [int(message.body.strip(b'"')) for message in client.told]
    assert len(set(told)) == len(told), "told twice"
    plain = [m.position for m in client.told if m.available_at == m.created_at]
    assert plain == sorted(plain), "out of order"
    return sorted(set(range(posted)) - set(told))


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(STEPS, st.booleans()), max_size=25))
def test_nothing_is_missed_or_told_twice_while_the_log_is_kept(
    steps: list[tuple[Step, bool]],
) -> None:
    async def run() -> None:
        walk = Walk(KEPT_LONG)
        client = await walk.walk(steps)
        assert client.gaps == []
        assert _missing(client, walk.posted) == []

    asyncio.run(run())


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(STEPS, st.booleans()), max_size=25))
def test_what_is_missed_lies_in_a_gap_that_was_declared(steps: list[tuple[Step, bool]]) -> None:
    async def run() -> None:
        walk = Walk(KEPT_SHORT)
        seen: dict[int, Message] = {}
        remember(walk.store, seen)
        client = await walk.walk(steps)
        for number in _missing(client, walk.posted):
            assert any(_covers(gap, seen[number]) for gap in client.gaps), number

    asyncio.run(run())


def remember(store: MemoryStore, seen: dict[int, Message]) -> None:
    """Note where everything that is posted stands."""
    add: Callable[..., Any] = store.messages.add

    async def adding(queue: QueueRef, messages: Any, **more: Any) -> Any:
        added = await add(queue, messages, **more)
        for message in await store.messages.get(queue, added.ids, now=more["now"]):
            seen[int(message.body.strip(b'"'))] = message
        return added

    store.messages.add = adding  # type: ignore[method-assign]


def _covers(gap: Gap, message: Message) -> bool:
    after, marker = gap.after, gap.marker
    if after.position < message.position <= marker.position:
        return True
    late = message.available_at, message.position
    return (
        message.available_at > message.created_at
        and message.position <= marker.position
        and (after.due, after.tie) < late <= (marker.due, marker.tie)
    )


@pytest.mark.parametrize(
    "text",
    ["", ".", "x", "-1", "1.", "1..2", "1.2.3.4", "١", "1" * 65, "1.2.x", "9" * 40, "1.+2", "0x10"],
)
def test_what_is_no_marker_is_refused(text: str) -> None:
    assert parse_live_marker(text) is None


@given(st.integers(0, 2**53 - 1), st.integers(0, 2**47), st.integers(0, 2**53 - 1))
def test_a_marker_survives_its_text(position: Any, due: Any, tie: Any) -> None:
    for marker in (Marker(position), Marker(position, due), Marker(position, due, tie)):
        assert parse_live_marker(str(marker)) == marker

"""Posts to one queue are stored in the order in which they came, whatever each one waits for."""

import asyncio
from typing import Any

import pytest

from nuska.domain.errors import QueueAway, Unavailable
from nuska.domain.messages import NewMessage
from nuska.domain.moments import seconds
from nuska.stores.pooled import placing


class Delay:
    """Holds one call of a method up, and lets those pass that come later."""

    def __init__(self, method: Any) -> None:
        self._method = method
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.fails: Exception | None = None
        """What becomes of the call that was held up."""

    async def __call__(self, *args: Any, **keywords: Any) -> Any:
        if not self.begun.is_set():
            self.begun.set()
            await self.go_on.wait()
            if self.fails is not None:
                raise self.fails
        return await self._method(*args, **keywords)


async def settled() -> None:
    """Whatever can go on has gone on."""
    for _ in range(50):
        await asyncio.sleep(0)


def post(cluster: Any, node: Any, body: str) -> "asyncio.Task[Any]":
    inbox = cluster.inbox(node)
    message = NewMessage(body=body.encode(), ttl=seconds(3600))
    adding = node.messages.add(inbox.ref, [message], now=cluster.clock.now())
    return asyncio.get_running_loop().create_task(adding)


@pytest.mark.parametrize("exists", [True, False], ids=["a queue", "none yet"])
async def test_who_looks_longer_for_the_queue_is_still_stored_first(
    cluster: Any, monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    await cluster.add_pool("a")
    inbox = cluster.inbox(cluster.node())
    if exists:
        await inbox.post("zero")
    node = cluster.node()
    delay = Delay(node.catalogue.pin)
    monkeypatch.setattr(node.catalogue, "pin", delay)
    first = post(cluster, node, '"first"')
    await delay.begun.wait()
    others = [post(cluster, node, f'"{name}"') for name in ("second", "third")]
    await settled()
    delay.go_on.set()
    await asyncio.gather(first, *others)
    assert await inbox.listed() == ["zero"] * exists + ["first", "second", "third"]


async def test_who_is_sent_away_by_the_store_goes_before_those_who_have_not_been_there(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cluster.add_pool("a")
    node = cluster.node()
    inbox = cluster.inbox(node)
    await inbox.post("zero")
    store = await node.pools.store("a")
    away = Delay(store.messages.add)
    away.fails = QueueAway()
    monkeypatch.setattr(store.messages, "add", away, raising=False)
    first = post(cluster, node, '"first"')
    await away.begun.wait()
    look = Delay(node.catalogue.pin)
    monkeypatch.setattr(node.catalogue, "pin", look)
    node.placing.drop(inbox.ref)
    second = post(cluster, node, '"second"')
    await look.begun.wait()
    away.go_on.set()
    await settled()
    third = post(cluster, node, '"third"')
    await settled()
    look.go_on.set()
    await asyncio.gather(first, second, third)
    assert await inbox.listed() == ["zero", "first", "second", "third"]


async def test_who_fails_or_gives_up_holds_up_nobody(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cluster.add_pool("a")
    node = cluster.node()
    inbox = cluster.inbox(node)
    for fails in (Unavailable("down"), None):
        delay = Delay(type(node.catalogue).pin.__get__(node.catalogue))
        delay.fails = fails
        monkeypatch.setattr(node.catalogue, "pin", delay)
        node.placing.drop(inbox.ref)
        first, second = post(cluster, node, '"first"'), post(cluster, node, '"second"')
        await delay.begun.wait()
        if fails is None:
            first.cancel()
        delay.go_on.set()
        outcome, _ = await asyncio.gather(first, second, return_exceptions=True)
        assert isinstance(outcome, asyncio.CancelledError if fails is None else Unavailable)
    assert await inbox.listed() == ["second", "second"]
    assert not node.placing._lines._lines


async def test_nobody_stands_in_line_for_ever(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cluster.add_pool("a")
    node = cluster.node()
    monkeypatch.setattr(placing, "PATIENCE", 0.05)
    delay = Delay(node.catalogue.pin)
    monkeypatch.setattr(node.catalogue, "pin", delay)
    first = post(cluster, node, '"first"')
    others = [post(cluster, node, f'"{number}"') for number in range(3)]
    outcomes = await asyncio.gather(*others, return_exceptions=True)
    assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
    delay.go_on.set()
    await first
    assert await cluster.inbox(node).listed() == ["first"]

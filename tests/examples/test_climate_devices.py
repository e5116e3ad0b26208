"""The climate example's devices at a server that asks who is calling: each can do the one thing
that was signed for it, until that ends, by HTTP and by WebSocket."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from nuska.client import Client, ErrorAnswer, Transport
from nuska.testing.server_process import ServerProcess

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "climate"
MODULES = ("building", "devices", "room")
SOON = 20.0
"""Seconds."""
AN_HOUR = timedelta(hours=1)
A_MOMENT = timedelta(seconds=3)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("transport", ["http", "websocket"]),
]


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The address of a server, and a key for who sets up buildings."""
    data = tmp_path_factory.mktemp("data")
    made = subprocess.run(
        [
            *(sys.executable, "-m", "nuska", "key", "create", "--in-store", "--data", str(data)),
            *("--project", "climate", "--role", "member"),
        ],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ},
    )
    with ServerProcess(data, "--auth", "keys") as server:
        yield server.url, made.stdout.strip()


class Site:
    """A building: what its devices were given, and who set it up."""

    def __init__(
        self, url: str, owner: Client, transport: Transport, stack: AsyncExitStack
    ) -> None:
        self.building, self.devices, self.room = map(import_module, MODULES)
        self.owner = owner
        self.commands = owner.queue(self.devices.commands_of("north"))
        self.metrics = owner.queue(self.devices.METRICS)
        self._url = url
        self._transport = transport
        self._stack = stack

    async def signed(self, good_for: timedelta) -> tuple[Client, Client]:
        """The clients of a thermostat and an air conditioner."""
        writes, reads = await self.building.signed_for(self.owner, "north", good_for)
        return await self._device(writes), await self._device(reads)

    async def _device(self, signed: Any) -> Client:
        client: Client = self.building.device(self._url, signed, self._transport)
        return await self._stack.enter_async_context(client)


@pytest.fixture
async def site(
    closed: tuple[str, str], transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Site]:
    monkeypatch.syspath_prepend(EXAMPLE)
    url, key = closed
    async with AsyncExitStack() as stack:
        owner = await stack.enter_async_context(Client(url, project="climate", token=key))
        yield Site(url, owner, transport, stack)
        await owner.queue("metrics").delete()
        await owner.queue("commands-north").delete()
    for name in MODULES:
        sys.modules.pop(name, None)


async def refused(call: Awaitable[object]) -> None:
    with pytest.raises(ErrorAnswer) as caught:
        async with asyncio.timeout(SOON):
            await call
    assert caught.value.status in (403, 404), caught.value


async def listed(client: Client, queue: str) -> list[Any]:
    return [message.body async for message in client.queue(queue).messages()]


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(SOON):
        while not await holds():  # noqa: ASYNC110  it can only be looked at
            await asyncio.sleep(0.05)


async def test_a_building_works_by_what_was_signed_for_it(site: Site) -> None:
    writer, reader = await site.signed(AN_HOUR)
    room = site.room.Room(27.0, 22.0)

    async def has_told() -> bool:
        return bool(await listed(site.owner, "metrics"))

    async def has_heard() -> bool:
        return bool(room.target == 19.5)

    async with asyncio.TaskGroup() as running:
        tasks = [
            running.create_task(site.devices.thermostat(writer, "north", room)),
            running.create_task(site.devices.air_conditioner(reader, "north", room)),
        ]
        await until(has_told)
        await site.commands.post({"target": 19.5}, ttl=60)
        await until(has_heard)
        for task in tasks:
            task.cancel()


async def test_a_thermostat_writes_readings_and_does_nothing_else(site: Site) -> None:
    writer, _ = await site.signed(AN_HOUR)
    await site.commands.post({"target": 20}, ttl=60)
    await writer.queue("metrics").post({"celsius": 21.0}, ttl=60)
    [reading] = [message async for message in site.metrics.messages()]
    metrics = writer.queue("metrics")
    for call in (
        listed(writer, "metrics"),
        metrics.message(reading.id),
        metrics.pop(),
        metrics.delete_message(reading.id),
        metrics.stats(),
        metrics.metadata(),
        metrics.purge(),
        metrics.create(),
        metrics.delete(),
        metrics.subscriptions.create("https://elsewhere.example/in"),
        metrics.signed_urls.share(),
        writer.queue("commands-north").post({"target": 99.0}, ttl=60),
        listed(writer, "commands-north"),
        writer.queue("commands-north").pop(),
    ):
        await refused(call)
    assert [message.id async for message in site.metrics.messages()] == [reading.id]
    assert await listed(site.owner, "commands-north") == [{"target": 20}]


async def test_an_air_conditioner_reads_its_commands_and_does_nothing_else(site: Site) -> None:
    _, reader = await site.signed(AN_HOUR)
    await site.metrics.post({"celsius": 21.0}, ttl=60)
    await site.commands.post({"target": 20}, ttl=60)
    [command] = [message async for message in reader.queue("commands-north").messages()]
    assert command.body == {"target": 20}
    commands = reader.queue("commands-north")
    for call in (
        commands.post({"target": 99.0}, ttl=60),
        commands.pop(),
        commands.delete_message(command.id),
        commands.stats(),
        commands.metadata(),
        commands.purge(),
        commands.delete(),
        commands.subscriptions.create("https://elsewhere.example/in"),
        commands.signed_urls.share(),
        reader.queue("metrics").post({"celsius": -40.0}, ttl=60),
        listed(reader, "metrics"),
        reader.queue("commands-south").post({"target": 99.0}, ttl=60),
        listed(reader, "commands-south"),
    ):
        await refused(call)
    assert await listed(site.owner, "commands-north") == [{"target": 20}]


async def test_both_end_when_what_was_signed_ends(site: Site) -> None:
    writer, reader = await site.signed(A_MOMENT)

    async def is_refused() -> bool:
        try:
            await writer.queue("metrics").post({"celsius": 21.0}, ttl=60)
        except ErrorAnswer:
            return True
        return False

    assert await listed(reader, "commands-north") == []
    await until(is_refused)
    await refused(listed(reader, "commands-north"))
    posted = len(await listed(site.owner, "metrics"))
    assert posted
    await refused(writer.queue("metrics").post({"celsius": 22.0}, ttl=60))
    assert len(await listed(site.owner, "metrics")) == posted
